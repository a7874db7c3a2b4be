"""Sparklines: one glyph a bin, showing its highest value, so that a lone peak is never dropped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sparkline(
    values: NDArray[np.floating],
    width: int,
    levels: str,
    low: float | None = None,
    high: float | None = None,
    missing: str = " ",
) -> str:
    """Draw the last values in `width` glyphs; right-aligned, empty bins left as `missing`."""
    if width <= 0:
        return ""
    bins = binned_maxima(values, width)
    finite = bins[np.isfinite(bins)]
    if not len(finite):
        return missing * width
    bottom = float(finite.min()) if low is None else low
    top = float(finite.max()) if high is None else high
    span = top - bottom
    last = len(levels) - 1
    glyphs = []
    for value in bins:
        if np.isnan(value):
            glyphs.append(missing)
        elif np.isinf(value) or span <= 0:
            glyphs.append(levels[last if value == np.inf else 0])
        else:
            share = min(1.0, max(0.0, (value - bottom) / span))
            glyphs.append(levels[round(share * last)])
    return "".join(glyphs).rjust(width, missing)


def binned_maxima(values: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    """Reduce to at most `width` bins of equal size, counted from the first value, by maximum."""
    array = np.asarray(values, dtype=np.float64)
    size = max(1, -(-len(array) // width))
    if size == 1:
        return array
    padded = np.full(-(-len(array) // size) * size, np.nan)
    padded[: len(array)] = array
    grouped = padded.reshape(-1, size)
    empty = np.isnan(grouped).all(axis=1)
    filled = np.where(np.isnan(grouped), -np.inf, grouped).max(axis=1)
    return np.where(empty, np.nan, filled)

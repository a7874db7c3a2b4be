"""Writes numbers for the dashboard: four significant digits, short units, steady widths."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 4) -> str:
    """Write a value with `digits` significant digits; NaN and inf are named, missing is `–`."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "−inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.{max(0, digits - 2)}e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    whole = math.floor(math.log10(size)) + 1
    return f"{value:.{max(0, digits - whole)}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share of one as percent; small ones keep a digit that is not zero."""
    if share is None:
        return "–"
    if not math.isfinite(share):
        return "NaN" if math.isnan(share) else "inf"
    value = share * 100
    if value != 0 and abs(value) < 0.1:
        return f"{value:.1g} %" if abs(value) >= 1e-4 else "~0 %"
    return f"{value:.{digits}f} %"


def count(value: int | float | None) -> str:
    """Write a step or a row count with thousands apart."""
    return "–" if value is None else f"{int(value):,}"


def short_count(value: float) -> str:
    """Write a step as short as an axis needs it: 39.2k, 1.5M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            text = f"{value / limit:.1f}"
            return (text[:-2] if text.endswith(".0") else text) + unit
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """Write a time span: `41 s`, `12:05`, `20:52:10`, `3 d 04 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def time_left(seconds: float | None) -> str:
    """Write a time span in words, coarse enough not to tick with every batch: `40 s`, `21 min`,
    `5 h 10 min`, `3 d 4 h`; a clock's form would be read as a time of the day."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 120:
        return f"{max(0, round(seconds / 5) * 5)} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(minutes // 5 * 5, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def age(seconds: float | None) -> str:
    """Write how long ago something was, coarse enough not to tick each second."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, int(seconds))
    if whole < 60:
        return "now" if whole < 5 else f"{whole // 5 * 5} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h"
    return f"{whole // 86400} d"


def gibibytes(size: float | None) -> str:
    """Write bytes as GiB, three digits at most."""
    if size is None:
        return "–"
    value = size / 2**30
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"

"""Chooses ticks and their labels: numbers on y, steps, epochs and times on x."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Axis = Literal["step", "epoch", "since", "time"]
"""What x means: batches, epochs, seconds since the start, wall time."""

_SECONDS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
)  # fmt: skip
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Tick:
    """One labelled position of an axis."""

    value: float
    """Where it stands, in units of the axis."""
    label: str
    """What is written there."""


def nice_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    if not math.isfinite(least) or least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= least * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def number_label(value: float, step: float) -> str:
    """Write a tick as short as its distance to the next one allows: 0.25, 12.5k, 3e-5."""
    size = max(abs(value), abs(step))
    if size >= 1000 or (0 < size < 1e-3):
        if 1000 <= size < 1e15:
            unit, letter = next(
                (unit, letter)
                for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
                if size >= unit
            )
            text = _trimmed(value / unit, step / unit)
            return _short(text) + (letter if value else "")
        if value == 0:
            return "0"
        power = math.floor(math.log10(abs(value)) + 1e-9)
        return f"{_trimmed(value / 10.0**power, step / 10.0**power)}e{power}"
    return _trimmed(value, step)


def _trimmed(value: float, step: float) -> str:
    decimals = 0
    while decimals < 6 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6 * step:
        decimals += 1
    text = f"{value:.{decimals}f}"
    return "0" if float(text) == 0 else text


def _short(label: str) -> str:
    """Return a label without trailing zeros: on x, unlike y, labels need no common width."""
    plain = label.lstrip("-").replace(".", "", 1).isdigit()
    return label.rstrip("0").rstrip(".") if plain and "." in label else label


def linear_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Return at most `most` ticks at round numbers of low..high."""
    if most < 1 or not high > low:
        return []
    step = nice_step((high - low) / most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    while last - first + 1 > most:
        step = nice_step(step * 1.01)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [Tick(n * step, number_label(n * step, step)) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Return at most `most` ticks of a logarithmic axis: decades, 1-2-5, or round numbers."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1.0, 2.0, 5.0), (1.0,)):
        found = [
            factor * 10.0**power
            for power in range(first, last + 1)
            for factor in factors
            if low * (1 - 1e-9) <= factor * 10.0**power <= high * (1 + 1e-9)
        ]
        if 2 <= len(found) <= most:
            return [Tick(value, number_label(value, value)) for value in found]
    if len(found) > most:
        every = math.ceil(len(found) / most)
        return [Tick(value, number_label(value, value)) for value in found[::-1][::every][::-1]]
    return [tick for tick in linear_ticks(low, high, most) if tick.value > 0]


@lru_cache(maxsize=64)
def x_ticks(
    axis: Axis, low: float, high: float, most: int, utc_offset: float = 0.0
) -> Sequence[Tick]:
    """Return at most `most` ticks of the x axis; `utc_offset` is the viewer's, in seconds."""
    if axis in ("step", "epoch"):
        whole = axis == "step"
        ticks = linear_ticks(low, high, most)
        ticks = [Tick(tick.value, _short(tick.label)) for tick in ticks]
        return [tick for tick in ticks if not whole or float(tick.value).is_integer()]
    if most < 1 or not high > low:
        return []
    step = _time_step((high - low) / most)
    shift = utc_offset if axis == "time" else 0.0
    first, last = math.ceil((low + shift) / step - 1e-9), math.floor((high + shift) / step + 1e-9)
    label = _clock if axis == "time" else _elapsed
    return [Tick(n * step - shift, label(n * step, step)) for n in range(first, last + 1)][:most]


def _time_step(least: float) -> float:
    if least < 1:
        return nice_step(least)
    return next((float(s) for s in _SECONDS if s >= least), math.ceil(least / _DAY) * _DAY)


def _clock(local: float, step: float) -> str:
    """Write a wall time (shifted to the viewer's zone) as finely as the ticks are apart."""
    moment = time.gmtime(local)
    if step >= _DAY or (local % _DAY == 0 and step >= 3600):
        return time.strftime("%b %d", moment)
    if step >= 60:
        return time.strftime("%H:%M", moment)
    text = time.strftime("%H:%M:%S", moment)
    return text if step >= 1 else text + f"{local % 1:.3f}"[1:].rstrip("0")


def _elapsed(seconds: float, step: float) -> str:
    """Write a time since the start: 30 s, 5 min, 2 h, 3 d."""
    if seconds == 0:
        return "0"
    for unit, name in ((_DAY, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if step >= unit or (unit == 1):
            return f"{seconds / unit:.3g} {name}"
    raise AssertionError("the last unit always applies")


def spoken(axis: Axis, value: float, utc_offset: float = 0.0) -> str:
    """Write one position of the x axis in full, as the inspector and a cursor label do."""
    if axis == "step":
        return f"step {int(value):,}"
    if axis == "epoch":
        return f"epoch {value:.4g}"
    if axis == "time":
        return time.strftime("%b %d %H:%M:%S", time.gmtime(value + utc_offset))
    whole = int(value)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

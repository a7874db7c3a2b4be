"""Labelled synthetic loss traces: a falling curve, heavy-tailed noise, and one kind of explosion.

Every trace has noise, level and speed of its own, drawn from a seed and the kind's name, so that
fresh seeds are fresh traces. `clean` kinds hold what looks alarming and is not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LENGTH = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """One loss over a run, and where it really exploded."""

    kind: str
    values: Floats
    events: tuple[tuple[int, int], ...]
    """Onset (first bad batch) and end (last bad batch) of each explosion."""


def base(rng: np.random.Generator, length: int = LENGTH) -> Floats:
    """A loss curve in log space: power-law fall, autocorrelated drift, heavy-tailed batch noise."""
    steps = np.arange(length)
    level = np.log(10.0 ** rng.uniform(-2, 1))
    fall = rng.uniform(0.2, 1.5) * np.log1p(steps / rng.uniform(20, 300))
    fall *= rng.uniform(0.2, 1.0)
    drift = np.zeros(length)
    shock = rng.normal(0, 0.004, length)
    for t in range(1, length):
        drift[t] = 0.98 * drift[t - 1] + shock[t]
    noise = rng.standard_t(rng.uniform(3, 8), length) * np.exp(rng.uniform(-4, -1.6))
    return np.asarray(level - fall + drift + np.clip(noise, -1.2, 1.2))


def _onset(rng: np.random.Generator, low: int = 150, high: int = 1500) -> int:
    return int(rng.integers(low, high))


def spike(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """One batch, ×30 to ×1000."""
    t = _onset(rng)
    y[t] += np.log(rng.uniform(30, 1000))
    return [(t, t)]


def burst(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """3 to 12 batches at ×6 to ×40."""
    t, n = _onset(rng), int(rng.integers(3, 13))
    y[t : t + n] += np.log(rng.uniform(6, 40)) + rng.normal(0, 0.1, n)
    return [(t, t + n - 1)]


def plateau(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Jumps to ×3 to ×20 and stays."""
    t = _onset(rng)
    y[t:] += np.log(rng.uniform(3, 20))
    return [(t, len(y) - 1)]


def ramp(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Climbs to ×10 in 20 to 100 batches and stays."""
    t, n = _onset(rng), int(rng.integers(20, 101))
    y[t:] += np.log(rng.uniform(6, 20)) * np.clip(np.arange(len(y) - t) / n, 0, 1)
    return [(t, len(y) - 1)]


def slow(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Diverges to ×4 to ×15 over 200 to 600 batches."""
    t, n = _onset(rng, 150, 1300), int(rng.integers(200, 600))
    y[t:] += np.log(rng.uniform(4, 15)) * np.clip(np.arange(len(y) - t) / n, 0, 1)
    return [(t, len(y) - 1)]


def nan(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """NaN or inf, for one batch or for good, from the very first step on."""
    t = int(rng.integers(0, 1500))
    n = 1 if rng.random() < 0.5 else len(y) - t
    y[t : t + n] = np.nan if rng.random() < 0.7 else np.inf
    return [(t, t + n - 1)]


def twins(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Two explosions 80 to 120 batches apart: the first must not hide the second."""
    t, n = _onset(rng, 150, 1400), int(rng.integers(3, 9))
    second = t + n + int(rng.integers(80, 121))
    y[t : t + n] += np.log(rng.uniform(20, 200))
    y[second : second + n] += np.log(rng.uniform(6, 30))
    return [(t, t + n - 1), (second, second + n - 1)]


def swing(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """An oscillation that grows, as of an lr past the edge of stability."""
    t, n = _onset(rng, 150, 1500), int(rng.integers(60, 200))
    s = np.arange(n)
    y[t : t + n] += (
        np.log(rng.uniform(10, 60)) * (s / n) * np.abs(np.sin(s * rng.uniform(0.3, 1.2)))
    )
    return [(t, t + n - 1)]


def early(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Explodes between step 40 and 120, while the loss still falls fast."""
    t, n = int(rng.integers(40, 120)), int(rng.integers(3, 60))
    y[t : t + n] += np.log(rng.uniform(8, 80))
    return [(t, t + n - 1)]


def calm(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Nothing happens."""
    return []


def hard_batches(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Now and then a batch at ×2 to ×4: worth a warning, no explosion."""
    bad = rng.random(len(y)) < 0.005
    bad[1:] &= ~bad[:-1]
    y[bad] += np.log(rng.uniform(2, 4, int(bad.sum())))
    return []


def mixture(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """Two kinds of batches, as policy and world-model rows mixed."""
    y += np.where(rng.random(len(y)) < rng.uniform(0.2, 0.8), np.log(rng.uniform(1.5, 4)), 0.0)
    return []


def warm_restart(rng: np.random.Generator, y: Floats) -> list[tuple[int, int]]:
    """The lr goes up again: a hump of 10 to 40 % that heals."""
    t, n = _onset(rng), int(rng.integers(80, 300))
    y[t : t + n] += np.log(rng.uniform(1.1, 1.4)) * np.exp(-np.arange(n) / (n / 4))
    return []


EXPLOSIONS: tuple[Callable[..., list[tuple[int, int]]], ...] = (
    spike, burst, plateau, ramp, slow, nan, twins, swing, early,
)  # fmt: skip
CLEAN: tuple[Callable[..., list[tuple[int, int]]], ...] = (
    calm, hard_batches, mixture, warm_restart,
)  # fmt: skip


def make(kind: Callable[..., list[tuple[int, int]]], seed: int) -> Trace:
    """One trace of a kind."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.__name__.encode())])
    y = base(rng)
    events = kind(rng, y)
    return Trace(kind.__name__, np.exp(y), tuple(events))


def dataset(seed: int, each: int = 40) -> list[Trace]:
    """`each` traces of every kind."""
    return [make(kind, seed * 10_000 + i) for kind in (*EXPLOSIONS, *CLEAN) for i in range(each)]

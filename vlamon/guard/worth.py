"""Sums up what a guard was worth: explosions, rollbacks, and the steps that they cost and saved.

Saved is what a restart from the newest checkpoint would have cost more: the steps between that and
the state that was returned to. A script that keeps checkpoints of its own may have saved less.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any

from vlamon.guard.ledger import Ledger

WINDOW = 256
"""Steps whose median is the run's speed; a pause among them does not count."""


class Pace:
    """Seconds that a step of this run takes."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def step(self, now: float) -> None:
        """A step boundary, on the monotonic clock."""
        if self._last is not None:
            self._seconds.append(now - self._last)
        self._last = now

    @property
    def seconds(self) -> float | None:
        """At the median; None before the second step."""
        return statistics.median(self._seconds) if self._seconds else None


def worth(ledger: Ledger, seconds: float | None, gpus: int) -> dict[str, Any]:
    """The sums of a run, for `guard.jsonl` and the `end` event; `gpus` that it trains on."""

    def hours(steps: int) -> float | None:
        return None if seconds is None or not gpus else round(steps * seconds * gpus / 3600, 3)

    return {
        "explosions": ledger.explosions,
        "rollbacks": ledger.rollbacks,
        "steps_lost": ledger.steps_lost,
        "steps_saved": ledger.steps_saved,
        "updates_clipped": ledger.clipped,
        "updates_skipped": ledger.skipped,
        "lr_lowered": ledger.lowered,
        "seconds_per_step": seconds,
        "gpu_hours_lost": hours(ledger.steps_lost),
        "gpu_hours_saved": hours(ledger.steps_saved),
    }


def sums_text(sums: dict[str, Any]) -> str:
    """Those in a sentence."""
    saved = sums["gpu_hours_saved"]
    hours = "" if saved is None else f" ({saved:,.3g} GPU hours)"
    return (
        f"{_count(sums['explosions'], 'explosion')}, {_count(sums['rollbacks'], 'rollback')}: "
        f"{_count(sums['steps_lost'], 'step')} lost, {sums['steps_saved']:,} saved against a "
        f"restart from the newest checkpoint{hours}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""Events as a person reads them: filtered by severity, repeats folded into one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlamon.charts.numbers import count, number
from vlamon.records import Event
from vlamon.tui.severity import alarming, severity_role

Filter = Literal["all", "warn", "error"]
FILTERS: tuple[Filter, ...] = ("all", "warn", "error")
"""In the order in which the key goes through them."""


@dataclass(frozen=True, slots=True)
class Folded:
    """One line of the list: an event, or several of one kind in a row."""

    events: tuple[Event, ...]
    """In order; the last one gives the line its time."""

    @property
    def newest(self) -> Event:
        """The event that a click goes to."""
        return self.events[-1]

    def has(self, event_id: str) -> bool:
        """Whether an event is among them."""
        return any(event.id == event_id for event in self.events)


FOLDS = ("warn", "checkpoint", "recovered", "note", "control")
"""Kinds of which repeats are one line; every explosion and rollback has its own."""


def passes(event: Event, chosen: Filter) -> bool:
    """Say whether a filter lets an event through."""
    if chosen == "all":
        return True
    return severity_role(event) == "explode" or (chosen == "warn" and alarming(event))


def fold(events: Sequence[Event], chosen: Filter = "all") -> list[Folded]:
    """Filter events and join those in a row that say the same of the same metric."""
    lines: list[list[Event]] = []
    for event in events:
        if not passes(event, chosen):
            continue
        if lines and event.kind in FOLDS and _same(lines[-1][-1], event):
            lines[-1].append(event)
        else:
            lines.append([event])
    return [Folded(tuple(line)) for line in lines]


def _same(one: Event, other: Event) -> bool:
    if one.kind in ("note", "control") and one.text != other.text:
        return False
    return (one.kind, one.data.get("metric"), one.severity, one.data.get("ok")) == (
        other.kind,
        other.data.get("metric"),
        other.severity,
        other.data.get("ok"),
    )


def folded_sentence(line: Folded) -> str:
    """Write several events as one: how often, and the worst or the last."""
    events = line.events
    times = f"×{len(events)}"
    metric = line.newest.data.get("metric")
    ratios = [_ratio(event) for event in events]
    if metric and max(ratios) > 0:
        worst = events[ratios.index(max(ratios))]
        far = number(max(ratios), 2)
        return f"{metric} {times}, worst {far}× median at {count(worst.step)}"
    subject = f"{metric} " if metric else ""
    return f"{subject}{times}, {count(events[0].step)} to {count(line.newest.step)}"


def _ratio(event: Event) -> float:
    ratio = event.data.get("ratio")
    return float(ratio) if isinstance(ratio, (int, float)) and math.isfinite(ratio) else 0.0

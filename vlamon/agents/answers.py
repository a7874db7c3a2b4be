"""Answers questions about a run that was read. Pure: a store in, plain objects out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vlamon.catalogue import entry, in_order, known_families, words
from vlamon.errors import VlamonError
from vlamon.records import Event, RunInfo
from vlamon.store import NAN, NEG_INF, POS_INF, RunStore

POINTS = 200
"""Points of an answer unless another budget is given, over all metrics together."""
MOST_POINTS = 5000
LISTED = 50
"""Entries of a list unless another limit is given."""
FIRST_SHOWN = 12
"""Metrics of an answer that names none."""
COLUMNS = ("first_step", "last_step", "mean", "low", "high", "rows", "non_finite")
NON_FINITE = NAN | POS_INF | NEG_INF


def identity(info: RunInfo | None) -> dict[str, Any]:
    """What identifies the run, without its list of metrics."""
    if info is None:
        return {}
    fields = asdict(info)
    names = ("name", "run_id", "host", "pid", "started", "world_size", "total_steps",
             "steps_per_epoch", "control")  # fmt: skip
    return {name: fields[name] for name in names}


def metrics(
    store: RunStore,
    names: Sequence[str] = (),
    first_step: int | None = None,
    last_step: int | None = None,
    points: int = POINTS,
) -> dict[str, Any]:
    """Curves within a budget of points, each the mean and range of a stretch of steps."""
    shown = _named(store, names)
    if not store.rows:
        return {"columns": COLUMNS, "metrics": {}, "rows": 0, "all_metrics": list(store.metrics)}
    steps = store.steps()
    first = int(steps.min()) if first_step is None else first_step
    last = int(steps.max()) if last_step is None else last_step
    if last < first:
        raise VlamonError(f"last_step {last} is before first_step {first}.")
    each = max(1, min(points, MOST_POINTS) // max(1, len(shown)))
    bins = min(each, last - first + 1)
    edges = np.unique(np.floor(np.linspace(first, last + 1, bins + 1)))
    return {
        "columns": COLUMNS,
        "metrics": {name: _curve(store, name, edges) for name in shown},
        "rows": store.rows,
        "first_step": first,
        "last_step": last,
        "all_metrics": list(store.metrics),
    }


def _curve(store: RunStore, name: str, edges: np.ndarray[Any, Any]) -> list[list[Any]]:
    found = store.envelope(name, edges)
    curve: list[list[Any]] = []
    for at in np.flatnonzero((found.finite > 0) | ((found.flags & NON_FINITE) > 0)).tolist():
        finite = int(found.finite[at])
        values = [found.total[at] / finite, found.low[at], found.high[at]] if finite else [None] * 3
        stretch = [int(edges[at]), int(edges[at + 1]) - 1]
        broken = bool(found.flags[at] & NON_FINITE)
        curve.append([*stretch, *map(_short, values), int(found.count[at]), broken])
    return curve


def around_step(
    store: RunStore,
    step: int,
    radius: int = 5,
    names: Sequence[str] = (),
    attempt: int | None = None,
) -> dict[str, Any]:
    """Each batch around a step with all its values (as float32), and what happened there."""
    row = store.row_of_step(step, attempt)
    if row is None:
        which = "" if attempt is None else f" of attempt {attempt}"
        raise VlamonError(f"the run has no step {step}{which}: {_range(store)}.")
    radius = max(0, min(radius, 100))
    first, end = max(0, row - radius), min(store.rows, row + radius + 1)
    shown = list(names) and _named(store, names)
    batches = []
    for at in range(first, end):
        values = {name: store.value(name, at) for name in shown or store.metrics}
        batches.append(
            {
                "step": int(store.steps(at, at + 1)[0]),
                "time": _known(store.times(at, at + 1)[0]),
                "metrics": {name: value for name, value in values.items() if value is not None},
            }
        )
    reached = store.steps(first, end)
    low, high = int(reached.min()), int(reached.max())
    near = [event for event in store.events if event.counted and low <= event.step <= high]
    return {"step": step, "batches": batches, "events": [_event(event) for event in near]}


def events(
    store: RunStore,
    kinds: Sequence[str] = (),
    since_step: int | None = None,
    limit: int = LISTED,
) -> dict[str, Any]:
    """The newest events, oldest first."""
    found = [
        event
        for event in store.events
        if (not kinds or event.kind in kinds) and (since_step is None or event.step >= since_step)
    ]
    shown = found[-max(1, limit) :]
    return {
        "events": [_event(event) for event in shown],
        "left_out": len(found) - len(shown),
        "kinds": _counted(event.kind for event in store.events),
    }


def last_known(store: RunStore) -> dict[str, Any]:
    """State and newest values of a run that is read from its files."""
    status = None if store.status is None else asdict(store.status)
    last = store.events[-1:] if store.events else ()
    return {
        "run": identity(store.info),
        "status": status,
        "step": int(store.steps()[-1]) if store.rows else None,
        "rows": store.rows,
        "attempts": len(store.attempts),
        "metrics": {name: store.latest(name) for name in store.metrics},
        "last_row": _known(store.times()[-1]) if store.rows else None,
        "last_event": [_event(event) for event in last],
        "kinds": _counted(event.kind for event in store.events),
    }


def explain(name: str, language: str = "en") -> dict[str, Any]:
    """A metric's meaning, formula, range and what to do."""
    known, text = entry(name), words(name, language)
    if text is None:
        near = difflib.get_close_matches(known.family, known_families(), n=5)
        return {"metric": name, "known": False, "near": near}
    return {"metric": name, "known": True, **asdict(known), **asdict(text)}


def _named(store: RunStore, names: Sequence[str]) -> list[str]:
    if not names:
        return in_order(store.metrics)[:FIRST_SHOWN]
    for name in names:
        if name not in store.metrics:
            near = difflib.get_close_matches(name, store.metrics, n=3) or in_order(store.metrics)
            raise VlamonError(f"the run has no metric {name!r}; there are {', '.join(near[:12])}.")
    return list(names)


def _range(store: RunStore) -> str:
    if not store.rows:
        return "it has no batch yet"
    steps = store.steps()
    return f"it has {int(steps.min())} to {int(steps.max())}"


def _event(event: Event) -> dict[str, Any]:
    fields = asdict(event)
    fields["event"] = fields.pop("kind")
    if not fields.pop("counted"):
        fields["step"] = None
    samples = event.data.get("samples")
    if isinstance(samples, list | tuple) and len(samples) > LISTED:
        fields["data"] = {**event.data, "samples": list(samples[:LISTED]), "more": len(samples)}
    return fields


def _counted(kinds: Iterable[str]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _short(value: float | None) -> float | None:
    """Six digits: an answer is read, and `around_step` has all of them."""
    return None if value is None else float(f"{value:.6g}")

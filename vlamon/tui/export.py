"""Files that the dashboard writes: the screen as SVG, the batches as CSV; always new ones."""

from __future__ import annotations

import csv
import math
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlamon.charts.numbers import count
from vlamon.tui.orders import Notice

if TYPE_CHECKING:
    from vlamon.store import RunStore
    from vlamon.tui.app import Dashboard

CHUNK = 4096
"""Rows read under the lock at a time, so that the screen never waits for a whole run."""


def new_path(run: str, suffix: str, clock: float) -> Path:
    """Name a new file in the working directory after the run and the moment."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip("-.") or "run"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(clock))
    path = Path.cwd() / f"vlamon-{stem}-{stamp}.{suffix}"
    number = 1
    while path.exists():
        number += 1
        path = Path.cwd() / f"vlamon-{stem}-{stamp}-{number}.{suffix}"
    return path


def save_screen(dashboard: Dashboard, run: str) -> Notice:
    """Write what is on screen as SVG."""
    path = new_path(run, "svg", dashboard.clock())
    try:
        path.write_text(dashboard.export_screenshot(title=f"vlamon: {run}"), encoding="utf-8")
    except OSError as problem:
        return Notice(f"picture not saved: {problem.strerror}: {path.name}", "explode")
    return Notice(f"picture saved: {path.name}", "ok")


def save_rows(
    store: RunStore,
    lock: AbstractContextManager[Any],
    run: str,
    cancelled: Callable[[], bool],
) -> Notice:
    """Write every batch as CSV: attempt, step, epoch, time, and a column a metric.

    Values are written so that they read back as the run sent them. Where the store holds a metric
    less precisely than it was sent, its column is as short as single precision allows, and the
    notice names it.
    """
    with lock:
        rows = store.rows
        names = list(store.metrics)
        exact = {name for name in names if store.exact(name)}
    path = new_path(run, "csv", time.time())
    try:
        with path.open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["attempt", "step", "epoch", "time", *names])
            for first in range(0, rows, CHUNK):
                if cancelled():
                    return Notice(f"CSV given up after {count(first)} batches: {path.name}", "warn")
                end = min(rows, first + CHUNK)
                with lock:
                    lines = _lines(store, names, exact, first, end)
                writer.writerows(lines)
    except OSError as problem:
        return Notice(f"CSV not saved: {problem.strerror}: {path.name}", "explode")
    rounded = [name for name in names if name not in exact]
    said = f"{count(rows)} batches saved: {path.name}"
    if rounded:
        some = ", ".join(rounded[:3]) + (f" and {len(rounded) - 3} more" if rounded[3:] else "")
        said = f"{said}; in single precision: {some}"
    return Notice(said, "ok")


def _lines(
    store: RunStore, names: list[str], exact: set[str], first: int, end: int
) -> list[list[str]]:
    attempts = [0] * (end - first)
    for attempt in store.attempts:
        for row in range(max(first, attempt.first_row), min(end, attempt.end_row)):
            attempts[row - first] = attempt.number
    columns = [
        [str(attempt) for attempt in attempts],
        [str(step) for step in store.steps(first, end).tolist()],
        [_cell(epoch) for epoch in store.epochs_of_rows(first, end).tolist()],
        [_cell(moment) for moment in store.times(first, end).tolist()],
    ]
    for name in names:
        values = store.values(name, first, end)
        there = store.present(name, first, end).tolist()
        sent = values.tolist() if name in exact else values
        pairs = zip(sent, there, strict=True)
        columns.append([str(value) if logged else "" for value, logged in pairs])
    return [list(line) for line in zip(*columns, strict=True)]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)

"""Files that the dashboard writes: the screen as SVG, the batches as CSV; never over another."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlamon.charts.numbers import count
from vlamon.tui.notices import Notice
from vlamon.views.csv_rows import AXES, csv_table, metric_columns

if TYPE_CHECKING:
    from vlamon.store import RunStore

CHUNK = 4096
"""Rows read under the lock at a time, so that the screen never waits for a whole run."""


def new_path(folder: Path, run: str, suffix: str, clock: float) -> Path:
    """Name a new file in a folder after the run and the time."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip("-.") or "run"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(clock))
    path = folder / f"vlamon-{stem}-{stamp}.{suffix}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"vlamon-{stem}-{stamp}-{number}.{suffix}"
    return path


def save_screen(svg: str, path: Path) -> Notice:
    """Write what is on screen as SVG."""
    try:
        with path.open("x", encoding="utf-8") as file:  # never through a link that lies there
            file.write(svg)
    except OSError as problem:
        return Notice(f"picture not saved: {problem.strerror}: {path.name}", "explode")
    return Notice(f"picture saved: {path.name}", "ok")


def save_rows(
    store: RunStore,
    lock: AbstractContextManager[Any],
    path: Path,
    cancelled: Callable[[], bool],
) -> Notice:
    """Write every batch as CSV, in the columns of `vlamon export`.

    Values are written so that they read back as the run sent them. Where the store holds a metric
    less precisely than it was sent, its column is as short as single precision allows, and the
    notice names it.
    """
    with lock:
        rows = store.rows
        names = list(store.metrics)
        exact = {name for name in names if store.exact(name)}
    header = [*AXES["batch"], *metric_columns("batch", names)]
    done = 0

    def chunks() -> Iterator[list[Any]]:
        nonlocal done
        for first in range(0, rows, CHUNK):
            if cancelled():
                return
            end = min(rows, first + CHUNK)
            with lock:
                lines = _lines(store, names, exact, first, end)
            yield from lines
            done = end

    try:
        with path.open("xb") as file:
            file.writelines(csv_table(header, chunks()))
    except OSError as problem:
        return Notice(f"CSV not saved: {problem.strerror}: {path.name}", "explode")
    if done < rows:
        return Notice(f"CSV cancelled after {count(done)} batches: {path.name}", "warn")
    rounded = [name for name in names if name not in exact]
    said = f"{count(rows)} batches saved: {path.name}"
    if rounded:
        some = ", ".join(rounded[:3]) + (f" and {len(rounded) - 3} more" if rounded[3:] else "")
        said = f"{said} (float32: {some})"
    return Notice(said, "ok")


def _lines(
    store: RunStore, names: list[str], exact: set[str], first: int, end: int
) -> list[list[Any]]:
    attempts = [0] * (end - first)
    for attempt in store.attempts:
        for row in range(max(first, attempt.first_row), min(end, attempt.end_row)):
            attempts[row - first] = attempt.number
    columns: list[list[Any]] = [
        attempts,
        [_known(epoch) for epoch in store.epochs_of_rows(first, end).tolist()],
        store.steps(first, end).tolist(),
        [_known(moment) for moment in store.times(first, end).tolist()],
    ]
    for name in names:
        values = store.values(name, first, end)
        # In single precision, the shortest digits that read back as that.
        sent = values.tolist() if name in exact else [float(str(value)) for value in values]
        there = store.present(name, first, end).tolist()
        columns.append(
            [value if logged else None for value, logged in zip(sent, there, strict=True)]
        )
    return [list(line) for line in zip(*columns, strict=True)]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

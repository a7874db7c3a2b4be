"""Every value of one batch: the cursor's, or the newest."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from vlamon.catalogue import in_order
from vlamon.records import Event
from vlamon.store import RunStore
from vlamon.tui.glyphs import Glyphs, event_glyph
from vlamon.tui.moment import Moment, severity_role
from vlamon.tui.numbers import count, number
from vlamon.tui.rows import Row, fit, shorten, shorten_name, spread
from vlamon.tui.themes import role_of_metric
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.row_panel import RowPanel, framed


class InspectorPanel(RowPanel):
    """Step, attempt, time, every metric with its change, what happened there, the samples."""

    def rows(self, moment: Moment, width: int, height: int) -> Sequence[Row]:
        """Give the batch in as many columns as fit."""
        title: Row = (("inspector", "title"),)
        if moment.row is None:
            body: list[Row] = [((" no batch yet", "muted"),)]
            return framed(title, (), body, width, height, moment.glyphs)
        inner, room = width - 2, max(0, height - 2)
        right: Row = (
            ("step ", "muted"),
            (
                count(int(moment.store.steps(moment.row, moment.row + 1)[0])),
                "accent" if moment.at_cursor else "title",
            ),
        )
        head = where(moment.store, moment.row, inner)
        here = _event_rows(moment, inner)
        metrics = _metric_rows(moment, inner, max(1, room - 1 - min(len(here), 3)))
        return framed(title, right, [head, *here[:3], *metrics], width, height, moment.glyphs)


def where(store: RunStore, row: int, width: int) -> Row:
    """Write epoch, attempt and time of a batch."""
    parts: list[tuple[str, str]] = []
    epoch = float(store.epochs_of_rows(row, row + 1)[0])
    if math.isfinite(epoch):
        parts += [(" epoch ", "muted"), (f"{epoch:.2f}".rstrip("0").rstrip("."), "foreground")]
    parts += [("  attempt ", "muted"), (str(attempt_of(store, row)), "foreground")]
    at = float(store.times(row, row + 1)[0])
    if math.isfinite(at):
        text = time.strftime("%m-%d %H:%M:%S", time.localtime(at))
        parts += [("  ", ""), (text, "muted")]
    return fit(tuple(parts), width)


def attempt_of(store: RunStore, row: int) -> int:
    """Give the attempt that a batch belongs to."""
    return next((a.number for a in store.attempts if a.first_row <= row < a.end_row), 0)


def events_at(store: RunStore, row: int) -> list[Event]:
    """Give what happened at a batch, the newest first.

    The same step of another attempt is another batch: what exploded there did not explode here. A
    rollback begins its attempt, and happened to the batch that it left.
    """
    step, attempt = int(store.steps(row, row + 1)[0]), attempt_of(store, row)
    return [
        event
        for event in reversed(store.events)
        if event.step == step
        and event.kind != "control"
        and event.attempt - (event.kind == "rollback") == attempt
    ]


def _event_rows(moment: Moment, width: int) -> list[Row]:
    assert moment.row is not None
    rows: list[Row] = []
    for event in events_at(moment.store, moment.row):
        glyph = event_glyph(event.kind, moment.glyphs)
        text = shorten(f" {glyph} {event.kind} {sentence(event)}", width)
        rows.append(((text, severity_role(event)),))
        samples = batch_samples(event)
        if samples:
            rows.append(((shorten(f"   samples {samples}", width), "foreground"),))
    return rows


def batch_samples(event: Event) -> str:
    """Give the ids of the batch's samples that an event names, in one line."""
    samples = event.data.get("samples")
    if not isinstance(samples, (list, tuple)) or not samples:
        return ""
    return ", ".join(str(sample) for sample in samples)


def _metric_rows(moment: Moment, width: int, room: int) -> list[Row]:
    """Lay the metrics out in columns of equal width, filled downwards."""
    store, row = moment.store, moment.row
    assert row is not None
    names = [name for name in in_order(store.metrics) if store.value(name, row) is not None]
    missing = len(store.metrics) - len(names)
    room -= bool(missing) or len(names) > room
    if not names or room < 1:
        return []
    columns = max(1, min(width // 34, -(-len(names) // room)))
    size = width // columns
    lines = -(-len(names) // columns)
    rows: list[Row] = []
    hidden = max(0, lines - room) * columns
    for line in range(min(lines, room)):
        cells: list[tuple[str, str]] = []
        for column in range(columns):
            index = column * lines + line
            if index < len(names):
                name = names[index]
                value, before = values_at(store, row, name)
                cells += value_cell(name, value, before, size, moment.glyphs)
        rows.append(tuple(cells))
    words = [f"{hidden} more: v"] * bool(hidden) + [f"{missing} not logged here"] * bool(missing)
    if words:
        rows.append(((f" {', '.join(words)}", "muted"),))
    return rows


def values_at(store: RunStore, row: int, name: str) -> tuple[float | None, float | None]:
    """Give a metric at a batch and at the one before."""
    return store.value(name, row), store.value(name, row - 1) if row else None


def value_cell(
    name: str, value: float | None, before: float | None, width: int, glyphs: Glyphs
) -> Row:
    """Write a metric, its value and how far that is from the one before."""
    role = role_of_metric(name)
    bad = value is not None and not math.isfinite(value)
    figure = number(value) if value is not None else "not logged"
    change = ""
    if value is not None and before and math.isfinite(value) and math.isfinite(before):
        share = (value - before) / abs(before)
        change = f" {share * 100:+.1f}%" if abs(share) < 10 else f" ×{value / before:.0f}"
    value_role = "explode bold" if bad else "foreground" if value is not None else "muted"
    return spread(
        ((f" {shorten_name(name, max(6, width - 20), glyphs.ellipsis)} ", role),),
        ((figure, value_role), (change.rjust(9), "muted")),
        width,
    )

"""Every value of one batch: the cursor's, or the newest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlamon.charts.glyphs import Glyphs, event_glyph
from vlamon.charts.marks import came_about
from vlamon.charts.metric_order import leading_first, trained_terms
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row, cells, fit, shorten, shorten_names, spread
from vlamon.moments import local_time
from vlamon.records import Event
from vlamon.store import RunStore
from vlamon.tui.frame_context import FrameContext, steps_are_epochs
from vlamon.tui.severity import severity_role
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.row_panel import RowPanel, framed

COLUMN = 34
"""Columns of text for one metric."""
LEAST_COLUMN = 26
"""Columns that one metric is given where the trained terms need more columns side by side."""
USUAL = 256
"""Batches before one whose changes are the usual ones."""
UNITS = ("  changes in usual changes", "  changes")
"""What stands above the last column, as much as there is room for."""
FEWEST = 16
"""Changes from which on one is called usual."""
EVENTS = 3
"""Rows that events may take although values have no room then."""


class InspectorPanel(RowPanel):
    """Step, attempt, time, every metric with its change, what happened there, the samples."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the batch in as many columns as fit."""
        title: Row = (("inspector", "title"),)
        if frame.row is None:
            body: list[Row] = [((" no batch yet", "muted"),)]
            return framed(title, (), body, width, height, frame.glyphs)
        inner, room = width - 2, max(0, height - 2)
        right: Row = (
            ("epoch " if steps_are_epochs(frame.store) else "step ", "muted"),
            (
                count(int(frame.store.steps(frame.row, frame.row + 1)[0])),
                "accent" if frame.at_cursor else "title",
            ),
        )
        head = where(frame.store, frame.row, inner)
        return framed(
            title, right, [head, *_below(frame, inner, room - 1)], width, height, frame.glyphs
        )


def where(store: RunStore, row: int, width: int) -> Row:
    """Write epoch, attempt and time of a batch."""
    parts: list[tuple[str, str]] = []
    epoch = float(store.epochs_of_rows(row, row + 1)[0])
    if math.isfinite(epoch):
        parts += [(" epoch ", "muted"), (f"{epoch:.2f}".rstrip("0").rstrip("."), "foreground")]
    parts += [("  attempt ", "muted"), (str(attempt_of(store, row)), "foreground")]
    at = float(store.times(row, row + 1)[0])
    text = local_time(at, "%m-%d %H:%M:%S")
    if text:
        parts += [("  ", ""), (text, "muted")]
    room = width - cells(tuple(parts))
    unit = next((words for words in UNITS if len(words) <= room), "")
    return fit((*parts, (unit, "muted")), width)


def attempt_of(store: RunStore, row: int) -> int:
    """Return the attempt that a batch belongs to."""
    return next((a.number for a in store.attempts if a.first_row <= row < a.end_row), 0)


def left_attempt(event: Event) -> int:
    """Return the attempt in which an event happened: a rollback has the number of the next one."""
    return event.attempt - (event.kind == "rollback" and came_about(event))


def events_at(store: RunStore, row: int) -> list[Event]:
    """Return what happened at a batch, the newest first.

    The same step of another attempt is another batch: what exploded there did not explode here. A
    rollback begins its attempt, and happened to the batch that it left.
    """
    step, attempt = int(store.steps(row, row + 1)[0]), attempt_of(store, row)
    return [
        event
        for event in reversed(store.events)
        if event.step == step and event.kind != "control" and left_attempt(event) == attempt
    ]


def _event_rows(frame: FrameContext, width: int) -> list[Row]:
    assert frame.row is not None
    rows: list[Row] = []
    for event in events_at(frame.store, frame.row):
        glyph = event_glyph(event, frame.glyphs)
        text = shorten(f" {glyph} {event.kind} {sentence(event)}", width)
        rows.append(((text, severity_role(event)),))
        samples = batch_samples(event)
        if samples:
            rows.append(((shorten(f"   samples {samples}", width), "foreground"),))
    return rows


def batch_samples(event: Event) -> str:
    """Return the ids of the batch's samples that an event names, in one line."""
    samples = event.data.get("samples")
    if not isinstance(samples, (list, tuple)) or not samples:
        return ""
    return ", ".join(str(sample) for sample in samples)


def _below(frame: FrameContext, width: int, room: int) -> list[Row]:
    """Share the rows below the head: first the values that one came for, then what happened, then
    the other values."""
    store, row = frame.store, frame.row
    assert row is not None
    happened = _event_rows(frame, width)
    named = [str(event.data.get("metric", "")) for event in events_at(store, row)]
    names = [name for name in store.metrics if store.value(name, row) is not None]
    names = leading_first(store, names, named)
    wanted = {*trained_terms(store), *named}
    first = sum(name in wanted for name in names)
    columns = max(1, min(width // COLUMN, -(-len(names) // max(1, room))))
    if first > columns * max(1, room - bool(happened)):
        columns = max(1, width // LEAST_COLUMN)
    spare = max(EVENTS, room - -(-len(names) // columns))
    least = -(-first // columns)
    shown = max(0, min(len(happened), spare, max(1, room - least - 1), room - 1))
    left = _Left(len(happened) - shown, len(store.metrics) - len(names), least)
    return [*happened[:shown], *_values(frame, names, columns, width, room - shown, left)]


@dataclass(frozen=True, slots=True)
class _Left:
    """What the rows of values have to tell of, and to leave room for."""

    events: int
    """Rows about events that found no room."""
    missing: int
    """Metrics that were not logged here."""
    least: int
    """Rows of values that go before a word about all that."""


def _values(
    frame: FrameContext,
    names: Sequence[str],
    columns: int,
    width: int,
    room: int,
    left: _Left,
) -> list[Row]:
    """Lay the first metrics that fit out in columns of equal width, filled downwards; the last row
    says what has no room here."""
    assert frame.row is not None
    if room < 1 or not names:
        return []
    said = room > left.least and bool(left.events or left.missing or len(names) > room * columns)
    shown = names[: (room - said) * columns]
    deep = -(-len(shown) // columns)
    rows: list[Row] = []
    for line in range(deep):
        cells = (
            value_cell(
                name,
                values_at(frame.store, frame.row, name),
                width // columns,
                frame.glyphs,
                tuple(shown),
            )
            for name in shown[line::deep]
        )
        rows.append(tuple(part for cell in cells for part in cell))
    more = len(names) - len(shown) + left.events
    words = [f"{more} more: v"] * bool(more)
    words += [f"{left.missing} not logged here"] * bool(left.missing)
    if said and words:
        rows.append(((f" {', '.join(words)}", "muted"),))
    return rows


@dataclass(frozen=True, slots=True)
class Values:
    """A metric at a batch, and what its change from the batch before is measured by."""

    value: float | None
    before: float | None = None
    usual: float = math.nan
    """Median size of the changes from batch to batch until then; NaN where too few are known."""


def values_at(store: RunStore, row: int, name: str) -> Values:
    """Return a metric's values at a batch and at the one before."""
    value, before = store.value(name, row), store.value(name, row - 1) if row else None
    past = store.values(name, max(0, row - USUAL), row).astype(np.float64)
    changes = np.abs(np.diff(past[np.isfinite(past)]))
    # np.median would import numpy.ma: 12 ms that the first curve waits for.
    usual = statistics.median(changes.tolist()) if len(changes) >= FEWEST else math.nan
    return Values(value, before, usual)


def value_cell(
    name: str,
    at: Values,
    width: int,
    glyphs: Glyphs,
    among: tuple[str, ...] = (),
) -> Row:
    """Write a metric, its value and its change from the batch before, in units of its usual change;
    a name that is cut stays another than the others `among` which it stands."""
    value = at.value
    role = role_of_metric(name)
    bad = value is not None and not math.isfinite(value)
    figure = number(value) if value is not None else "not logged"
    change = _change(at, glyphs)
    value_role = "explode bold" if bad else "foreground" if value is not None else "muted"
    room = max(6, width - 11 - len(figure))
    label = shorten_names(among or (name,), room, glyphs.ellipsis)[name]
    return spread(
        ((f" {label} ", role),),
        ((figure, value_role), (change.rjust(9), "muted")),
        width,
    )


def _change(at: Values, glyphs: Glyphs) -> str:
    """Write `▴2.4×` for a rise by 2.4 usual changes; in percent where no change is usual yet."""
    value, before = at.value, at.before
    if value is None or before is None or not math.isfinite(value - before):
        return ""
    if at.usual > 0:
        size = abs(value - before) / at.usual
        figure = f"{size:.1f}" if size < 99.95 else ">999" if size > 999 else f"{size:.0f}"
        return f" {glyphs.up if value > before else glyphs.down}{figure}{glyphs.times}"
    if not before:
        return ""
    share = (value - before) / abs(before)
    return f" {share * 100:+.1f}%" if abs(share) < 10 else f" {glyphs.times}{value / before:.0f}"

"""Moving through a run: cursor, zoom, pan, hold, axes, events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vlamon.charts.cursor import row_at, telling_row, x_of_row
from vlamon.charts.numbers import count, number
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import Extent, Viewport, Window
from vlamon.records import Event
from vlamon.tui.batch_search import WINDOW, mean_around, worst_rows
from vlamon.tui.event_list import FILTERS, Filter, passes
from vlamon.tui.frame_context import steps_are_epochs
from vlamon.tui.notices import Notice
from vlamon.tui.widgets.inspector import attempt_of, left_attempt

if TYPE_CHECKING:
    from vlamon.tui.host import Host
    from vlamon.tui.placement import Placement
    from vlamon.tui.widgets.chart import Chart

AXES: tuple[Axis, ...] = ("step", "epoch", "since", "time")
AXIS_WORDS = {"step": "step", "epoch": "epoch", "since": "time since the start", "time": "clock"}


class Navigation:
    """The viewport's keys, the cursor and the chosen event."""

    def __init__(self, host: Host, viewport: Viewport, placement: Placement) -> None:
        self.viewport = viewport
        self.event_id = ""
        """Id of the chosen event; empty for none."""
        self.filter: Filter = "all"
        """Which events are listed and gone through."""
        self._host = host
        self._store = host.store
        self._placement = placement
        self._cursor_attempt: int | None = None
        self._worst: tuple[str, int] = ("", -1)
        """Metric and rank of the worst batch that was gone to last."""
        self._mark: int | None = None
        """Row that means are compared with."""

    def cursor_row(self) -> int | None:
        """Return the row under the cursor; None where there is no cursor."""
        view = self.viewport.view
        if view.cursor is None:
            return None
        return row_at(self._store, view.axis, view.cursor, self._cursor_attempt)

    def _steer(self, act: Callable[[Window, Extent], None]) -> None:
        """Do something to the viewport, seen from the leading chart."""
        chart = self._placement.leading_chart()
        if chart is not None and chart.shown is not None:
            act(chart.shown, chart.extent)
            self._host.repaint()

    # Cursor

    def put_cursor(self, row: int) -> None:
        """Put the cursor on a batch and bring it into view."""
        axis = self.viewport.view.axis
        x = x_of_row(self._store, axis, row)
        if not math.isfinite(x):
            self._host.say(Notice(f"this batch has no known {AXIS_WORDS[axis]}", "warn"))
            return
        attempts = self._store.attempts
        inside = (one.number for one in attempts if one.first_row <= row < one.end_row)
        self._cursor_attempt = next(inside, None)
        self.viewport.set_cursor(x)
        self._steer(lambda shown, extent: self.viewport.reveal(x, shown, extent))

    def move_cursor(self, columns: int) -> None:
        """Move the cursor by columns; in a column it stands on the batch that stands out."""
        chart = self._placement.leading_chart()
        if chart is None or chart.shown is None or not self._store.rows:
            return
        shown, axis = chart.shown, self.viewport.view.axis
        with self._host.data_lock:
            row = self.cursor_row()
            at = x_of_row(self._store, axis, row if row is not None else self._store.rows - 1)
            at = at if math.isfinite(at) else chart.extent.last
            if row is None and columns < 0:
                columns += 1
            width = shown.bin * 2
            start = (at // width + columns) * width
            start = min(max(start, chart.extent.first // width * width), chart.extent.last)
            self._point_at(chart, start, width)

    def point(self, chart: Chart, position: float) -> None:
        """Put the cursor where the mouse was clicked, as the keys would."""
        shown = chart.shown
        if shown is not None and self._store.rows:
            with self._host.data_lock:
                self._point_at(chart, position, shown.bin * 2)

    def _point_at(self, chart: Chart, start: float, width: float) -> None:
        """Put the cursor on the batch that stands out in a column of a chart."""
        metric, axis = chart.picture.metrics[0], self.viewport.view.axis
        found = telling_row(self._store, axis, metric, start, start + width)
        if found is not None:
            self.put_cursor(found)

    def move_batch(self, rows: int) -> None:
        """Move the cursor by batches."""
        if not self._store.rows:
            return
        with self._host.data_lock:
            row = self.cursor_row()
            last = self._store.rows - 1
            self.put_cursor(min(last, max(0, (last if row is None else row) + rows)))

    def go_to_edge(self, side: int) -> None:
        """Put the cursor on the first or the newest batch."""
        if self._store.rows:
            with self._host.data_lock:
                self.put_cursor(0 if side < 0 else self._store.rows - 1)

    def go_to_event(self, by: int) -> None:
        """Choose the next or the previous event, seen from the chosen one, else from the cursor,
        and put the cursor where it happened; without either the newest is what one came for."""
        with self._host.data_lock:
            events = [event for event in self._store.events if passes(event, self.filter)]
            if not events:
                self._host.say(Notice("no such event" if self._store.events else "no events yet"))
                return
            ids = [event.id for event in events]
            row = self.cursor_row()
            if self.event_id in ids:
                at = ids.index(self.event_id) + by
            elif row is not None:
                at = self._beside(events, row, by)
            else:
                at = len(events) - 1
            self.choose_event(events[min(len(events) - 1, max(0, at))].id)

    def _beside(self, events: Sequence[Event], row: int, by: int) -> int:
        """Return the number of the first event after a batch, or of the last one before it, in the
        order in which they happened: steps begin again with every attempt."""
        here = (attempt_of(self._store, row), int(self._store.steps(row, row + 1)[0]))
        places = [(left_attempt(event), event.step) for event in events]
        if by > 0:
            return next((n for n, place in enumerate(places) if place > here), len(events) - 1)
        return next((n for n in range(len(events) - 1, -1, -1) if places[n] < here), 0)

    def next_filter(self) -> None:
        """List all events, warnings and errors, or errors alone."""
        self.filter = FILTERS[(FILTERS.index(self.filter) + 1) % len(FILTERS)]
        self._host.repaint()

    def choose_event(self, event_id: str) -> None:
        """Mark an event and put the cursor on its batch."""
        self.event_id = event_id
        event = next((event for event in self._store.events if event.id == event_id), None)
        if event is None:
            return
        row = self._store.row_of_step(event.step, event.attempt)
        if row is None:
            row = self._store.row_of_step(event.step)
        if row is None and self._store.rows:
            row = row_at(self._store, "step", event.step)
        if row is not None:
            self.put_cursor(row)
        else:
            self._host.repaint()

    # Finding batches

    def ask_step(self) -> None:
        """Ask for a step and put the cursor on its batch."""
        from vlamon.tui.dialogs.prompt import Prompt

        def check(text: str) -> str:
            return "" if _step(text) is not None else "a step is a whole number, such as 48,209"

        def typed(text: str | None) -> None:
            if text is not None:
                self.go_to_step(_step(text) or 0)

        rows = self._store.rows
        last = count(int(self._store.steps(rows - 1, rows)[0])) if rows else "–"
        lines = (f"newest: {last}",)
        self._host.show(Prompt(self._host, "go to step", lines, check, does="goes there"), typed)

    def go_to_step(self, step: int) -> None:
        """Put the cursor on the batch of a step, the nearest one before it where there is none."""
        with self._host.data_lock:
            row = self._store.row_of_step(step)
            if row is None:
                row = row_at(self._store, "step", step)
            if row is not None:
                self.put_cursor(row)

    def go_to_worst(self, by: int) -> None:
        """Put the cursor on the next worst batch of the leading chart's metric, or one back."""
        chart = self._placement.leading_chart()
        if chart is None or not self._store.rows:
            return
        metric = chart.picture.metrics[0]
        with self._host.data_lock:
            found = worst_rows(self._store, metric)
            if not found:
                return
            known, rank = self._worst
            rank = rank + by if known == metric else 0
            rank = max(0, min(len(found) - 1, rank))
            self._worst = (metric, rank)
            row = found[rank]
            self.put_cursor(row)
            value, step = self._store.value(metric, row), int(self._store.steps(row, row + 1)[0])
        words = (
            f"{metric}: worst batch {rank + 1} of {len(found)}: {number(value)} at {count(step)}"
        )
        self._host.say(Notice(words, "accent"))

    def mark(self) -> None:
        """Mark the cursor's batch; a second time, compare the means around the two."""
        chart = self._placement.leading_chart()
        if chart is None or not self._store.rows:
            return
        metric = chart.picture.metrics[0]
        with self._host.data_lock:
            row = self.cursor_row()
            row = self._store.rows - 1 if row is None else row
            at = count(int(self._store.steps(row, row + 1)[0]))
            if self._mark is None or self._mark == row:
                self._mark = row
                words = f"marked {at}; M elsewhere compares the means of {WINDOW} batches"
            else:
                then, now = (mean_around(self._store, metric, one) for one in (self._mark, row))
                share = f" ({(now - then) / abs(then) * 100:+.2f} %)" if then else ""
                mark = count(int(self._store.steps(self._mark, self._mark + 1)[0]))
                words = f"{metric} at {mark}: {number(then)}, at {at}: {number(now)}"
                words += f", Δ {now - then:+.4g}{share}"
                self._mark = None
        self._host.say(Notice(words, "accent"))

    def back(self) -> None:
        """Clear, in this order: zoomed chart, chosen event and cursor, focus."""
        if self._placement.maximised:
            self._placement.maximised = ""
        elif self.event_id or self.viewport.view.cursor is not None:
            self.event_id = ""
            self.viewport.set_cursor(None)
        else:
            chart = self._placement.leading_chart()
            if chart is not None:
                chart.blur()
        self._host.repaint()

    # Window

    def toggle_hold(self) -> None:
        """Hold the charts still, or let them follow again."""
        self._steer(lambda shown, extent: self.viewport.toggle_hold(shown))

    def follow(self) -> None:
        """Follow the newest data at this zoom."""
        self.viewport.follow()
        self._host.repaint()

    def zoom(self, by: int) -> None:
        """Zoom by powers of two."""
        self._steer(lambda shown, extent: self.viewport.zoom(shown, extent, by))

    def show_whole_run(self) -> None:
        """Show the whole run."""
        self.viewport.show_all()
        self._host.repaint()

    def pan(self, by: int) -> None:
        """Pan by half a window."""
        self._steer(lambda shown, extent: self.viewport.pan_share(shown, extent, by / 2))

    def next_axis(self) -> None:
        """Choose the next x axis; the cursor stays on its batch."""
        with self._host.data_lock:
            row = self.cursor_row()
            # Where a row is an epoch, the axis of steps says epochs.
            axes = AXES[1:] if steps_are_epochs(self._store) else AXES
            now = axes.index(self.viewport.view.axis) if self.viewport.view.axis in axes else 0
            axis = axes[(now + 1) % len(axes)]
            cursor = math.nan if row is None else x_of_row(self._store, axis, row)
            self.viewport.set_axis(axis, cursor if math.isfinite(cursor) else None)
        self._host.say(Notice(f"x: {AXIS_WORDS[axis]}", "muted"))


def _step(text: str) -> int | None:
    """Read a step as people type it: `48209`, `48,209`, `48k`."""
    plain = text.strip().replace(",", "").replace("_", "").lower()
    factor = {"k": 1_000, "m": 1_000_000}.get(plain[-1:], 1)
    try:
        return int(float(plain[:-1] if factor > 1 else plain) * factor)
    except (ValueError, OverflowError):
        return None

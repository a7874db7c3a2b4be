"""Moving through a run: cursor, zoom, pan, hold, axes, events; what keys do to the charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlamon.catalogue import DEFAULT_VOCAB, entry
from vlamon.charts.cursor import row_at, telling_row, x_of_row
from vlamon.charts.glyphs import plain
from vlamon.charts.panels import Group
from vlamon.charts.raster import Guide
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import Extent, Window
from vlamon.records import Event
from vlamon.tui.frame_context import steps_are_epochs
from vlamon.tui.orders import Notice
from vlamon.tui.screens.painting import PaintingScreen
from vlamon.tui.widgets.chart import Chart
from vlamon.tui.widgets.contribution import short_weight
from vlamon.tui.widgets.inspector import attempt_of, left_attempt

AXES: tuple[Axis, ...] = ("step", "epoch", "since", "time")
AXIS_WORDS = {"step": "step", "epoch": "epoch", "since": "time since the start", "time": "clock"}
SMOOTHING: tuple[float | None, ...] = (None, 4.0, 16.0)
"""Half-lives of the line over the envelope, in dot columns."""

LOWER = ("gpu", "slots", "inspector", "diagnoses", "snapshots")
"""Panels that take turns below the charts."""

NOTICE_SECONDS = 6.0
"""How long a word about an order stays in the status line."""


class SteeringScreen(PaintingScreen):
    """The viewport's keys and the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.notice = Notice("")
        self._notice_until = 0.0
        self._log = self.dashboard.options.log
        self._smooth: float | None = self.dashboard.options.smoothing or None
        self._robust = True
        self._cursor_attempt: int | None = None
        self._weighed: tuple[int, Mapping[str, float]] = (-1, {})

    # What the keys act on

    def leading_chart(self) -> Chart | None:
        """Give the focused chart, else the first one that was drawn."""
        for chart in self.charts:
            if chart.has_focus:
                return chart
        return next((chart for chart in self.charts if chart.shown is not None), None)

    def steer(self, act: Callable[[Window, Extent], None]) -> None:
        """Do something to the viewport, seen from the leading chart."""
        chart = self.leading_chart()
        if chart is not None and chart.shown is not None:
            act(chart.shown, chart.extent)
            self.paint(force=True)

    def cursor_row(self) -> int | None:
        """Give the row under the cursor."""
        view = self.viewport.view
        if view.cursor is None:
            return None
        return row_at(self.store, view.axis, view.cursor, self._cursor_attempt)

    def say(self, notice: Notice) -> None:
        """Show a word in the status line for a while."""
        self.notice = notice
        self._notice_until = self.dashboard.monotonic() + NOTICE_SECONDS

    def current_notice(self) -> Notice:
        """Give the word that still stands."""
        if self.notice.text and self.dashboard.monotonic() >= self._notice_until:
            self.notice = Notice("")
        return self.notice

    # Cursor

    def put_cursor(self, row: int) -> None:
        """Put the cursor on a batch and bring it into view."""
        x = x_of_row(self.store, self.viewport.view.axis, row)
        attempts = self.store.attempts
        inside = (one.number for one in attempts if one.first_row <= row < one.end_row)
        self._cursor_attempt = next(inside, None)
        self.viewport.set_cursor(x)
        self.steer(lambda shown, extent: self.viewport.reveal(x, shown, extent))

    def action_cursor(self, columns: int) -> None:
        """Move the cursor by columns; in a column it stands on the batch that stands out."""
        chart = self.leading_chart()
        if chart is None or chart.shown is None or not self.store.rows:
            return
        shown, axis = chart.shown, self.viewport.view.axis
        with self.feed.lock:
            row = self.cursor_row()
            at = x_of_row(self.store, axis, row if row is not None else self.store.rows - 1)
            if row is None and columns < 0:
                columns += 1
            width = shown.bin * 2
            start = (at // width + columns) * width
            start = min(max(start, chart.extent.first // width * width), chart.extent.last)
            self._point_at(chart, start, width)

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        """Put the cursor where the mouse was clicked, as the keys would."""
        shown = message.chart.shown
        if shown is not None and self.store.rows:
            with self.feed.lock:
                self._point_at(message.chart, message.position, shown.bin * 2)

    def _point_at(self, chart: Chart, start: float, width: float) -> None:
        """Put the cursor on the batch that stands out in a column of a chart."""
        metric, axis = chart.picture.metrics[0], self.viewport.view.axis
        found = telling_row(self.store, axis, metric, start, start + width)
        if found is not None:
            self.put_cursor(found)

    def action_batch(self, rows: int) -> None:
        """Move the cursor by batches."""
        if not self.store.rows:
            return
        with self.feed.lock:
            row = self.cursor_row()
            last = self.store.rows - 1
            self.put_cursor(min(last, max(0, (last if row is None else row) + rows)))

    def action_edge(self, side: int) -> None:
        """Put the cursor on the first or the newest batch."""
        if self.store.rows:
            with self.feed.lock:
                self.put_cursor(0 if side < 0 else self.store.rows - 1)

    def action_event(self, by: int) -> None:
        """Choose the next or the previous event, seen from the chosen one, else from the cursor,
        and put the cursor where it happened; without either the newest is what one came for."""
        with self.feed.lock:
            events = list(self.store.events)
            if not events:
                self.say(Notice("no events yet", "muted"))
                self.paint(force=True)
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
        """Give the number of the first event after a batch, or of the last one before it, in the
        order in which they happened: steps begin again with every attempt."""
        here = (attempt_of(self.store, row), int(self.store.steps(row, row + 1)[0]))
        places = [(left_attempt(event), event.step) for event in events]
        if by > 0:
            return next((n for n, place in enumerate(places) if place > here), len(events) - 1)
        return next((n for n in range(len(events) - 1, -1, -1) if places[n] < here), 0)

    def choose_event(self, event_id: str) -> None:
        """Mark an event and put the cursor on its batch."""
        self.event_id = event_id
        event = next((event for event in self.store.events if event.id == event_id), None)
        if event is None:
            return
        row = self.store.row_of_step(event.step, event.attempt)
        if row is None:
            row = self.store.row_of_step(event.step)
        if row is None and self.store.rows:
            row = row_at(self.store, "step", event.step)
        if row is not None:
            self.put_cursor(row)
        else:
            self.paint(force=True)

    def action_back(self) -> None:
        """Give up, in this order: maximised chart, chosen event, cursor, focus."""
        if self.maximised:
            self.maximised = ""
        elif self.event_id or self.viewport.view.cursor is not None:
            self.event_id = ""
            self.viewport.set_cursor(None)
        else:
            self.set_focus(None)
        self.paint(force=True)

    # Window

    def action_hold(self) -> None:
        """Hold the charts still, or let them follow again."""
        self.steer(lambda shown, extent: self.viewport.toggle_hold(shown))

    def action_follow(self) -> None:
        """Follow the newest data at the zoom of the moment."""
        self.viewport.follow()
        self.paint(force=True)

    def action_zoom(self, by: int) -> None:
        """Zoom by powers of two."""
        self.steer(lambda shown, extent: self.viewport.zoom(shown, extent, by))

    def action_whole(self) -> None:
        """Show the whole run."""
        self.viewport.show_all()
        self.paint(force=True)

    def action_pan(self, by: int) -> None:
        """Pan by half a window."""
        self.steer(lambda shown, extent: self.viewport.pan_share(shown, extent, by / 2))

    def action_axis(self) -> None:
        """Choose the next x axis; the cursor stays on its batch."""
        with self.feed.lock:
            row = self.cursor_row()
            # Where a row is an epoch, the axis of steps says epochs.
            axes = AXES[1:] if steps_are_epochs(self.store) else AXES
            now = axes.index(self.viewport.view.axis) if self.viewport.view.axis in axes else 0
            axis = axes[(now + 1) % len(axes)]
            cursor = None if row is None else x_of_row(self.store, axis, row)
            self.viewport.set_axis(axis, cursor)
        self.say(Notice(f"x: {AXIS_WORDS[axis]}", "muted"))
        self.paint(force=True)

    # Look

    def action_log(self) -> None:
        """Make the focused chart's y logarithmic, else all charts'."""
        focused = next((chart for chart in self.charts if chart.has_focus), None)
        if focused is not None:
            focused.set_look(log=not focused.look.log)
            self.say(Notice(f"{focused.picture.title}: {_scale(focused.look.log)}", "muted"))
        else:
            self._log = not self._log
            self._look_all(log=self._log)
            self.say(Notice(f"all charts: {_scale(self._log)}", "muted"))
        self.paint(force=True)

    def action_smooth(self) -> None:
        """Choose the next smoothing of the line over the envelope."""
        at = SMOOTHING.index(self._smooth) if self._smooth in SMOOTHING else 0
        self._smooth = SMOOTHING[(at + 1) % len(SMOOTHING)]
        self._look_all(smooth=self._smooth)
        words = f"half-life {self._smooth:g} columns" if self._smooth else "off"
        self.say(Notice(f"smoothed line: {words}", "muted"))
        self.paint(force=True)

    def action_outliers(self) -> None:
        """Clip short excursions (marked), or let them set the y range."""
        self._robust = not self._robust
        self._look_all(robust=self._robust)
        words = "short excursions clipped and marked" if self._robust else "everything fits"
        self.say(Notice(f"y range: {words}", "muted"))
        self.paint(force=True)

    def _look_all(self, **changes: Any) -> None:
        for chart in self._made.values():
            chart.set_look(**changes)

    def chart_title(self, group: Group) -> str:
        """Name a chart, with the weight that its term has now."""
        if self._weighed[0] != self.store.version:
            self._weighed = (self.store.version, self.store.weights_at())
        weight = self._weighed[1].get(group.metrics[0], 1.0)
        if weight == 1.0 or len(group.metrics) > 1:
            return group.name
        return f"{group.name} ×{short_weight(weight)}"

    def chart_extras(self, group: Group) -> dict[str, Any]:
        """Give a new chart the look that all have."""
        from vlamon.charts.chart_style import Look

        look = Look(
            log=self._log,
            robust=self._robust,
            smooth=self._smooth,
            ascii_only=self.dashboard.ascii_only,
            utc_offset=self.dashboard.utc_offset,
        )
        vocab = self.store.info.vocab if self.store.info is not None else None
        guides = guides_of(group, vocab)
        if self.dashboard.ascii_only:
            guides = tuple(replace(guide, label=plain(guide.label)) for guide in guides)
        return {"look": look, "guides": guides}

    def keep_theme(self, name: str) -> None:
        """Use a theme from now on, and say where it cannot be remembered."""
        problem = self.dashboard.keep_theme(name)
        if problem:
            self.say(Notice(f"theme {name}, for this time only: {problem}", "warn"))
        self.paint(force=True)

    def action_maximise(self) -> None:
        """Give the leading chart the whole screen, or give it back."""
        chart = self.leading_chart()
        group = None if chart is None else self.group_of(chart)
        self.maximised = "" if self.maximised or group is None else group.name
        self.paint(force=True)

    def show_alone(self, name: str) -> None:
        """Give a chart the whole screen by its name."""
        self.maximised = name
        self.paint(force=True)

    def action_focus_chart(self, by: int) -> None:
        """Focus the next chart on screen; where one has the whole screen, the next one has it."""
        if self.maximised:
            self.action_page(by)
        elif by > 0:
            self.focus_next(Chart)
        else:
            self.focus_previous(Chart)

    def action_page(self, by: int) -> None:
        """Show the charts that come next; the next one alone where one has the whole screen."""
        if self.maximised:
            names = [group.name for group in self.groups()]
            at = names.index(self.maximised) if self.maximised in names else 0
            self.show_alone(names[(at + by) % len(names)])
            return
        slots = max(1, self.arrangement.charts)
        pages = max(1, -(-len(self.groups()) // slots))
        self.page = (self.page + by) % pages
        self.paint(force=True)
        words = "all charts are on screen" if pages == 1 else self._page_words(len(self.groups()))
        self.say(Notice(words, "muted"))
        self.paint(force=True)

    def _page_words(self, charts: int) -> str:
        """Say which charts of how many are on screen."""
        first = 1 + next(
            (at for at, group in enumerate(self.groups()) if self._made.get(group) in self.charts),
            0,
        )
        return f"charts {first} to {first + len(self.charts) - 1} of {charts}; / finds the others"

    def action_lower(self) -> None:
        """Show the next panel below the charts."""
        choices: tuple[str, ...] = LOWER
        if self.arrangement.form == "column":
            choices = ("events", *LOWER)
        if not self.dashboard.options.gpu:
            choices = tuple(name for name in choices if name != "gpu")
        now = choices.index(self.lower) if self.lower in choices else 0
        chosen = choices[(now + 1) % len(choices)]
        self.lower = "" if chosen == choices[0] else chosen
        self.paint(force=True)


def guides_of(group: Group, vocab: int | None) -> tuple[Guide, ...]:
    """Give the random-guess line of a chart, for the run's own vocabulary.

    A run that does not say how large its vocabulary is gets the line of the full model in closs
    alone, with that vocabulary in its label: a line must not claim more than is known.
    """
    known = entry(group.metrics[0], vocab or DEFAULT_VOCAB)
    if known.guess is None or known.split or known.family.startswith("acc"):
        return ()
    label = f"{known.guess_label} {known.guess:.4g}"
    if known.guess_needs_vocab and vocab is None:
        if known.family != "closs":
            return ()
        label = f"ln {DEFAULT_VOCAB:,} {known.guess:.4g}"
    return (Guide(known.guess, "guess", label),)


def _scale(log: bool) -> str:
    return "logarithmic y" if log else "linear y"

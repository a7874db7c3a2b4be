"""When the dashboard's panels are painted, and what they see then."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from dataclasses import replace

from vlamon.analysis.liveness import Alive, Heart, judge, of_log, typical_interval
from vlamon.charts.glyphs import ASCII, UNICODE
from vlamon.charts.numbers import age
from vlamon.tui.frame_context import Moment
from vlamon.tui.pacing import Pacer
from vlamon.tui.screens.placing import PlacingScreen
from vlamon.tui.widgets.chart import Chart
from vlamon.tui.widgets.row_panel import RowPanel

FRAMES = 10.0
"""Most frames a second."""
SLOW_FRAMES = 2.0
"""Most frames a second of the charts with `--low-bandwidth`; numbers get half."""

HISTORY = 500
"""Steps behind the trainer from which what arrives is called history."""


class PaintingScreen(PlacingScreen):
    """The paint tick: at once after a rest, then at most ten a second."""

    def __init__(self) -> None:
        super().__init__()
        options = self.dashboard.options
        self.event_id = ""
        self.moment: Moment | None = None
        self._heart = Heart()
        frames = SLOW_FRAMES if options.low_bandwidth else FRAMES
        self._pace = Pacer(1 / frames)
        self._pace_numbers = Pacer(2 / frames if options.low_bandwidth else 0.0)
        self._painted_rows = False
        """Whether rows were painted yet: the first ones wait for nothing."""
        self._changed = False
        self._due: asyncio.TimerHandle | None = None
        self._owed: asyncio.TimerHandle | None = None
        """The paint that will show what panels with a slower pace have not shown yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seen_version = -1

    def on_mount(self) -> None:
        """Begin to listen to the feed."""
        self._loop = asyncio.get_running_loop()
        self._surroundings = contextvars.copy_context()
        self.feed.on_change = self._from_feed
        self._call_later(1.0, self._tick)

    def on_unmount(self) -> None:
        """Stop listening."""
        if self._owed is not None:
            self._owed.cancel()
        self.feed.on_change = None

    # When to paint

    def _from_feed(self) -> None:
        """Note, on the feed's thread, that something came; wake the screen once."""
        if self._changed or self._loop is None:
            return
        self._changed = True
        try:
            self._loop.call_soon_threadsafe(self._wake, context=self._surroundings)
        except RuntimeError:
            self._changed = False  # the loop closed while the last records came in

    def _wake(self) -> None:
        if self._due is not None or not self.is_running:
            return
        wait = self._pace.wait(time.monotonic())
        if wait <= 0 or (self.store.rows and not self._painted_rows):
            self._paint_due()
        else:
            self._due = self._call_later(wait, self._paint_due)

    def _call_later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        assert self._loop is not None
        return self._loop.call_later(delay, call, context=self._surroundings)

    def _paint_due(self) -> None:
        self._due = None
        self._changed = False
        if self.is_running:
            self.paint()

    def _pay(self) -> None:
        """Show in all panels what came last, although nothing further comes."""
        self._owed = None
        if self.is_running:
            self.paint()

    def _tick(self) -> None:
        """Once a second: what depends on the clock alone, and only where its rows change."""
        if not self.is_running:
            return
        self._call_later(1.0, self._tick)
        if self._changed or self.size.width == 0:
            return
        with self.feed.lock:
            moment = self.look(self.clock())
            self.react(moment)
            self.moment = self.retouch(moment)
            for name in ("status", "diagnoses", "snapshots"):
                self.panels[name].draw(self.moment)

    def clock(self) -> float:
        """Give the watcher's wall clock; tests freeze it."""
        return self.dashboard.clock()

    # What there is to see

    def look(self, now: float) -> Moment:
        """Read the store's state of the moment; the caller holds the lock."""
        alive = self.pulse()
        store = self.store
        row = self.cursor_row()
        return Moment(
            store=store,
            now=now,
            alive=alive,
            row=row if row is not None else (store.rows - 1 if store.rows else None),
            at_cursor=row is not None,
            event=self.event_id,
            read_only=self.dashboard.options.read_only,
            held=self.viewport.held,
            glyphs=ASCII if self.dashboard.ascii_only else UNICODE,
        )

    def pulse(self) -> Alive:
        """Judge the run's pulse from what the store holds."""
        store, heart, now = self.store, self._heart, self.dashboard.monotonic()
        rows = store.rows
        times = store.times(max(0, rows - 65), rows)
        latest = store.gpu.latest
        others = [latest.time] if latest is not None else []
        if store.status is not None:
            others.append(store.status.time)
        heart.observe(rows, float(times[-1]) if rows else float("nan"), others, now)
        if store.status is not None and store.status.state in ("paused", "stopped"):
            heart.rest(now)
        interval = typical_interval(times)
        if interval != interval:
            interval = typical_interval(heart.arrivals)
        alive = judge(store.link, store.status, rows, interval, heart.quiet(now))
        if store.status is None and rows:
            alive = of_log(alive, float(times[-1]), self.clock())
            if alive.pulse == "ended" and alive.silent_for:
                return replace(alive, text=f"last line {age(alive.silent_for)} ago")
            if alive.pulse == "live" and interval != interval:
                return replace(alive, text="no new line yet")
        if alive.pulse == "live" and not alive.text:
            return replace(alive, text=self.reading())
        return alive

    def reading(self) -> str:
        """Say how much of a long history is still to come."""
        status, rows = self.store.status, self.store.rows
        if status is None or not rows:
            return ""
        last = int(self.store.steps(rows - 1, rows)[0])
        if status.step - last < HISTORY:
            return ""
        return f"reading history, {last * 100 // max(1, status.step)} %"

    def react(self, moment: Moment) -> None:
        """Act on what is new; subclasses alert, order and answer."""

    def retouch(self, moment: Moment) -> Moment:
        """Add what subclasses know to the moment."""
        return moment

    # Painting

    def paint(self, force: bool = False) -> None:
        """Bring everything that is on screen up to date."""
        now = time.monotonic()
        if self.size.width == 0:
            return
        self._pace.painted(now)
        wait = 0.0 if force else self._pace_numbers.wait(now)
        numbers = wait <= 0
        with self.feed.lock:
            moment = self.look(self.clock())
            self.react(moment)
            self.moment = moment = self.retouch(moment)
            self.place_panels()
            self._painted_rows = self.store.rows > 0
            if numbers:
                self._pace_numbers.painted(now)
                if self._owed is not None:
                    self._owed.cancel()
                    self._owed = None
                for place in self.arrangement.places:
                    panel = self.panels.get(place.name)
                    if panel is not None:
                        panel.draw(moment)
            else:
                self.panels["status"].draw(moment)
                if self._owed is None:
                    self._owed = self._call_later(wait, self._pay)
            cursor_row = self.cursor_row()
            for chart in self.charts:
                chart.refresh_from(self.store, cursor_row)

    def repaint_all(self) -> None:
        """Paint everything again after the palette changed."""
        for panel in self.panels.values():
            panel.repaint()
        for chart in self._made.values():
            chart.paint_with(self.dashboard.palette)

    def on_resize(self) -> None:
        """Arrange the panels for the new size."""
        self.paint(force=True)

    def on_chart_stale(self, message: Chart.Stale) -> None:
        """Draw a chart that changed its size or focus."""
        with self.feed.lock:
            message.chart.refresh_from(self.store, self.cursor_row())

    def on_chart_moved(self) -> None:
        """Draw everything that the mouse moved."""
        self.paint(force=True)

    def on_row_panel_stale(self, message: RowPanel.Stale) -> None:
        """Draw a panel that changed its size."""
        if self.moment is not None:
            with self.feed.lock:
                message.panel.draw(self.moment)

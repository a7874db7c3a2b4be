"""When panels are painted: at once after a rest, then at most ten times a second."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from vlamon.charts.baseline import Baseline
from vlamon.tui.frame_context import FrameContext, run_name
from vlamon.tui.notices import Notice
from vlamon.tui.pacing import Pacer
from vlamon.tui.pulse import Pulse
from vlamon.tui.runs import labels

if TYPE_CHECKING:
    from vlamon.tui.host import Host
    from vlamon.tui.navigation import Navigation
    from vlamon.tui.placement import Placement
    from vlamon.tui.widgets.chart import Chart

FRAMES = 10.0
"""Most frames a second."""
SLOW_FRAMES = 2.0
"""Most frames a second of the charts with `--low-bandwidth`; numbers get half."""
CURVES = 5.0
"""Most times a second that curves are drawn while data streams in: a batch is on its curve within a
quarter of a second. Their titles keep each frame's pace. What a curve gains in a tenth of a second
is a dot, and drawing it is most of a frame."""
LATE = 0.1
"""Seconds by which an owed paint waits longer than it has to: a frame with new data pays, too."""
TOGETHER = 0.03
"""Seconds behind a batch's next turn that a status waits for it: one frame then shows both."""
STREAMED = ("contribution", "inspector", "slots")
"""Panels of figures that change with every batch: they go with the curves, because nobody reads a
figure that changes ten times a second."""
CLOCKED = ("status", "diagnoses", "snapshots")
"""Panels that depend on the clock alone, too."""


class Painter:
    """Builds a frame from the store and has every widget on screen draw it.

    `complete` adds to a frame what other controllers know, after they heard what is new.
    """

    def __init__(
        self,
        host: Host,
        placement: Placement,
        navigation: Navigation,
        complete: Callable[[FrameContext], FrameContext],
        size: Callable[[], tuple[int, int]],
        complain: Callable[[Notice], None],
    ) -> None:
        low = host.shell.options.low_bandwidth
        frames = SLOW_FRAMES if low else FRAMES
        self.frame: FrameContext | None = None
        """What was painted last."""
        self.pulse = Pulse(host.store)
        self.pace = Pacer(1 / frames)
        self.pace_others = Pacer(1 / frames)
        """Of paints that show no new batch: a status, a sample, what a key asks for."""
        self.pace_numbers = Pacer(2 / frames if low else 0.0)
        self.pace_curves = Pacer(1 / CURVES)
        self.owed: asyncio.TimerHandle | None = None
        """The paint that will show what panels with a slower pace have not shown yet."""
        self.due: asyncio.TimerHandle | None = None
        self._host = host
        self._placement = placement
        self._navigation = navigation
        self._complete = complete
        self._size = size
        self._complain = complain
        self._rows_shown = 0
        """Rows that were painted last: the first ones wait for nothing."""
        self._changed = False
        self._batch_came = False
        """Whether there are batches in what changed."""
        self._baseline_seen = 0
        """Version of the run under the charts that was drawn last."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._surroundings = contextvars.copy_context()

    def start(self) -> None:
        """Begin to listen to the feed, in the event loop and context that widgets live in."""
        self._loop = asyncio.get_running_loop()
        self._surroundings = contextvars.copy_context()
        self._host.feed.on_change = self._from_feed
        self._call_later(1.0, self._every_second)

    def stop(self) -> None:
        """Stop listening."""
        self._host.feed.on_change = None
        for handle in (self.owed, self.due):
            if handle is not None:
                handle.cancel()
        self._loop = None

    # When to paint

    def _from_feed(self) -> None:
        """Note, on the feed's thread, that something came; wake the screen once."""
        loop = self._loop
        batch = self._host.store.rows != self._rows_shown
        if loop is None or (self._changed and (self._batch_came or not batch)):
            return
        self._changed, self._batch_came = True, batch
        try:
            loop.call_soon_threadsafe(self._wake, context=self._surroundings)
        except RuntimeError:
            self._changed = False  # the loop closed while the last records came in

    def _wake(self) -> None:
        if self._loop is None:
            return
        if self.due is not None:
            if not self._batch_came:
                return
            self.due.cancel()  # of a status, for which a batch does not wait
            self.due = None
        wait = self._wait(time.monotonic())
        if wait <= 0 or (self._host.store.rows and not self._rows_shown):
            self._paint_due()
        else:
            self.due = self._call_later(wait, self._paint_due)

    def _call_later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        assert self._loop is not None
        return self._loop.call_later(delay, call, context=self._surroundings)

    def _wait(self, now: float) -> float:
        """Return the seconds to wait: a batch waits for paints of batches alone, and all else goes
        with the next batch where they stream in."""
        if self._batch_came:
            return self.pace.wait(now)
        return max(0.0, max(self.pace.due, self.pace_others.due) + TOGETHER - now)

    def _paint_due(self) -> None:
        self.due = None
        self._changed = self._batch_came = False
        if self._loop is not None and self._on_screen():
            self.paint()

    def _pay(self) -> None:
        """Show in all panels what came last, although nothing further comes."""
        self.owed = None
        if self._loop is not None and self._on_screen():
            self.paint()

    def _on_screen(self) -> bool:
        """Say whether this run is the one that is shown."""
        return self._host.shell.feed is self._host.feed

    def _every_second(self) -> None:
        if self._loop is not None:
            self._call_later(1.0, self._every_second)
            if self._baseline_moved() and self._on_screen():
                self.paint()
            elif not self._changed:
                self.tick()

    def _baseline_moved(self) -> bool:
        """Say whether the run under the charts, which wakes nobody, grew since they were drawn."""
        feed = self._host.shell.baseline
        return (
            feed is not None
            and feed is not self._host.feed
            and feed.store.version != self._baseline_seen
        )

    def tick(self) -> None:
        """Draw what depends on the clock alone, and only where its rows change."""
        if self._size()[0] == 0 or not self._on_screen():
            return
        with self._host.data_lock:
            self.frame = self._complete(self.look())
            for name in CLOCKED:
                self._placement.panels[name].draw(self.frame)

    # What there is to see

    def look(self) -> FrameContext:
        """Read the store's present state; the caller holds the lock."""
        host, shell, store = self._host, self._host.shell, self._host.store
        row = self._navigation.cursor_row()
        return FrameContext(
            store=store,
            now=shell.clock(),
            alive=self.pulse.judge(shell.monotonic(), shell.clock()),
            row=row if row is not None else (store.rows - 1 if store.rows else None),
            at_cursor=row is not None,
            event=self._navigation.event_id,
            read_only=host.shell.options.read_only,
            held=self._navigation.viewport.held,
            glyphs=shell.rendering.glyphs,
            baseline=self._baseline_name(),
        )

    def _baseline_name(self) -> str:
        """Return the name of the run under the charts; empty for none."""
        feed = self._host.shell.baseline
        if feed is None or feed is self._host.feed:
            return ""
        feeds = self._host.shell.feeds
        return labels(feeds)[feeds.index(feed)] if feed in feeds else run_name(feed.store)

    # Painting

    def paint(self, force: bool = False) -> None:
        """Bring everything that is on screen up to date; a slower pace holds unless forced."""
        now = time.monotonic()
        width, height = self._size()
        if width == 0:
            return
        rows = self._host.store.rows
        (self.pace_others if rows == self._rows_shown else self.pace).painted(now)
        wait = 0.0 if force else self.pace_numbers.wait(now)
        calm = 0.0 if force else self.pace_curves.wait(now)
        with self._host.data_lock:
            self.frame = frame = self._complete(self.look())
            self._placement.place(width, height, frame)
            self.frame = frame = replace(frame, paging=self._placement.paging())
            self._rows_shown = self._host.store.rows
            if wait <= 0:
                self._draw_panels(frame, now, calm > 0)
            else:
                self._placement.panels["status"].draw(frame)
            if calm <= 0:
                self.pace_curves.painted(now)
            row = frame.row if frame.at_cursor else None
            with self._baseline() as baseline:
                for chart in self._placement.charts:
                    self._draw_chart(chart, row, calm > 0, baseline)
        self._owe(max(wait, calm))

    def _owe(self, wait: float) -> None:
        """Paint later what this frame left out, or nothing where it left out nothing."""
        if wait > 0 and self.owed is None:
            self.owed = self._call_later(wait + LATE, self._pay)
        elif wait <= 0 and self.owed is not None:
            self.owed.cancel()
            self.owed = None

    def _draw_panels(self, frame: FrameContext, now: float, calm: bool) -> None:
        self.pace_numbers.painted(now)
        for place in self._placement.arrangement.places:
            panel = self._placement.panels.get(place.name)
            if panel is not None and not (calm and place.name in STREAMED):
                panel.draw(frame)

    def draw_chart(self, chart: Chart) -> None:
        """Draw a chart that changed its size or focus; the caller holds the lock."""
        with self._baseline() as baseline:
            self._draw_chart(chart, self._navigation.cursor_row(), False, baseline)

    @contextmanager
    def _baseline(self) -> Iterator[Baseline | None]:
        """Hold still the run that lies under the charts, if there is one. No feed's thread takes
        two locks, so that the order in which this one does is free."""
        feed = self._host.shell.baseline
        if feed is None or feed is self._host.feed:
            self._baseline_seen = 0
            yield None
            return
        with feed.lock:
            self._baseline_seen = feed.store.version
            yield Baseline(feed.store, run_name(feed.store))

    def _draw_chart(
        self, chart: Chart, row: int | None, title_alone: bool, baseline: Baseline | None
    ) -> None:
        """Draw a chart; one that cannot show what a run sends must not end the others."""
        try:
            chart.refresh_from(self._host.store, row, title_alone, baseline)
        except Exception as problem:
            text = f"chart {chart.picture.title}: {type(problem).__name__}: {problem}"
            self._complain(Notice(text, "explode"))

    def repaint_all(self) -> None:
        """Paint everything again after the palette changed."""
        for panel in self._placement.panels.values():
            panel.repaint()
        for chart in self._placement.made:
            chart.paint_with(self._host.shell.rendering.palette)

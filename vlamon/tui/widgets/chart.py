"""A chart on Textual's Line API: rows that did not change are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.widget import Widget

from vlamon.charts.baseline import Baseline
from vlamon.charts.braille import DOTS_WIDE
from vlamon.charts.cells import Guide
from vlamon.charts.chart import Picture
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.frame import AROUND
from vlamon.charts.metric_roles import roles_of_lines
from vlamon.charts.track import AxisData
from vlamon.charts.viewport import Extent, Viewport, Window, window
from vlamon.charts.y_labels import GUTTER
from vlamon.safe_text import line
from vlamon.tui.styled_row import StyledRow
from vlamon.tui.textual_internals import KeptLines
from vlamon.tui.themes import Palette, load_themes

if TYPE_CHECKING:
    from vlamon.detect.rules import SpikeRules
    from vlamon.store import RunStore

_WHEEL_ZOOM = 1
"""Powers of two that a notch of the wheel zooms by."""


class Chart(KeptLines, Widget, can_focus=True):
    """One or more metrics over a viewport that all charts of a screen share."""

    DEFAULT_CSS = "Chart { height: 1fr; min-height: 3; }"

    class Pointed(Message):
        """The mouse was clicked on a column of the plot."""

        def __init__(self, chart: Chart, position: float) -> None:
            super().__init__()
            self.chart = chart
            self.position = position

    class Moved(Message):
        """The mouse changed the viewport: every chart that shares it has to be redrawn."""

    class Stale(Message):
        """The chart needs to be drawn again although nothing new came in, after a resize."""

        def __init__(self, chart: Chart) -> None:
            super().__init__()
            self.chart = chart

    def __init__(
        self,
        metrics: Sequence[str],
        title: str,
        *,
        viewport: Viewport | None = None,
        roles: Sequence[str] | None = None,
        guides: Sequence[Guide] = (),
        look: ChartStyle | None = None,
        palette: Palette | None = None,
        axis_data: AxisData | None = None,
        rules: SpikeRules | None = None,
        **widget: Any,
    ) -> None:
        super().__init__(**widget)
        self.picture = Picture(metrics, title, roles or roles_of_lines(metrics), guides, rules)
        self.viewport = viewport or Viewport()
        self._axis_data = axis_data or AxisData()
        self.look = look or ChartStyle()
        self._asked: tuple[ChartStyle, bool, bool] | None = None
        self._drawn_look = self.look
        self.palette = palette
        self._styled: list[StyledRow | None] = []
        self._seen: tuple[object, ...] = ()
        self._width = 0
        self._extent = Extent(0.0, 0.0)
        self._drag: tuple[int, Window] | None = None

    @property
    def shown(self) -> Window | None:
        """The window that was drawn last; keys of the screen zoom and pan relative to it."""
        return self.picture.window

    @property
    def extent(self) -> Extent:
        """The data's extent when the chart was drawn last."""
        return self._extent

    def set_look(self, **changes: Any) -> None:
        """Change what a person chooses: `log`, `robust`, `smooth`, `ascii_only`."""
        self.look = replace(self.look, **changes)

    def paint_with(self, palette: Palette) -> None:
        """Use another theme; everything is painted again."""
        self.palette = palette
        self._styled = [None] * len(self._styled)
        self.refresh()

    def refresh_from(
        self,
        store: RunStore,
        cursor_row: int | None = None,
        title_alone: bool = False,
        baseline: Baseline | None = None,
    ) -> bool:
        """Draw what changed since the last call; costs nothing when nothing did.

        The caller holds the locks under which records are applied. The title has the values of
        `cursor_row`, the newest ones without. With `title_alone` new data reaches only the title.
        The curves of `baseline` lie under those of the run.
        """
        width, height = self.outer_size
        look = self._present_look()
        title = self.picture.title
        data = (store.version, 0 if baseline is None else baseline.store.version)
        other = None if baseline is None else baseline.store
        seen = (data, self.viewport.version, width, height, look, title, cursor_row, other)
        if seen == self._seen or width < AROUND + 2 or height < 1:
            return False
        if title_alone and self._seen[1:] == seen[1:]:
            return self._show(self.picture.retitle(store, cursor_row, width, look, baseline))
        self._seen = seen
        view = self.viewport.view
        self._extent, parts = self._axis_data.of(store, view.axis)
        columns = self.picture.plot_columns(width)
        shown = window(view, self._extent, self.viewport.shared(columns))
        shown = replace(shown, columns=columns)
        changed = self.picture.update(
            store, view, shown, parts, (width, height), look, cursor_row, baseline
        )
        if width != self._width or len(self._styled) != len(self.picture.rows):
            self._width = width
            self._styled = [None] * len(self.picture.rows)
        return self._show(changed)

    def _present_look(self) -> ChartStyle:
        """Return how the chart looks with its focus and the theme's tints."""
        asked = (self.look, self.has_focus, self._palette().tinted)
        if asked != self._asked:
            self._asked = asked
            self._drawn_look = replace(self.look, focused=asked[1], tinted=asked[2])
        return self._drawn_look

    def _show(self, changed: Sequence[int]) -> bool:
        """Have rows painted again; says whether there are any."""
        for row in changed:
            self._styled[row] = None
        if changed:
            self.refresh_rows(changed)
        return bool(changed)

    def styled_row(self, y: int) -> StyledRow:
        """Return one row, made when it changed and kept until it changes again."""
        if y >= len(self._styled):
            width = self.size.width
            return StyledRow([Segment(" " * width, self._palette().style(""))], width)
        found = self._styled[y]
        if found is None:
            style = self._palette().style
            row = self.picture.rows[y]
            # The width that it was drawn for: after a resize the widget has another one already.
            segments = [Segment(line(text), style(role)) for text, role in row]
            found = self._styled[y] = StyledRow(segments, self._width)
        return found

    def _palette(self) -> Palette:
        if self.palette is None:
            self.palette = Palette(load_themes().themes["dusk"])
        return self.palette

    def on_resize(self) -> None:
        """Ask for another picture: only the screen may read the store."""
        self.post_message(self.Stale(self))

    def on_focus(self) -> None:
        """Show the focus in the frame."""
        self.post_message(self.Stale(self))

    def on_blur(self) -> None:
        """Take the focus away from the frame."""
        self.post_message(self.Stale(self))

    def position_at(self, x: int) -> float | None:
        """Return the position on the axis under a column of the widget, None outside the plot."""
        shown, cell = self.shown, x - GUTTER - 1
        if shown is None or not 0 <= cell < shown.columns // 2:
            return None
        return shown.start + 2 * cell * shown.bin

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin a drag; a click that does not move sets the cursor."""
        if self.shown is not None and self.position_at(event.x) is not None:
            self._drag = (event.x, self.shown)
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pan with the mouse."""
        if self._drag is None:
            return
        start, grabbed = self._drag
        if event.x != start:
            self.viewport.pan(grabbed, self._extent, start - event.x)
            self.post_message(self.Moved())

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """End a drag, or tell where the mouse was clicked."""
        if self._drag is None:
            return
        start, _ = self._drag
        self._drag = None
        self.release_mouse()
        position = self.position_at(event.x)
        if event.x == start and position is not None:
            self.post_message(self.Pointed(self, position))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in about the mouse."""
        self._zoom(event, -_WHEEL_ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out about the mouse."""
        self._zoom(event, _WHEEL_ZOOM)

    def _zoom(self, event: events.MouseEvent, by: int) -> None:
        shown, about = self.shown, self.position_at(event.x)
        if shown is not None and about is not None:
            event.stop()
            cursor = self.viewport.view.cursor
            if cursor is not None and about <= cursor < about + DOTS_WIDE * shown.bin:
                about = cursor
            else:
                about += shown.bin
            self.viewport.zoom(shown, self._extent, by, about)
            self.post_message(self.Moved())

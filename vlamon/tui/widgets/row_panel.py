"""A panel made of rows: repaints the rows that changed, as whole rows, and nothing else.

Only whole rows are cheap (a partial region is sent from the widget's left edge anyway), and
Textual's `border_title` repaints the whole widget, so borders and titles are rows like the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rich.segment import Segment
from textual.message import Message
from textual.widget import Widget

from vlamon.charts.glyphs import Glyphs, plain
from vlamon.charts.rows import Row, fit, shorten, spread
from vlamon.safe_text import line
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.rendering import Rendering
from vlamon.tui.styled_row import StyledRow
from vlamon.tui.textual_internals import KeptLines


def framed(
    title: Row, right: Row, body: Sequence[Row], width: int, height: int, glyphs: Glyphs
) -> list[Row]:
    """Draw a border with a title on the left and figures on the right around `body`."""
    line = glyphs.horizontal
    left_end: Row = ((glyphs.top_left + " ", "border"), *title, (" ", "border"))
    right_end: Row = ((f"{line}{glyphs.top_right}", "border"),)
    if right:
        right_end = ((" ", "border"), *right, (f" {line}{glyphs.top_right}", "border"))
    rows = [spread(left_end, right_end, width, line, "border")]
    inner = max(0, width - 2)
    edge = (glyphs.vertical, "border")
    for index in range(max(0, height - 2)):
        content = body[index] if index < len(body) else ()
        rows.append((edge, *fit(content, inner), edge))
    if height > 1:
        rows.append(
            ((glyphs.bottom_left + line * inner + glyphs.bottom_right, "border"),),
        )
    return rows


class RowPanel(KeptLines, Widget):
    """Base of every panel but the chart: subclasses give rows, this paints the difference."""

    DEFAULT_CSS = """
    RowPanel { position: absolute; padding: 0; margin: 0; background: $background; }
    """

    can_focus = False
    ground = "background"
    """Role of the background that the rows are written on."""

    class Stale(Message):
        """The panel has another size and must be drawn again; the screen alone reads the store."""

        def __init__(self, panel: RowPanel) -> None:
            super().__init__()
            self.panel = panel

    def __init__(self, name: str, rendering: Rendering) -> None:
        super().__init__(id=name)
        self._rendering = rendering
        self._rows: list[Row] = []
        self._styled: list[StyledRow] = []
        self._width = -1
        self._key: Hashable = None

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return at most `height` rows of `width` columns; pure, so that tests call it directly."""
        raise NotImplementedError

    def key(self, frame: FrameContext) -> Hashable:
        """Return what the rows depend on, where that is cheaper to compare than to draw."""
        return None

    def draw(self, frame: FrameContext) -> None:
        """Bring the panel up to date; the caller holds the feed's lock.

        A panel has neither border nor padding, so that its outer size is all of it; Textual works
        `size` out again each time it is asked.
        """
        width, height = self.outer_size
        if not self.display or width <= 0 or height <= 0:
            return
        key = self.key(frame)
        if key is not None:
            key = (key, width, height)
            if key == self._key:
                return
        self._key = key
        try:
            rows = self.rows(frame, width, height)
        except Exception as problem:
            # What a run sends may be anything: one panel that cannot show it must not end the rest.
            said = f" {self.id} cannot show this run: {type(problem).__name__}: {problem}"
            rows = [((shorten(line(said), width, frame.glyphs.ellipsis), "explode"),)]
        self.put(rows)

    def put(self, found: Sequence[Row]) -> None:
        """Show these rows; only those that differ from what is on screen are painted."""
        width, height = self.outer_size
        rows = list(found)[:height]
        rows += [()] * (height - len(rows))
        whole = width != self._width or len(rows) != len(self._rows)
        changed = [index for index, row in enumerate(rows) if whole or row != self._rows[index]]
        if not changed:
            return
        if whole:
            self._styled = [StyledRow((), width)] * height
            self._width = width
        self._rows = rows
        for index in changed:
            self._styled[index] = self._painted(rows[index], width)
        if whole:
            self.refresh()
        else:
            self.refresh_rows(changed)

    def on_resize(self) -> None:
        """Ask to be drawn."""
        self.post_message(self.Stale(self))

    def repaint(self) -> None:
        """Paint all rows again with the present palette."""
        self._styled = [self._painted(row, self._width) for row in self._rows]
        self.refresh()

    def role_rows(self) -> Sequence[Row]:
        """Return what is on screen, for clicks and tests."""
        return self._rows

    def styled_row(self, y: int) -> StyledRow:
        """Return a row as it was painted last."""
        if y < len(self._styled):
            return self._styled[y]
        width, style = self.size.width, self._rendering.palette.style("")
        return StyledRow([Segment(" " * width, style)], width)

    def _painted(self, row: Row, width: int) -> StyledRow:
        style = self._rendering.palette.style
        ascii_only = self._rendering.ascii_only
        segments = []
        for text, role in fit(row, width):
            text = line(text)
            role = role if self.ground == "background" else f"{role} on {self.ground}"
            segments.append(Segment(plain(text) if ascii_only else text, style(role)))
        return StyledRow(segments, width)

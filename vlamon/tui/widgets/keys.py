"""The last row: the keys that matter now, as many as fit; each can be clicked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from vlamon.charts.rows import Row, spread
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.rendering import Rendering
from vlamon.tui.widgets.row_panel import RowPanel


@dataclass(frozen=True, slots=True)
class Hint:
    """One key of the footer."""

    key: str
    """As it is written on a keyboard."""
    words: str
    """What it does, one or two words."""
    action: str
    """Action of the screen that a click runs."""


class KeysLine(RowPanel):
    """Hints in the order of their importance."""

    def __init__(self, name: str, rendering: Rendering) -> None:
        super().__init__(name, rendering)
        self.hints: Sequence[Hint] = ()
        self._spans: list[tuple[int, int, str]] = []

    def key(self, frame: FrameContext) -> Hashable:
        """Return what the row is made of: it seldom changes."""
        return tuple(self.hints), frame.paging

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the one row."""
        row: list[tuple[str, str]] = []
        spans = []
        paging = f"{frame.paging} " if frame.paging else ""
        room = width - 1 - len(paging)
        x = 1
        for hint in self.hints:
            size = cell_len(hint.key) + 1 + cell_len(hint.words)
            if x + size > room:
                continue
            if row:
                row.append(("  ", ""))
                x += 2
                if x + size > room:
                    break
            row += [(hint.key, "key bold"), (f" {hint.words}", "muted")]
            spans.append((x, x + size, hint.action))
            x += size
        self._spans = spans
        return [spread(((" ", ""), *row), ((paging, "title"),), width)]

    def action_at(self, x: int) -> str:
        """Return the action under a column, empty for none."""
        return next((action for start, end, action in self._spans if start <= x < end), "")

"""A page of text to read: help, the explanation of a metric, a finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlamon.charts.rows import Row
from vlamon.tui.dialogs.dialog import Dialog
from vlamon.tui.host import Host


class Page(Dialog[None]):
    """Scrolls by keys and wheel; any of the keys that open a page closes it."""

    BINDINGS = [  # noqa: RUF012
        ("escape,q,enter,question_mark,f1,i,v,d", "close", "close"),
        ("down,j", "scroll(1)", "down"),
        ("up,k", "scroll(-1)", "up"),
        ("pagedown,space", "turn(1)", "page down"),
        ("pageup,b", "turn(-1)", "page up"),
        ("home", "scroll(-9999)", "start"),
        ("end", "scroll(9999)", "end"),
    ]

    tells_more = False

    def __init__(self, host: Host, title: str, write: Callable[[int], Sequence[Row]]) -> None:
        super().__init__(host)
        self._title = title
        self._write = write
        self._first = 0
        self._rows = self._room = 0

    def heading(self) -> tuple[Row, Row]:
        """Return the title, and how much is below."""
        more = self._rows - self._room - self._first
        if more > 0:
            words = f"space: next page, {more} rows more"
        else:
            words = "b: page back, Esc closes" if self._first else "Esc closes"
        right = (words, "muted")
        return ((self._title, "title bold"),), (right,)

    def body(self, width: int) -> Sequence[Row]:
        """Write the page for this width."""
        rows = self._write(width)
        self._rows = len(rows)
        return rows

    def first_row(self, rows: int, room: int) -> int:
        """Return the row that was scrolled to."""
        self._room = room
        self._first = max(0, min(self._first, rows - room))
        return self._first

    def action_scroll(self, rows: int) -> None:
        """Move the page."""
        self._first += rows
        self.update()

    def action_turn(self, pages: int) -> None:
        """Move by whole pages, one row of which stays in view."""
        self.action_scroll(pages * max(1, self._room - 1))

    def on_mouse_scroll_down(self) -> None:
        """Scroll by the wheel."""
        self.action_scroll(2)

    def on_mouse_scroll_up(self) -> None:
        """Scroll by the wheel."""
        self.action_scroll(-2)

"""A list to choose from, with an optional filter typed above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events

from vlamon.charts.rows import Row, cut, fit
from vlamon.tui.dialogs.dialog import Dialog
from vlamon.tui.host import Host


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list."""

    key: str
    """What is returned when it is chosen."""
    row: Row
    """What is written."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """What a choice offers and does; the functions are asked again at every change."""

    title: str
    items: Callable[[str], Sequence[Item]]
    """Lines for a filter text; the text is empty where nothing can be typed."""
    hint: str = "Enter chooses, Esc cancels"
    typed: bool = False
    """Whether letters go into a filter."""
    above: Callable[[], Sequence[Row]] = tuple
    """Rows over the list."""
    below: Callable[[], Sequence[Row]] = tuple
    """Rows under the list."""
    on_highlight: Callable[[str], None] | None = None
    """Told of the line that the cursor is on: a preview."""
    on_tab: Callable[[str], None] | None = None
    """A second thing to do with a line, which leaves the list open."""
    on_enter: Callable[[str], bool] | None = None
    """Does the choosing where that leaves the list open; true when it did."""


class Choice(Dialog[str]):
    """Up, down, Enter, Esc; a click chooses."""

    BINDINGS = [  # noqa: RUF012
        ("down,ctrl+n", "move(1)", "down"),
        ("up,ctrl+p", "move(-1)", "up"),
        ("pagedown", "move(8)", "page down"),
        ("pageup", "move(-8)", "page up"),
        ("enter", "choose", "choose"),
        ("tab", "second", "second"),
    ]

    def __init__(self, host: Host, choosing: Choosing, at: str = "") -> None:
        super().__init__(host)
        self._choosing = choosing
        self._text = ""
        self._items = list(choosing.items(""))
        keys = [item.key for item in self._items]
        self._at = keys.index(at) if at in keys else 0
        self._before = self._first = 0

    @property
    def highlighted(self) -> str:
        """Return the key of the line that the cursor is on, empty where the list is."""
        return self._items[self._at].key if self._at < len(self._items) else ""

    def heading(self) -> tuple[Row, Row]:
        """Return title and hint."""
        return ((self._choosing.title, "title bold"),), ((self._choosing.hint, "muted"),)

    def body(self, width: int) -> Sequence[Row]:
        """Return the filter, the rows above, the list, the rows below."""
        chosen, self._items = self.highlighted, list(self._choosing.items(self._text))
        if self.highlighted != chosen and not self._choosing.typed:
            # A line came in above: keep to what is chosen.
            keys = [item.key for item in self._items]
            self._at = keys.index(chosen) if chosen in keys else self._at
        self._at = max(0, min(self._at, len(self._items) - 1))
        rows = list(self._choosing.above())
        if self._choosing.typed:
            rows.append(((" / ", "accent"), (self._text, "foreground"), ("▏", "accent")))
        self._before = len(rows)
        if not self._items:
            rows.append(((" nothing matches", "muted"),))
        for index, item in enumerate(self._items):
            row = fit(cut(item.row, width, self.glyphs.ellipsis), width)
            if index == self._at:
                row = (("".join(text for text, _ in row), "foreground chosen"),)
            rows.append(row)
        return [*rows, *self._choosing.below()]

    def first_row(self, rows: int, room: int) -> int:
        """Keep the chosen line in view."""
        at = self._before + self._at
        self._first = max(0, min(at - room + 2, rows - room))
        return self._first

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._at = max(0, min(len(self._items) - 1, self._at + by))
        self._highlight()

    def _highlight(self) -> None:
        if self._choosing.on_highlight is not None and self.highlighted:
            self._choosing.on_highlight(self.highlighted)
        self.update()

    def action_choose(self) -> None:
        """Take the line under the cursor."""
        if not self.highlighted:
            return
        if self._choosing.on_enter is not None and self._choosing.on_enter(self.highlighted):
            self.update()
            return
        self.dismiss(self.highlighted)

    def action_second(self) -> None:
        """Do the second thing with the line under the cursor."""
        if self._choosing.on_tab is not None and self.highlighted:
            self._choosing.on_tab(self.highlighted)
            self.update()

    def on_key(self, event: events.Key) -> None:
        """Type into the filter."""
        if not self._choosing.typed:
            return
        if event.key == "backspace":
            self._text = self._text[:-1]
        elif event.character is not None and event.character.isprintable():
            self._text += event.character
        else:
            return
        event.stop()
        event.prevent_default()
        self._at = 0
        self._highlight()

    def on_click(self, event: events.Click) -> None:
        """Choose a line by the mouse."""
        if not self.panel.region.contains(event.screen_x, event.screen_y):
            return
        index = event.screen_y - self.panel.region.y - 1 + self._first - self._before
        if 0 <= index < len(self._items):
            self._at = index
            self.action_choose()

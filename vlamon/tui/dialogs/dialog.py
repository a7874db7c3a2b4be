"""What all dialogs share: a framed panel over the dashboard that goes on living behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.screen import ModalScreen

from vlamon.charts.glyphs import Glyphs
from vlamon.charts.rows import Row, cut
from vlamon.tui.host import Host
from vlamon.tui.widgets.row_panel import RowPanel, framed

Result = TypeVar("Result")


class DialogPanel(RowPanel):
    """A panel whose rows its dialog sets."""

    DEFAULT_CSS = "DialogPanel { position: relative; }"
    ground = "panel"


class Dialog(ModalScreen[Result], Generic[Result]):
    """A framed panel in the middle; subclasses give title, rows and what keys do."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    """
    BINDINGS = [("escape", "close", "close")]  # noqa: RUF012

    tells_more = True
    """Whether the last row says how many more there are below; not where the frame says so."""
    WIDTH = 84
    """Columns wanted; a smaller terminal gives what it has."""

    class Opened(Message):
        """The dialog can take keys."""

        def __init__(self, dialog: Dialog[Any]) -> None:
            super().__init__()
            self.dialog = dialog

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.panel = DialogPanel("dialog", host.shell.rendering)
        self.ready = False
        """Whether keys reach what they are for: before, they are kept in `typed_ahead`."""
        self.typed_ahead: list[events.Key] = []
        self.takes_typed_ahead = True
        """Whether it gets them. A dialog that opens by itself does not: they were not for it."""

    def on_screen_resume(self) -> None:
        """Tell, behind Textual's own handler, which gives the focus, that keys can come."""
        if not self.ready:
            self.call_later(lambda: self.app.post_message(self.Opened(self)))

    def compose(self) -> ComposeResult:
        """The panel alone."""
        yield self.panel

    @property
    def glyphs(self) -> Glyphs:
        """The characters to draw with."""
        return self.host.shell.rendering.glyphs

    def heading(self) -> tuple[Row, Row]:
        """Return what stands left and right in the frame's first row."""
        return (), ()

    def body(self, width: int) -> Sequence[Row]:
        """Return all rows between the frame's edges."""
        raise NotImplementedError

    def first_row(self, rows: int, room: int) -> int:
        """Return the first row to show where not all fit."""
        return 0

    def update(self) -> None:
        """Size the panel and paint it."""
        if not self.is_mounted or self.size.width == 0:
            return
        width = min(self.WIDTH, self.size.width)
        body = [cut(row, width - 2, self.glyphs.ellipsis) for row in self.body(width - 2)]
        height = min(len(body) + 2, self.size.height)
        room = height - 2
        first = self.first_row(len(body), room)
        left, right = self.heading()
        shown = body[first : first + room]
        below = len(body) - first - room
        if below > 0 and self.tells_more and shown:
            shown[-1] = ((f" {self.glyphs.ellipsis} {below + 1} more", "muted"),)
        self._drawn = framed(left, right, shown, width, height, self.glyphs)
        self.panel.styles.width, self.panel.styles.height = width, height
        if self.panel.size == (width, height):
            self.panel.put(self._drawn)

    def on_mount(self) -> None:
        """Paint for the first time."""
        self.update()

    def on_resize(self) -> None:
        """Fit into the new size."""
        self.update()

    def on_row_panel_stale(self, message: RowPanel.Stale) -> None:
        """Paint the panel that has its size now."""
        message.panel.put(self._drawn)

    def repaint_all(self) -> None:
        """Paint again with another palette."""
        self.panel.repaint()

    def action_close(self) -> None:
        """Leave without a result."""
        self.dismiss(None)

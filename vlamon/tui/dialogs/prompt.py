"""One line to type: a note, or a setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.widgets import Input

from vlamon.charts.rows import Row
from vlamon.tui.dialogs.dialog import Dialog
from vlamon.tui.host import Host


class Prompt(Dialog[str]):
    """A title, a line of help, the input; Enter returns it when `check` has nothing against it.

    Where nothing can be sent it opens all the same and gives the `refusal`: what is typed after its
    key must not act as keys of the dashboard.
    """

    DEFAULT_CSS = """
    Prompt { align: center middle; }
    Prompt Input { width: 82; border: none; height: 1; padding: 0 1; offset: 1 -2; }
    Prompt Input:focus { border: none; }
    Prompt DialogPanel { height: 3; }
    """

    def __init__(
        self,
        host: Host,
        title: str,
        lines: Sequence[str],
        check: Callable[[str], str],
        *,
        refusal: str = "",
        does: str = "sends",
    ) -> None:
        super().__init__(host)
        self._title = title
        self._lines = lines
        self._check = check
        self._refusal = refusal
        self._does = does
        self._wrong = refusal

    def compose(self) -> ComposeResult:
        """The panel, and the input that is moved up into it."""
        yield self.panel
        yield Input(id="prompt")

    def heading(self) -> tuple[Row, Row]:
        """Return the title."""
        hint = "Esc closes" if self._refusal else f"Enter {self._does}, Esc cancels"
        return ((self._title, "title bold"),), ((hint, "muted"),)

    def body(self, width: int) -> Sequence[Row]:
        """Return the help, or what is wrong with the input."""
        rows: list[Row] = [((f" {line}", "muted"),) for line in self._lines]
        rows.append(((f" {self._wrong}", "explode"),))
        self.query_one(Input).styles.width = width
        return [*rows, ()]  # the input lies on the last row

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Return the text, or say what is wrong with it."""
        text = message.value.strip()
        self._wrong = self._refusal or self._check(text)
        if self._wrong:
            self.update()
        else:
            self.dismiss(text)

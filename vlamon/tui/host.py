"""What controllers and dialogs ask of their surroundings; a fake of a few lines tests each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from textual.screen import ModalScreen

    from vlamon.records import Record
    from vlamon.store import RunStore
    from vlamon.tui.notices import Notice
    from vlamon.tui.options import Options
    from vlamon.tui.rendering import Rendering
    from vlamon.tui.themes import ThemeSet

Result = TypeVar("Result")


class RunFeed(Protocol):
    """Where records come from and commands go to; `vlamon.sources.feed.Feed` is one."""

    store: RunStore
    named: str
    """How the user named the run: a path, a host; empty for one that was looked for."""
    on_change: Callable[[], None] | None
    on_records: Callable[[Sequence[Record]], None] | None

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while records are applied and while the store is read."""

    def start(self) -> None:
        """Begin to read."""

    def send(self, name: str, /, **args: Any) -> str:
        """Send a command; returns its id, raises an error with a sentence otherwise."""


class Shell(Protocol):
    """The application around the screen: terminal, clocks, themes."""

    feed: RunFeed
    """The run that is shown, or shown next."""
    feeds: Sequence[RunFeed]
    """All runs that are watched."""
    chosen: bool
    """Whether a person chose among them."""
    baseline: RunFeed | None
    """The run that lies under the charts of the others."""
    options: Options
    rendering: Rendering
    theme_set: ThemeSet

    @property
    def utc_offset(self) -> float:
        """The viewer's time zone in seconds east of UTC."""

    @property
    def folder(self) -> Path:
        """Where files are saved."""

    def hand_over(self, path: Path) -> None:
        """Return a saved file to the viewer, where that is not who owns the folder."""

    def clock(self) -> float:
        """The wall clock."""

    def monotonic(self) -> float:
        """A clock that never jumps."""

    def open_run(self, number: int) -> None:
        """Show another of the runs."""

    def lay_under(self, number: int) -> None:
        """Lay a run under the charts of the others, or take it away again."""

    def choose_theme(self, name: str) -> None:
        """Use a theme for now."""

    def keep_theme(self, name: str) -> str:
        """Use a theme and remember it; returns why it could not be remembered."""

    def alert(self, heading: str, text: str) -> None:
        """Call a person."""

    def set_terminal_title(self, text: str) -> None:
        """Write the window's title."""


class Host(Protocol):
    """The screen, as its controllers and dialogs see it."""

    shell: Shell
    feed: RunFeed
    """Where this screen's records come from and its commands go to."""
    store: RunStore
    data_lock: AbstractContextManager[Any]
    """The feed's lock, held while the store is read."""

    def say(self, notice: Notice) -> None:
        """Show a notice in the status line, now."""

    def repaint(self) -> None:
        """Bring everything on screen up to date, now."""

    def show(
        self,
        dialog: ModalScreen[Result],
        then: Callable[[Result | None], None] | None = None,
    ) -> None:
        """Open a dialog and pass on what it returns."""

    def later(self, call: Callable[[], None]) -> None:
        """Call when what runs now has ended."""

    def work(self, job: Callable[[Callable[[], bool]], Callable[[], None]], group: str) -> None:
        """Run a job on a thread, then what it returns on the screen's; the job is given a function
        that tells whether it was cancelled."""

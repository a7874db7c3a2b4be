"""The dashboard: one feed, one screen, the same for `watch`, `tail` and `replay`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from vlamon.key_bindings import keymap
from vlamon.tui import terminal
from vlamon.tui.options import Options
from vlamon.tui.rendering import Rendering
from vlamon.tui.screen import MainScreen
from vlamon.tui.textual_internals import DiffDisplay, keep_own_colours, write_to_terminal
from vlamon.tui.theme_memory import remember_theme, remembered_theme
from vlamon.tui.themes import (
    DARK,
    SIXTEEN,
    Palette,
    ThemeSet,
    load_themes,
    no_colours,
    sixteen_colours,
    textual_theme,
    true_colours,
)
from vlamon.tui.typed_ahead import TypedAhead

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from textual.command import Provider
    from textual.screen import Screen

    from vlamon.tui.host import RunFeed

LEAVE_BY = 2.0
"""Seconds that a signalled dashboard may take to leave before the process ends anyway."""

LOOK_FOR_TERMINAL = 2.0
"""Seconds between two looks at whether the terminal is still there."""


def _commands() -> type[Provider]:
    from vlamon.tui.command_palette import DashboardCommands

    return DashboardCommands


class Dashboard(TypedAhead, DiffDisplay, App[int]):
    """Draws a feed's store until its user leaves; returns the exit code."""

    TITLE = "vlamon"
    DEFAULT_MODE = "run-0"
    ENABLE_COMMAND_PALETTE = True
    CSS = ""
    COMMANDS = {_commands}  # noqa: RUF012

    def __init__(
        self,
        feed: RunFeed,
        options: Options | None = None,
        *,
        others: Sequence[RunFeed] = (),
        baseline: RunFeed | None = None,
        themes: ThemeSet | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.feed = feed
        self.feeds: Sequence[RunFeed] = (feed, *others, *([] if baseline is None else [baseline]))
        self.chosen = not others
        self.baseline = baseline
        self.options = options or Options()
        self.environ = os.environ if environ is None else environ
        self.theme_set = themes or load_themes()
        self.rendering = Rendering(
            self._palette(self._first_theme()),
            self.options.ascii or not _draws_unicode(self.environ),
        )
        # Asked early: a terminal that hung up is none.
        self._watches_input = os.isatty(0) or terminal.in_browser(self.environ)
        self._unmounted = threading.Event()
        self._last_title = ""
        self._handed_over: TemporaryDirectory[str] | None = None
        super().__init__()
        self.set_keymap(keymap(self.options.keys))
        for number, one in enumerate(self.feeds if len(self.feeds) > 1 else ()):
            self.add_mode(f"run-{number}", partial(MainScreen, self, one))
        keep_own_colours(self, self._colourless)
        for theme in self.theme_set.themes.values():
            self.register_theme(textual_theme(theme, self._colourless))
        self.theme = f"vlamon-{self.rendering.palette.theme.name}"

    @property
    def _colourless(self) -> bool:
        return no_colours(self.environ)

    def _palette(self, name: str) -> Palette:
        theme, true_colour = self.theme_set.themes[name], true_colours(self.environ)
        return Palette(theme, self._colourless, true_colour=true_colour)

    def _first_theme(self) -> str:
        """Choose the theme: the one asked for, else by what the terminal can show, else the one
        that was kept last."""
        themes = self.theme_set.themes
        if self.options.theme is not None and self.options.theme in themes:
            return self.options.theme
        if self._colourless or self.options.low_bandwidth or sixteen_colours(self.environ):
            return SIXTEEN
        kept = remembered_theme()
        return kept if kept in themes else DARK

    # Clocks, which tests freeze

    def clock(self) -> float:
        """Return the wall clock."""
        return time.time()

    def monotonic(self) -> float:
        """Return a clock that never jumps."""
        return time.monotonic()

    @property
    def utc_offset(self) -> float:
        """Return the viewer's time zone in seconds east of UTC."""
        return float(time.localtime(self.clock()).tm_gmtoff)

    # Files

    @property
    def folder(self) -> Path:
        """Return the working directory; a browser's viewer may write none of the server's files."""
        if not self.is_web:
            return Path.cwd()
        if self._handed_over is None:
            from tempfile import TemporaryDirectory

            self._handed_over = TemporaryDirectory(prefix="vlamon-", ignore_cleanup_errors=True)
        return Path(self._handed_over.name)

    def hand_over(self, path: Path) -> None:
        """Send a saved file to the browser of its viewer."""
        if self.is_web and path.exists():
            self.deliver_binary(path, save_filename=path.name)

    # Life

    def get_default_screen(self) -> Screen[Any]:
        """Return the main screen."""
        return MainScreen(self)

    def on_mount(self) -> None:
        """Start the feed once the screen can show it."""
        self._catch_signals()
        if self.options.title:
            self.to_terminal(terminal.SAVE_TITLE)
        for feed in self.feeds:
            feed.start()

    def open_run(self, number: int) -> None:
        """Show another of the runs that are watched; each keeps a screen of its own."""
        self.chosen = True
        feed = self.feeds[number]
        if feed is self.feed:
            return
        self.feed = feed
        self.switch_mode(f"run-{number}")

    def lay_under(self, number: int) -> None:
        """Lay a run under the charts of the others, or take it away again."""
        feed = self.feeds[number]
        self.baseline = None if feed is self.baseline else feed

    def on_ready(self) -> None:
        """Collect garbage again where the command had stopped that for the start: from now on, and
        never again among all that the start has made."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def on_unmount(self) -> None:
        """Give the terminal's title back and clear what tmux would otherwise leave behind."""
        self._unmounted.set()
        self.to_terminal(terminal.CLEAR)
        if self.options.title:
            self.to_terminal(terminal.RESTORE_TITLE)

    def choose_theme(self, name: str) -> None:
        """Change the theme, at once and everywhere."""
        theme = self.theme_set.themes.get(name)
        if theme is None:
            return
        self.rendering.palette = self._palette(name)
        self.theme = f"vlamon-{name}"
        for screen in self.screen_stack:
            repaint = getattr(screen, "repaint_all", None)
            if repaint is not None:
                repaint()

    def keep_theme(self, name: str) -> str:
        """Change the theme and remember it for the next start; gives what kept it from that.

        A browser's viewer may be somebody else than who starts the next one.
        """
        self.choose_theme(name)
        return "" if self.is_web else remember_theme(name)

    # The terminal

    def to_terminal(self, sequence: str) -> None:
        """Write a control sequence past the screen; nothing where there is no terminal."""
        write_to_terminal(self, sequence)

    def set_terminal_title(self, text: str) -> None:
        """Write the window's title where it changed."""
        if self.options.title and text != self._last_title:
            self._last_title = text
            self.to_terminal(terminal.title(text))

    def alert(self, heading: str, text: str) -> None:
        """Call a person: notification and bell, as the options say."""
        if self.options.notify:
            self.to_terminal(terminal.notification(heading, text, self.environ))
        if self.options.bell:
            self.bell()

    def _catch_signals(self) -> None:
        """Leave in order when the shell hangs up or the scheduler ends us, so that the terminal is
        sane afterwards; a terminal that is gone must not keep the process."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self._leave_on, number)
        if self._watches_input and not self.is_headless:
            watch = partial(self._leave_without_terminal, loop)
            threading.Thread(target=watch, name="terminal", daemon=True).start()

    def _leave_without_terminal(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave a terminal that hung up without a signal, as one does that controls no session:
        reading from it returns at once, for ever, at the cost of a core.

        On a thread: what writes to such a terminal ends at the first frame, and the event loop
        then waits for room in its queue and looks at nothing any more."""
        while not self._unmounted.wait(LOOK_FOR_TERMINAL):
            if terminal.hung_up(0):
                _end_by(LEAVE_BY, 128 + signal.SIGHUP)
                with contextlib.suppress(RuntimeError):  # the loop is closed: the end is near
                    loop.call_soon_threadsafe(self._leave_on, signal.SIGHUP)
                return

    def _leave_on(self, number: int) -> None:
        code = 128 + number
        _end_by(LEAVE_BY, code)
        self.exit(code, return_code=code)


def _end_by(seconds: float, code: int) -> None:
    """End the process after a while if it has not ended by itself."""
    watchdog = threading.Timer(seconds, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()


def _draws_unicode(environ: Mapping[str, str]) -> bool:
    """Say whether the terminal has the signs of the charts: the font of the Linux console has 512
    characters, and no Braille among them."""
    return environ.get("TERM") != "linux" and _utf8(environ)


def _utf8(environ: Mapping[str, str]) -> bool:
    """Say whether the locale allows UTF-8: only one that names another character set does not
    (`LANG=C` is what containers and cron leave behind, under terminals that know UTF-8 well)."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environ.get(name, "").lower()
        if value:
            return "." not in value or "utf" in value
    return True

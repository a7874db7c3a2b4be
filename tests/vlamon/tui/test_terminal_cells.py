"""In a real terminal: writing differences alone leaves nothing behind and loses nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench._terminal import Terminal

ROOT = str(Path(__file__).resolve().parents[3])
PATIENCE = 90.0
LINES = "\n".join(
    f'{{"train_closs": {14 - epoch / 20}, "train_loss_ct": {0.5 - epoch / 900}, "epoch": {epoch}}}'
    for epoch in range(100)
)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    log = tmp_path / "log_train.txt"
    log.write_text(LINES + "\n")
    command = (sys.executable, "-c", "from vlamon.cli import main; main()", "tail", str(log))
    found = Terminal(command, columns=110, rows=36, environ={"PYTHONPATH": ROOT})
    wait_until(found, found.has_curve)
    # The rules of the diagnosis look at the run on a thread of their own.
    wait_until(found, lambda: not found.shows("have not looked yet"))
    settle(found)
    yield found
    found.close()


def settle(terminal: Terminal) -> None:
    """Read until the screen rests."""
    for _ in range(40):
        before = terminal.bytes
        terminal.pump(0.5)
        if terminal.bytes == before:
            return


def wait_until(terminal: Terminal, holds: Callable[[], bool]) -> None:
    """Read until a condition holds: a key takes a loaded machine longer than it rests."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "\n".join(terminal.lines())
        terminal.pump(0.1)


def body(terminal: Terminal) -> list[str]:
    """The charts: the status line has a clock, and diagnoses come when they are ready."""
    return terminal.lines()[1:22]


def test_dialogs_leave_nothing_behind(terminal: Terminal) -> None:
    before = body(terminal)
    for key in ("?", "/", "t"):
        terminal.press(key)
        wait_until(terminal, lambda: body(terminal) != before)
        settle(terminal)
        terminal.press("\x1b")
        wait_until(terminal, lambda: body(terminal) == before)


def test_zooming_there_and_back_gives_the_same_screen(terminal: Terminal) -> None:
    before = body(terminal)
    for key in ("z", "z", "l", "l"):
        shown = body(terminal)
        terminal.press(key)
        wait_until(terminal, lambda shown=shown: body(terminal) != shown)
        settle(terminal)
    terminal.press("0")
    wait_until(terminal, lambda: body(terminal) == before)


@pytest.mark.parametrize("term", ["xterm", "xterm-256color"])
def test_no_color_leaves_the_terminals_own_colours(tmp_path: Path, term: str) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text(LINES + "\n")
    command = (sys.executable, "-c", "from vlamon.cli import main; main()", "tail", str(log))
    environ = {"PYTHONPATH": ROOT, "NO_COLOR": "1", "TERM": term, "COLORTERM": ""}
    terminal = Terminal(command, columns=110, rows=36, environ=environ)
    try:
        wait_until(terminal, terminal.has_curve)
        terminal.press("t")
        wait_until(terminal, lambda: terminal.shows("Enter keeps"))
        assert terminal.colours() == {("default", "default")}
        chosen = next(y for y, line in enumerate(terminal.lines()) if "│ sixteen" in line)
        wait_until(terminal, lambda: terminal.reversed_at(chosen))
    finally:
        terminal.close()

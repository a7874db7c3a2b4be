"""In a real terminal: writing differences alone leaves nothing behind and loses nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench._terminal import Terminal

ROOT = str(Path(__file__).resolve().parents[3])
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
    assert found.pump(60, found.has_curve)
    # The rules of the diagnosis look at the run on a thread of their own.
    found.pump(60, lambda: not found.shows("have not looked yet"))
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


def body(terminal: Terminal) -> list[str]:
    """The charts: the status line has a clock, and diagnoses come when they are ready."""
    return terminal.lines()[1:22]


def test_dialogs_leave_nothing_behind(terminal: Terminal) -> None:
    before = body(terminal)
    for key in ("?", "/", "t"):
        terminal.press(key)
        settle(terminal)
        assert body(terminal) != before
        terminal.press("\x1b")
        settle(terminal)
        assert body(terminal) == before


def test_zooming_there_and_back_gives_the_same_screen(terminal: Terminal) -> None:
    before = body(terminal)
    for key in ("z", "z", "l", "l", "0"):
        terminal.press(key)
        settle(terminal)
    assert body(terminal) == before

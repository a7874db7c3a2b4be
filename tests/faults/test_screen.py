"""The screen in real terminals: what a person has left after kills, hang-ups and dropped lines."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench._terminal import ENVIRON, Terminal
from tests.faults import sshd
from tests.faults.processes import PATIENCE, wait_for
from tests.faults.sshd import ROOT, remote_vlamon

LEAVES = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?2004l")
"""Alternate screen off, cursor shown, mouse and bracketed paste off."""


class Recorded(Terminal):
    """A terminal that remembers every byte."""

    def __init__(self, command: list[str], **given: int) -> None:
        super().__init__(command, environ={"PYTHONPATH": str(ROOT)}, **given)  # type: ignore[arg-type]
        self.raw = b""
        feed = self._stream.feed

        def remember(data: bytes) -> None:
            self.raw += data
            feed(data)

        self._stream.feed = remember  # type: ignore[method-assign]

    def wait_for(self, text: str) -> None:
        """Read until a text is on screen."""
        self.wait_until(lambda: self.shows(text), repr(text))

    def wait_for_curve(self) -> None:
        """Read until something is drawn: the words are there before the first batch came."""
        self.wait_until(self.has_curve, "a curve")

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Read until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"never came: {what}\n" + "\n".join(self.lines())
            self.pump(0.1)

    def rests(self, seconds: float) -> bool:
        """Whether nothing at all is written for so long."""
        before = self.bytes
        self.pump(seconds)
        return self.bytes == before


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    path = str(tmp_path / "vla.sock")
    command = [sys.executable, "-m", "tests.faults.training", str(tmp_path / "out")]
    command += ["--socket", path, "--steps", "100000", "--sleep", "0.05"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield path, process
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def shell(path: str, columns: int = 120) -> Iterator[Recorded]:
    """A shell that runs the dashboard, then says what the terminal is like."""
    watch = f"{sys.executable} -m vlamon watch --socket {path}"
    script = f"before=$(stty -g); {watch}; code=$?; after=$(stty -g); "
    script += '[ "$before" = "$after" ] && echo SAME; echo code $code; read line; echo got $line'
    terminal = Recorded(["sh", "-c", script], columns=columns, rows=40)
    try:
        yield terminal
    finally:
        terminal.close()


def child_of(pid: int) -> int:
    """The one process that `pid` has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])


def assert_sane(terminal: Recorded, code: int) -> None:
    terminal.wait_for(f"code {code}")
    assert terminal.shows("SAME"), "the terminal's modes are not what they were"
    for leave in LEAVES:
        assert leave in terminal.raw, leave
    assert b"Traceback" not in terminal.raw
    terminal.press("hello\r")
    terminal.wait_for("got hello")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_leaves_the_terminal_as_it_was(
    training: tuple[str, subprocess.Popen[bytes]], number: int, code: int
) -> None:
    with shell(training[0]) as terminal:
        terminal.wait_for_curve()
        os.kill(child_of(terminal.pid), number)
        assert_sane(terminal, code)


def test_a_killed_trainer_leaves_the_last_data_and_q_a_sane_terminal(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    path, process = training
    with shell(path) as terminal:
        terminal.wait_for_curve()
        process.kill()
        terminal.wait_for("reconnecting")
        assert terminal.has_curve()
        terminal.press("q")
        assert_sane(terminal, 0)


def test_a_terminal_that_goes_away_takes_the_dashboard_with_it(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    command = [sys.executable, "-m", "vlamon", "watch", "--socket", training[0]]
    terminal = Recorded(command, columns=120, rows=40)
    terminal.wait_for_curve()
    os.close(terminal.fd)
    wait_for(lambda: os.waitpid(terminal.pid, os.WNOHANG)[0], "the dashboard's end")
    assert training[1].poll() is None


def test_a_terminal_that_goes_away_without_a_signal_takes_it_too(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    master, slave = os.openpty()
    # A session of its own, which the terminal does not control: no SIGHUP is sent.
    dashboard = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "watch", "--socket", training[0]],
        cwd=ROOT,
        env={**os.environ, **ENVIRON},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        drawn = b""
        while b"\x1b[?1049h" not in drawn:
            drawn += os.read(master, 1 << 16)
        os.close(master)
        assert dashboard.wait(PATIENCE) == 129
    finally:
        dashboard.kill()
        dashboard.wait(10)


def test_an_idle_screen_writes_nothing(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    path, process = training
    with shell(path) as terminal:
        terminal.wait_for_curve()
        process.kill()
        terminal.wait_for("reconnecting")
        # What is still to be said first (the rules look at the run on a thread of their own) may
        # take a while; a clock that moved would leave no four seconds free.
        terminal.wait_until(lambda: terminal.rests(4.0), "four seconds without a byte")


def vlamons(path: str) -> list[int]:
    """Processes that watch a socket."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if path.encode() in words and b"watch" in words:
                found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "sshd runs here")
def test_over_ssh_it_looks_right_and_a_dropped_line_ends_it(
    training: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    path = training[0]
    with sshd.running(tmp_path) as ssh:
        command = f"LANG=C.UTF-8 && export LANG && {remote_vlamon()} watch --socket {path}"
        terminal = Recorded([*ssh.command("-tt"), ssh.host, command], columns=120, rows=40)
        terminal.wait_for_curve()
        # OpenSSH carries TERM and not COLORTERM: 256 colours, and no others.
        assert re.search(rb"\x1b\[[0-9;]*38;5;", terminal.raw)
        assert not re.search(rb"\x1b\[[0-9;]*38;2;", terminal.raw)
        assert vlamons(path)
        os.kill(terminal.pid, signal.SIGKILL)
        os.waitpid(terminal.pid, 0)
        wait_for(lambda: not vlamons(path), "the far dashboard's end")
        os.close(terminal.fd)
    assert training[1].poll() is None


def tmux(socket: str, *words: str) -> str:
    done = subprocess.run(
        ["tmux", "-L", socket, "-f", "/dev/null", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )
    return done.stdout


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_in_tmux_it_follows_the_size_and_gives_the_pane_back(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    name = f"vlamon-test-{os.getpid()}"
    watch = f"{sys.executable} -m vlamon watch --socket {training[0]}"
    tmux(name, "new-session", "-d", "-x", "80", "-y", "24", f"sh -c '{watch}; echo GONE; sleep 99'")
    try:

        def pane() -> str:
            return tmux(name, "capture-pane", "-p")

        def width() -> int:
            """Of the first chart's frame."""
            return max((len(line.rstrip()) for line in pane().splitlines()[1:2]), default=0)

        wait_for(lambda: "╭ closs" in pane() and width() == 80, "the dashboard")
        assert "l1_loss_action" not in pane()
        tmux(name, "resize-window", "-x", "160", "-y", "45")
        wait_for(lambda: width() == 160, "the new size")
        wait_for(lambda: "l1_loss_action" in pane(), "the second chart")
        tmux(name, "send-keys", "?")
        wait_for(lambda: "Find metrics; pin" in pane(), "the help page")
        tmux(name, "send-keys", "Escape")
        wait_for(lambda: "Find metrics; pin" not in pane(), "the help page's end")
        title = ("display-message", "-p", "#{pane_title}")
        wait_for(lambda: "fault" in tmux(name, *title), "the title")
        tmux(name, "send-keys", "q")
        wait_for(lambda: "GONE" in pane(), "the shell")
        assert "closs" not in pane()
        assert tmux(name, "display-message", "-p", "#{alternate_on}").strip() == "0"
        assert tmux(name, "display-message", "-p", "#{mouse_any_flag}").strip() == "0"
    finally:
        tmux(name, "kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_in_tmux_it_survives_resizes_while_batches_come_in(
    training: tuple[str, subprocess.Popen[bytes]],
) -> None:
    name = f"vlamon-resize-{os.getpid()}"
    watch = f"{sys.executable} -m vlamon watch --socket {training[0]}"
    tmux(
        name, "new-session", "-d", "-x", "120", "-y", "40", f"sh -c '{watch}; echo GONE; sleep 99'"
    )
    try:
        wait_for(lambda: "╭ closs" in tmux(name, "capture-pane", "-p"), "the dashboard")
        for size in 12 * [("80", "24"), ("120", "40")]:
            tmux(name, "resize-window", "-x", size[0], "-y", size[1])
            time.sleep(0.15)
            assert "GONE" not in tmux(name, "capture-pane", "-p")
        wait_for(
            lambda: all(
                len(line) in (0, 120)  # the first chart's rows, whole again
                for line in map(str.rstrip, tmux(name, "capture-pane", "-p").splitlines()[1:5])
            ),
            "a whole screen",
        )
    finally:
        tmux(name, "kill-server")

"""A program in a pseudo-terminal, and what a person would see there and pay for it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

_CLEARS = re.compile(rb"\x1b\[[0-3]?J|\x1b\[[0-2]?K")
TICKS = os.sysconf("SC_CLK_TCK")
ENVIRON = {
    "TERM": "xterm-256color",
    "COLORTERM": "truecolor",
    "LANG": "C.UTF-8",
    "PATH": os.environ.get("PATH", ""),
    "HOME": os.environ.get("HOME", "/tmp"),
    "OMP_NUM_THREADS": "1",
}


class Terminal:
    """Runs a command in a pty; `pump` reads what it writes and keeps a screen of it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 160,
        rows: int = 45,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.started = time.monotonic()
        self.bytes = 0
        self.clears = 0
        """Erasures of the screen, seen so far: what flicker is made of."""
        self.last_read = self.started
        self.columns, self.rows = columns, rows
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.keep_screen = True
        """Whether output is interpreted; without, only bytes are counted."""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(command[0], list(command), {**ENVIRON, **(environ or {})})
            finally:
                os._exit(127)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)

    def pump(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Read for a while; True as soon as `until` holds after something was read."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self.fd], [], [], left)
            if not ready:
                return False
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                return False
            self.last_read = time.monotonic()
            self.bytes += len(data)
            self.clears += len(_CLEARS.findall(data))
            if self.keep_screen:
                self._stream.feed(data)
            if until is not None and until():
                return True

    def pump_for(self, seconds: float) -> None:
        """Read for exactly so long, however often the program is silent."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(left)

    def lines(self) -> list[str]:
        """What the screen shows."""
        return list(self._screen.display)

    def cell(self, x: int, y: int) -> pyte.screens.Char:
        """One cell with its colours."""
        return self._screen.buffer[y][x]

    def line(self, y: int) -> str:
        """One line of it; much cheaper than all."""
        cells = self._screen.buffer[y]
        return "".join(cells[x].data for x in range(self._screen.columns))

    def shows(self, text: str) -> bool:
        """Whether a text stands anywhere on the screen."""
        return any(text in line for line in self._screen.display)

    def colours(self) -> set[tuple[str, str]]:
        """Every pair of colours, written and behind it, of the cells that are not blank."""
        cells = (self._screen.buffer[y][x] for y in range(self.rows) for x in range(self.columns))
        return {(cell.fg, cell.bg) for cell in cells if cell.data.strip()}

    def reversed_at(self, y: int) -> bool:
        """Whether a line has reversed cells."""
        return any(self._screen.buffer[y][x].reverse for x in range(self.columns))

    def has_curve(self) -> bool:
        """Whether any Braille dot is on the screen."""
        return any("⠀" < char <= "⣿" for y in range(self.rows) for char in self.line(y))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def cpu_seconds(self) -> float:
        """Processor time of the program and its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> tuple[float, float]:
        """Resident and peak memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        resident, peak = (int(values[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return resident, peak

    def close(self) -> None:
        """End the program."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                break
            for _ in range(40):
                self.pump(0.05)
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    os.close(self.fd)
                    return
        os.close(self.fd)

"""Log files that outlive a full, read-only or frozen disk.

A thread writes them, so a disk that hangs does not hold up the training. A line that cannot be
written waits and is tried again; what goes wrong is counted and said, and ends nothing.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

KEPT = 10_000
"""Lines of a file that wait; beyond that the oldest is given up."""
RETRY_SECONDS = 5.0
"""Pause between two attempts, where no new line comes in between."""
CLOSE_SECONDS = 10.0
"""How long the end of a training waits for its logs."""


@dataclass(slots=True)
class _File:
    lines: deque[str] = field(default_factory=deque)
    """Lines that are not written yet."""
    late: int = 0
    """Lines that wait for the disk in an outage; 0 without one."""
    lost: int = 0
    """Lines that were given up."""

    def keep_newest(self) -> None:
        """Give up the oldest lines beyond KEPT."""
        while len(self.lines) > KEPT:
            self.lines.popleft()
            self.lost += 1


class LogFiles:
    """Appends whole lines to any number of files, as soon as the disk takes them."""

    def __init__(self, retry_seconds: float = RETRY_SECONDS) -> None:
        self.news: deque[str] = deque()
        """Sentences about files that failed or recovered, for a caller to take and show."""
        self.failures = 0
        """Attempts at writing that failed."""
        self._retry = retry_seconds
        self._files: dict[Path, _File] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def append(self, path: Path, line: str) -> None:
        """Hand a line over; returns at once."""
        with self._changed:
            file = self._files.setdefault(path, _File())
            file.lines.append(line)
            file.keep_newest()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write what waits, for so long; what is then left is given up with a sentence."""
        with self._changed:
            thread, self._thread, self._closing = self._thread, None, True
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                self.news.append(f"the logs are not complete: the disk hangs for {timeout:g} s")
        with self._changed:
            for path, file in self._files.items():
                if file.lines:
                    self.news.append(f"{len(file.lines)} lines of {path} could not be written")
            self._closing = False

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._closing and not any(f.lines for f in self._files.values()):
                    self._changed.wait()
                closing = self._closing
                due = [path for path, file in self._files.items() if file.lines]
            failed = [path for path in due if not self._write(path)]
            if closing:
                return
            if failed:
                with self._changed:
                    self._changed.wait(self._retry)

    def _write(self, path: Path) -> bool:
        with self._changed:
            file = self._files[path]
            lines = list(file.lines)
            file.lines.clear()
        try:
            append_or_nothing(path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            self.failures += 1
            if not file.late:
                why = error.strerror or str(error)
                self.news.append(f"{path} cannot be written ({why}); its lines wait for the disk")
            with self._changed:
                file.lines.extendleft(reversed(lines))
                file.keep_newest()
                file.late = len(file.lines)
            return False
        if file.late:
            gone = f", {file.lost} were given up" if file.lost else ""
            self.news.append(f"{path} is written again; {len(lines)} lines had waited{gone}")
        file.late = file.lost = 0
        return True


def append_or_nothing(path: Path, data: bytes) -> None:
    """Append all of the bytes or, where the disk allows it, none: half a line spoils the next."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        try:
            while data:
                data = data[os.write(handle, data) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)

"""Writes what the guard did and why to `guard.jsonl`, a JSON line each, and the samples it blames.

Written by a thread of its own: a disk that freezes, or an unread pipe behind stderr, must
not hold the training up. What the thread cannot take is counted and said.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

WAITING = 10_000
"""Lines that may wait for a stuck disk."""
GIVE_UP_AFTER = 5.0
"""Seconds that the end of a training waits for a thread that gets nothing done."""


class Audit:
    """Appends to the audit files of a run directory; a full disk costs lines, not the training."""

    def __init__(self, run_dir: Path | None) -> None:
        self.run_dir = run_dir
        self._thread = BackgroundWriter()

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._thread.lost

    @property
    def failure(self) -> str:
        """Why a line could not be written; empty as long as all were."""
        return self._thread.failure

    def write(self, kind: str, step: int, attempt: int, **data: Any) -> None:
        """One decision, command or finding."""
        line = {"time": time.time(), "kind": kind, "step": step, "attempt": attempt, **data}
        self._append("guard.jsonl", [line])

    def blame(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Samples that broke a batch, for the person who filters the data set."""
        self._append("bad_batches.jsonl", samples)

    def say(self, line: str) -> None:
        """A line on stderr, where the job's own output goes."""
        self._thread.do(lambda: _to_stderr(line))

    def close(self) -> None:
        """Wait until all is written, but not for a disk that takes nothing."""
        self._thread.drain()

    def _append(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        if self.run_dir is None:
            return
        text = "".join(json.dumps(finite(line)) + "\n" for line in lines)
        path = self.run_dir / name
        if text:
            self._thread.do(lambda: _to_file(path, text))


class BackgroundWriter:
    """Does small writes in their order, beside the training; a daemon, begun with the first one."""

    def __init__(self) -> None:
        self.lost = 0
        """Writes that failed or found no room."""
        self.failure = ""
        """Why the first of them did."""
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._owner = 0
        self._done = 0

    def do(self, write: Callable[[], None]) -> None:
        """Do this soon."""
        if self._owner != os.getpid() and not self._begin():
            return
        with self._wake:
            if len(self._waiting) >= WAITING:
                self._lose(f"{WAITING} lines wait for the disk already")
                return
            self._waiting.append(write)
            self._wake.notify()

    def drain(self) -> None:
        """Wait until all is done, as long as something gets done."""
        if self._thread is None or self._owner != os.getpid():
            return
        seen, since = self._done, time.monotonic()
        while self._waiting and self._thread.is_alive():
            time.sleep(0.002)
            if self._done != seen:
                seen, since = self._done, time.monotonic()
            elif time.monotonic() - since > GIVE_UP_AFTER:
                return

    def _begin(self) -> bool:
        """In a forked child everything is made again: the thread is gone, and may hold the lock.

        False where there is no memory for a thread, or there are too many: the next write tries.
        """
        self._wake = threading.Condition()
        self._waiting = deque()
        self._thread = threading.Thread(target=self._run, name="vlamon-audit", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            self._lose(str(error))
            return False
        self._owner = os.getpid()
        atexit.register(self.drain)
        return True

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting)
                write = self._waiting[0]
            try:
                write()
            except (OSError, ValueError) as error:  # ValueError: stderr is closed
                self._lose(str(error))
            with self._wake:
                self._waiting.popleft()
                self._done += 1

    def _lose(self, why: str) -> None:
        self.lost += 1
        self.failure = self.failure or why


def _to_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def _to_stderr(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


def finite(value: Any) -> Any:
    """The value as JSON proper: non-finite numbers as words, unknown objects as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)

"""Trainings and monitors as real processes, started and ended by the fault tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 90.0
"""Seconds for what comes at once where nothing is broken, however loaded the machine."""


class Training:
    """`tests.faults.training` in a process of its own."""

    def __init__(self, out: Path, *args: object) -> None:
        self.out = out
        command = [sys.executable, "-m", "tests.faults.training", str(out), *map(str, args)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def go_on(self) -> None:
        """Let a training go that holds at a step."""
        self.out.with_suffix(".go").touch()

    def digest(self) -> str:
        """Wait for the end and return what the training computed."""
        _, complaint = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, complaint
        return self.out.read_text()


class Monitor:
    """A `vlamon` command whose JSON lines are read as they come."""

    def __init__(self, *command: str, prefix: tuple[str, ...] = (), env: Any = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*(prefix or (sys.executable, "-m", "vlamon")), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.lines.append(json.loads(line))

    def steps(self) -> list[tuple[int, int]]:
        """Attempt and step of every batch so far."""
        batches = [line for line in self.lines if line.get("kind") == "batch"]
        return [(line["attempt"], line["step"]) for line in batches]

    def kinds(self) -> list[str]:
        """Kinds of all lines so far."""
        return [line.get("kind", "") for line in self.lines]

    def ended(self) -> int:
        """Wait for the end by itself and return the exit code."""
        code = self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        return code

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, 9)
        self.process.wait()


@contextlib.contextmanager
def monitor(*command: str, **kwargs: Any) -> Iterator[Monitor]:
    """A monitor that is gone afterwards."""
    made = Monitor(*command, **kwargs)
    try:
        yield made
    finally:
        made.close()


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Until the condition holds; fails after a long while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)

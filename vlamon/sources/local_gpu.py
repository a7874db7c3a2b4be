"""Accelerators and the training process beside a log that a process of this machine writes.

A log on a shared file system tells nothing of the machine it comes from, and this machine's GPUs
nothing of that run. So samples are taken only while some process here has the log open for
writing; that process (behind a `tee`, the largest of its process group) is the one shown.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlamon.gpu import PERIOD, Driver, ProcessMeter
from vlamon.hardware import GpuSample
from vlamon.protocol.commands import Command
from vlamon.records import Record
from vlamon.sources import Source

_LOOK_AGAIN = 5.0
"""Seconds between two searches for a writer."""
_COPIERS = ("tee", "cat", "ts", "logger")
"""Programs that write a log on behalf of another one."""


class LocalGpu:
    """A log's source with this machine's samples in between."""

    def __init__(self, source: Source, paths: Sequence[str]) -> None:
        self._source = source
        self._paths = [path for path in paths if path != "-"]
        self._samples: list[GpuSample] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vlamon-local-gpu", daemon=True)
        self._started = False

    @property
    def finished(self) -> bool:
        """True when the log is."""
        return self._source.finished

    def read(self, timeout: float) -> Sequence[Record]:
        """What the log says, and the samples since the last call."""
        if not self._started:
            self._started = True
            self._thread.start()
        records = list(self._source.read(timeout))
        with self._lock:
            records += self._samples
            self._samples.clear()
        return records

    def send(self, command: Command) -> None:
        """Pass a command to the log, which refuses it."""
        self._source.send(command)

    def close(self) -> None:
        """Stop sampling and close the log."""
        self._stopping.set()
        self._source.close()

    def _run(self) -> None:
        driver: Driver | None = None
        meter: ProcessMeter | None = None
        pid: int | None = None
        looked = -_LOOK_AGAIN
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - looked >= _LOOK_AGAIN:
                looked = now
                found = writer_of(self._paths)
                if found != pid:
                    pid, meter = found, None if found is None else ProcessMeter(found)
            if meter is not None:
                driver = driver or Driver()
                sample = GpuSample(time.time(), driver.sample(), meter.sample())
                with self._lock:
                    self._samples = [*self._samples[-60:], sample]
            self._stopping.wait(PERIOD)


def writer_of(paths: Iterable[str]) -> int | None:
    """The process of this machine that writes one of these files, None where there is none."""
    wanted = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    for entry in Path("/proc").iterdir() if wanted else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _writes(entry, wanted):
            return _principal(int(entry.name))
    return None


def _writes(process: Path, wanted: set[tuple[int, int]]) -> bool:
    try:
        for descriptor in (process / "fd").iterdir():
            status = descriptor.stat()
            if (status.st_dev, status.st_ino) in wanted:
                flags = (process / "fdinfo" / descriptor.name).read_text()
                mode = next(line for line in flags.splitlines() if line.startswith("flags:"))
                if int(mode.split()[1], 8) & (os.O_WRONLY | os.O_RDWR):
                    return True
    except (OSError, StopIteration):  # gone meanwhile, or another user's
        return False
    return False


def _principal(pid: int) -> int:
    """The process itself, or the largest of its group where it only copies."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() not in _COPIERS:
            return pid
        group = os.getpgid(pid)
    except OSError:
        return pid
    best, most = pid, 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getpgid(int(entry.name)) == group:
                pages = int((entry / "statm").read_text().split()[1])
                if pages > most:
                    best, most = int(entry.name), pages
        except (OSError, ValueError, IndexError):
            continue
    return best

"""What a rank reports of itself, gathered from its own rows and phases."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from vlamon.detect.ranks import NAMES, Report

STEPS = 20
"""Steps over which times are averaged."""
LONGEST = 2000
"""Bytes of a report that are read."""


class RankTally:
    """Fed by the thread that takes rows, read by the one that reports."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: deque[float] = deque(maxlen=STEPS + 1)
        self._spent: dict[str, deque[float]] = {
            phase: deque(maxlen=STEPS) for phase in ("data", "forward")
        }
        self._running = dict.fromkeys(self._spent, 0.0)
        """Seconds in each phase since the last row."""
        self._phase: tuple[str, float] = ("", 0.0)
        self._step: int | None = None
        self._values: dict[str, float] = {}
        self._broken: tuple[int, str] | None = None
        self._count = 0

    def row(self, when: float, step: int, metrics: Mapping[str, float]) -> None:
        """A batch was logged at `when`."""
        with self._lock:
            self._leave_phase(when)
            self._rows.append(when)
            for phase, spent in self._spent.items():
                spent.append(self._running[phase])
                self._running[phase] = 0.0
            self._step = step
            self._values = {name: metrics[name] for name in NAMES if name in metrics}
            if self._broken is None:
                bad = (name for name, value in metrics.items() if not math.isfinite(value))
                self._broken = next(((step, name) for name in bad), None)

    def phase(self, when: float, phase: str) -> None:
        """Another phase of the step begins at `when`."""
        with self._lock:
            self._leave_phase(when)
            self._phase = (phase, when)

    def _leave_phase(self, when: float) -> None:
        phase, since = self._phase
        if phase in self._running:
            self._running[phase] += max(0.0, when - since)
        self._phase = (phase, when)

    def report(self, ended: str = "") -> Report:
        """The newest report."""
        with self._lock:
            self._count += 1
            values = dict(self._values)
            if len(self._rows) > 1:
                seconds = (self._rows[-1] - self._rows[0]) / (len(self._rows) - 1)
                values["step_time"] = seconds
            means = {
                phase: sum(spent) / len(spent) for phase, spent in self._spent.items() if sum(spent)
            }
            if "data" in means:
                values["data_wait"] = means["data"]
            return Report(
                self._count, self._step, values, means.get("forward"), self._broken,
                socket.gethostname(), os.getpid(), ended,
            )  # fmt: skip


def pack(report: Report) -> bytes:
    """A report as it lies in the store: under 300 bytes."""
    values = {name: f"{value:.7g}" for name, value in report.values.items()}
    forward = None if report.forward is None else f"{report.forward:.7g}"
    packed = [
        report.count, report.step, values, forward, report.broken, report.host[:60], report.pid,
        report.ended[:200],
    ]  # fmt: skip
    return json.dumps(packed, separators=(",", ":")).encode()


def unpack(data: bytes) -> Report | None:
    """The report that `pack` made; None for anything else."""
    if not data or len(data) > LONGEST:
        return None
    try:
        count, step, values, forward, broken, host, pid, ended = json.loads(data)
        return Report(
            int(count),
            None if step is None else int(step),
            {name: float(values[name]) for name in NAMES if name in values},
            None if forward is None else float(forward),
            None if broken is None else (int(broken[0]), str(broken[1])),
            str(host),
            int(pid),
            str(ended),
        )
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        return None


def known(packed: Mapping[int, Any]) -> dict[int, Report]:
    """The ranks that have reported."""
    reports = {rank: unpack(bytes(data)) for rank, data in packed.items()}
    return {rank: report for rank, report in reports.items() if report is not None}

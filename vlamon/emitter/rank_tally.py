"""Gathers a rank's report from its own rows and phases."""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from vlamon.detect.ranks import GPU_NAMES, NAMES, RankReport
from vlamon.hardware import SLOWDOWNS, Device

STEPS = 20
"""Steps over which times are averaged."""
LONGEST = 2000
"""Bytes of a report that are read."""
_VERSION = 1
_HEAD = struct.Struct("<BHIq")
"""Version, which numbers follow (those of NAMES, and the forward time), count, step."""
_LARGEST = 3.4028234e38
_MOST = 2**63 - 1
_NO_STEP = -(2**63)


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
        self._gpu: dict[str, float] = {}
        self._throttle = ""

    def row(self, when: float, step: int, metrics: Mapping[str, float]) -> None:
        """Count a batch that was logged at `when`."""
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
        """Begin another phase of the step at `when`."""
        with self._lock:
            self._leave_phase(when)
            self._phase = (phase, when)

    def gpu(self, device: Device) -> None:
        """Take a sample of the rank's own GPU."""
        used = None
        if device.memory_used is not None and device.memory_total:
            used = 100.0 * device.memory_used / device.memory_total
        numbers = (device.util, used, device.temperature, device.power)
        named = zip(GPU_NAMES, numbers, strict=True)
        with self._lock:
            self._gpu = {name: number for name, number in named if number is not None}
            self._throttle = ", ".join(reason for reason in device.throttle if reason in SLOWDOWNS)

    def _leave_phase(self, when: float) -> None:
        phase, since = self._phase
        if phase in self._running:
            self._running[phase] += max(0.0, when - since)
        self._phase = (phase, when)

    def report(self, ended: str = "") -> RankReport:
        """The newest report."""
        with self._lock:
            self._count += 1
            values = self._values | self._gpu
            if len(self._rows) > 1:
                seconds = (self._rows[-1] - self._rows[0]) / (len(self._rows) - 1)
                values["step_time"] = seconds
            means = {
                phase: sum(spent) / len(spent) for phase, spent in self._spent.items() if sum(spent)
            }
            if "data" in means:
                values["data_wait"] = means["data"]
            return RankReport(
                self._count, self._step, values, means.get("forward"), self._broken,
                socket.gethostname(), os.getpid(), ended, self._throttle,
            )  # fmt: skip


def pack(report: RankReport) -> bytes:
    """A report as it lies in the store: some 50 bytes, because rank 0 reads one of each rank."""
    numbers = [*(report.values.get(name) for name in NAMES), report.forward]
    present = sum(1 << at for at, number in enumerate(numbers) if number is not None)
    step = _NO_STEP if report.step is None else max(-_MOST, min(report.step, _MOST))
    sent = [_narrow(number) for number in numbers if number is not None]
    head = _HEAD.pack(_VERSION, present, report.count & 0xFFFFFFFF, step)
    rest: list[object] = [report.host[:60], report.pid]
    if report.broken or report.ended or report.throttle:
        rest += [report.broken, report.ended[:200], report.throttle[:200]]
    words = json.dumps(rest, separators=(",", ":")).encode()
    return head + struct.pack(f"<{len(sent)}f", *sent) + words


def _narrow(value: float) -> float:
    """A value that fits single precision; what is too large for it is infinite there."""
    return math.copysign(math.inf, value) if abs(value) > _LARGEST else value


def unpack(data: bytes) -> RankReport | None:
    """The report that `pack` made; None for anything else."""
    if not _HEAD.size < len(data) <= LONGEST:
        return None
    version, present, count, step = _HEAD.unpack_from(data)
    known_numbers = len(NAMES) + 1
    words = _HEAD.size + 4 * present.bit_count()
    if version != _VERSION or present >> known_numbers or words > len(data):
        return None
    sent = iter(struct.unpack_from(f"<{present.bit_count()}f", data, _HEAD.size))
    found = [next(sent) if present >> at & 1 else None for at in range(known_numbers)]
    values = {name: value for name, value in zip(NAMES, found, strict=False) if value is not None}
    try:
        host, pid, *rest = json.loads(data[words:])
        broken, ended, throttle = rest or (None, "", "")
        return RankReport(
            int(count),
            None if step == _NO_STEP else int(step),
            values,
            found[-1],
            None if broken is None else (int(broken[0]), str(broken[1])),
            str(host),
            int(pid),
            str(ended),
            str(throttle),
        )
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def known(packed: Mapping[int, Any]) -> dict[int, RankReport]:
    """The ranks that have reported."""
    reports = {rank: unpack(bytes(data)) for rank, data in packed.items()}
    return {rank: report for rank, report in reports.items() if report is not None}

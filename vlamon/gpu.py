"""Samples accelerators (NVML) and the training process (/proc) once a second.

A thread of its own: a driver that hangs must hang nothing else. Without a driver the process is
sampled nevertheless.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from vlamon.hardware import Device, GpuSample, Process

PERIOD = 1.0
_RELIST = 10.0
"""Seconds between two looks for new worker processes."""
_THROTTLE = {
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}
"""NVML's clock event reasons; 0x1 (idle) is no reason to mention."""


class Sampler:
    """Calls `tell` with a sample each second until stopped."""

    def __init__(self, tell: Callable[[GpuSample], None], period: float = PERIOD) -> None:
        self.tell = tell
        self.period = period
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vlamon-gpu", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End soon, without waiting for a driver that hangs."""
        self._stopping.set()

    def _run(self) -> None:
        driver = Driver()
        process = ProcessMeter(os.getpid())
        while not self._stopping.is_set():
            self.tell(GpuSample(time.time(), driver.sample(), process.sample()))
            self._stopping.wait(self.period)


class Driver:
    """The devices that this process may use, through NVML; none where there is no driver."""

    def __init__(self) -> None:
        self._nvml: ModuleType | None = None
        self._handles: list[tuple[int, Any]] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            count = pynvml.nvmlDeviceGetCount()
            handles = [(index, pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
            self._handles = [item for item in handles if self._visible(*item)]
        except Exception:  # no driver, no library, no permission: NVML raises its own types for all
            self._handles = []

    def _visible(self, index: int, handle: Any) -> bool:
        """Whether CUDA_VISIBLE_DEVICES lets this process see the device."""
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        if listed is None:
            return True
        names = [name.strip() for name in listed.split(",") if name.strip()]
        if all(name.isdigit() for name in names):
            return str(index) in names
        uuid = self._ask("nvmlDeviceGetUUID", handle) or ""
        return any(_text(uuid).startswith(name) for name in names)

    def sample(self) -> tuple[Device, ...]:
        """All devices now."""
        return tuple(self._device(index, handle) for index, handle in self._handles)

    def own(self, local_rank: int) -> Device | None:
        """The device that the process of this local rank uses, in the order that CUDA has them."""
        listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        order = [int(name) for name in listed.split(",") if name.strip().isdigit()]
        handles = sorted(
            self._handles, key=lambda item: order.index(item[0]) if item[0] in order else item[0]
        )
        if not handles:
            return None
        return self._device(*handles[local_rank if local_rank < len(handles) else 0])

    def _device(self, index: int, handle: Any) -> Device:
        ask = self._ask
        util = ask("nvmlDeviceGetUtilizationRates", handle)
        memory = ask("nvmlDeviceGetMemoryInfo", handle)
        power = ask("nvmlDeviceGetPowerUsage", handle)
        limit = ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        return Device(
            index=index,
            uuid=_text(ask("nvmlDeviceGetUUID", handle)),
            name=_text(ask("nvmlDeviceGetName", handle)),
            util=None if util is None else float(util.gpu),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            temperature=_number(ask("nvmlDeviceGetTemperature", handle, 0)),
            power=None if power is None else power / 1000,
            power_limit=None if limit is None else limit / 1000,
            clock_sm=ask("nvmlDeviceGetClockInfo", handle, 1),
            clock_memory=ask("nvmlDeviceGetClockInfo", handle, 2),
            throttle=self._throttle(handle),
        )

    def _throttle(self, handle: Any) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if bits is None:  # older drivers have it under its older name
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return tuple(text for bit, text in _THROTTLE.items() if (bits or 0) & bit)

    def _ask(self, name: str, *args: Any) -> Any:
        """The driver's answer, None where it does not know or the device cannot say."""
        try:
            return getattr(self._nvml, name)(*args)
        except Exception:  # NVMLError in dozens of kinds; AttributeError with an older binding
            return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


class ProcessMeter:
    """CPU, memory and threads of a process and its descendants, from /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._used: dict[int, int] = {}
        self._pids: list[int] = []
        self._listed_at = -math.inf
        self._at = time.monotonic()

    def sample(self) -> Process | None:
        """The sums now; None once the process is gone. CPU needs two samples."""
        seen: dict[int, int] = {}
        rss = threads = 0
        for pid in self._family():
            stat = _stat(pid)
            if stat is not None:
                seen[pid] = int(stat[11]) + int(stat[12])
                threads += int(stat[17])
                rss += int(stat[21]) * self._page
        if self.pid not in seen:
            return None
        now = time.monotonic()
        elapsed, self._at = now - self._at, now
        before, self._used = self._used, seen
        cpu = None
        if before and elapsed > 0:
            # A worker that came since the last sample counts from its birth.
            used = sum(ticks - before.get(pid, 0) for pid, ticks in seen.items())
            cpu = 100.0 * used / self._ticks / elapsed
        return Process(self.pid, cpu, rss, threads)

    def _family(self) -> list[int]:
        """The process and its descendants, looked up rarely: a node may run thousands."""
        if time.monotonic() - self._listed_at > _RELIST:
            self._listed_at = time.monotonic()
            self._pids = _descendants(self.pid)
        return self._pids


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name, which may itself hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _descendants(pid: int) -> list[int]:
    """The process and all below it, by the parent that each process names."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat is not None:
                children.setdefault(int(stat[1]), []).append(int(name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found

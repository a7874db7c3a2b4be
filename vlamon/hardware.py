"""The records of a run's accelerators and its process at one moment."""

from __future__ import annotations

from dataclasses import dataclass

SLOWDOWNS = frozenset(
    {
        "hardware slowdown",
        "thermal slowdown (software)",
        "thermal slowdown (hardware)",
        "power brake",
    }
)
"""Reasons of `Device.throttle` that are heat or a fault; a power cap is where a busy GPU stands."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator at one moment; None where the driver would not say."""

    index: int
    uuid: str
    name: str
    util: float | None
    """Busy share of the last sample period, percent."""
    memory_used: int | None
    """Bytes."""
    memory_total: int | None
    """Bytes."""
    temperature: float | None
    """Degrees Celsius."""
    power: float | None
    """Watts."""
    power_limit: float | None
    """Watts."""
    clock_sm: int | None
    """MHz."""
    clock_memory: int | None
    """MHz."""
    throttle: tuple[str, ...] = ()
    """Reasons for which clocks are held back, such as `power cap`."""


@dataclass(frozen=True, slots=True)
class Process:
    """The training process (and its children) at one moment."""

    pid: int
    cpu: float | None
    """Percent of one core."""
    rss: int | None
    """Bytes."""
    threads: int | None


@dataclass(frozen=True, slots=True)
class GpuSample:
    """Accelerators and process, sampled once a second."""

    time: float
    """Seconds since the epoch."""
    devices: tuple[Device, ...]
    """Empty on a machine without a driver."""
    process: Process | None = None
    """None where the process is not known (a log of a run that is over)."""

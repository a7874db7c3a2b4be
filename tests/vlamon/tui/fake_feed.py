"""A feed without source or thread, a run that looks like a real one, and a clock that stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vlamon.hardware import Device, GpuSample, Process
from vlamon.records import (
    BatchBlock,
    Column,
    Event,
    Link,
    MetricSpec,
    Record,
    RunInfo,
    Snapshot,
    Status,
)
from vlamon.store import RunStore
from vlamon.tui.app import Dashboard

NOW = 1_760_000_000.0
"""The frozen wall clock, 2025-10-09 08:53:20 UTC."""


class FakeFeed:
    """The face of `vlamon.sources.feed.Feed`; records are pushed by the test."""

    def __init__(self, named: str = "") -> None:
        self.store = RunStore()
        self.named = named
        self.lock = threading.RLock()
        self.on_change: Callable[[], None] | None = None
        self.on_records: Callable[[Sequence[Record]], None] | None = None
        self._before: list[Record] = []
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.refuse_to_send = ""
        self.started = self.closed = False

    def push(self, *records: Record) -> None:
        """Apply records as the feed's thread does."""
        with self.lock:
            for record in records:
                self.store.apply(record)
        if not self.started:
            self._before += records
        elif self.on_records is not None:
            self.on_records(records)
        if self.on_change is not None:
            self.on_change()

    def send(self, name: str, /, **args: Any) -> str:
        """Remember an order; its id is `order-1` and so on."""
        if self.refuse_to_send:
            raise RuntimeError(self.refuse_to_send)
        self.sent.append((name, args))
        return f"order-{len(self.sent)}"

    def start(self) -> None:
        self.started = True
        if self.on_records is not None:
            self.on_records(self._before)

    def close(self) -> None:
        self.closed = True


class FrozenDashboard(Dashboard):
    """A dashboard whose clocks stand until the test moves them."""

    now = NOW

    def clock(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


WEIGHTS = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}


def info(**changes: Any) -> RunInfo:
    """Return the run's introduction."""
    values: dict[str, Any] = {
        "run_id": "r1",
        "name": "libero_goal",
        "boot": "b1",
        "host": "node17",
        "pid": 4711,
        "user": "ada",
        "world_size": 8,
        "devices": ("NVIDIA H200",) * 8,
        "metrics": tuple(MetricSpec(name, "trained", weight) for name, weight in WEIGHTS.items()),
        "total_steps": 52_480,
        "steps_per_epoch": 1312,
        "vocab": 65_536,
        "control": True,
    }
    return RunInfo(**{**values, **changes})


def block(first: int, rows: int, attempt: int = 0, spike: int | None = None) -> BatchBlock:
    """Return batches with the shape of a real run; the same step always has the same values."""
    step = np.arange(first, first + rows, dtype=np.int64)
    noise = np.sin(step * 12.9898) * 43758.5453
    noise = noise - np.floor(noise) - 0.5
    closs = 8.4 + 5 * np.exp(-step / 6000) + 0.4 * noise
    if spike is not None and first <= spike < first + rows:
        closs[spike - first] = 95.2
    ct = 0.11 + 0.4 * np.exp(-step / 8000) + 0.02 * noise
    columns = {
        "closs": Column(closs),
        "loss_ct": Column(ct, noise > -0.4),
        "z_loss": Column(30 + 70 * np.exp(-step / 9000) + noise),
        "grad_norm": Column(3 + 2 * noise),
    }
    for slot in range(5, 10):
        columns[f"l1_loss_action_{slot}"] = Column(0.4 + 0.02 * (slot - 5) + 0.05 * noise)
    time = NOW + (step - 48_210) / 3.41
    return BatchBlock(
        first, attempt, step, step / 1312, time, columns, WEIGHTS if first == 0 else {}
    )


def gpu(time: float = NOW - 1, devices: int = 2) -> GpuSample:
    """Return one sample."""
    made = tuple(
        Device(
            index,
            f"GPU-{index}",
            "NVIDIA H200",
            97.0 - index,
            61 * 2**30,
            141 * 2**30,
            66.0 + 20 * index,
            640.0,
            700.0,
            1830,
            2619,
            ("power cap",) if index else (),
        )
        for index in range(devices)
    )
    return GpuSample(time, made, Process(4711, 340.0, 12 * 2**30, 96))


EXPLOSION = Event(
    "e1", "explode", 39_210, 0, NOW - 2600, "error", "",
    {"metric": "closs", "value": 95.2, "z": 41.0, "ratio": 11.0, "samples": [881204, 881219]},
)  # fmt: skip
ROLLBACK = Event("e2", "rollback", 39_150, 1, NOW - 2599, "info", "to 39,150 in 0.3 s, 64 skipped")
AUTOPSY = Event(
    "e3", "autopsy", 39_210, 0, NOW - 2598, "warn", "data: samples 881204, 881219 still at 90"
)  # fmt: skip


def status(**changes: Any) -> Status:
    """Return what the trainer says."""
    values: dict[str, Any] = {
        "state": "training",
        "step": 48_209,
        "phase": "forward",
        "epoch": 36.7,
        "steps_per_second": 3.41,
        "eta": 1252.0,
        "snapshots": (
            Snapshot(39_150, "runs/a/epoch29", True, NOW - 2700, 8.61),
            Snapshot(48_100, "ring", True, NOW - 92, 8.52),
            Snapshot(48_200, "ring", False, NOW - 62, 8.49),
        ),
        "budget": 3,
        "guard": "ask",
        "time": NOW,
        "attempt": 1,
    }
    return Status(**{**values, **changes})


def whole_run() -> Sequence[Record]:
    """Return a run with an explosion, a rollback and the attempt that goes on."""
    return (
        Link("live"),
        info(),
        block(0, 39_211, spike=39_210),
        EXPLOSION,
        ROLLBACK,
        block(39_214, 48_210 - 39_214, attempt=1),
        AUTOPSY,
        *(gpu(NOW - 60 + second) for second in range(60)),
        status(),
    )


def fed(*records: Record) -> FakeFeed:
    """Return a feed that holds records already."""
    feed = FakeFeed()
    feed.push(*records)
    return feed

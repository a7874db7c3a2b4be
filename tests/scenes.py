"""Runs as the pictures of docs/dashboard.md show them: made up, the same at each start.

They have the size and the noise of real ones (closs of the reference falls from 14 to 8.4 with
single batches half a unit off); `make pictures` draws them, and tests compare their screens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.vlamon.tui.fake_feed import NOW, WEIGHTS, info, status
from vlamon.hardware import Device, GpuSample, Process
from vlamon.records import BatchBlock, Column, EpochRow, Event, Link, Record, Snapshot

Values = np.ndarray[Any, np.dtype[np.float64]]
STEPS = 48_210
PER_EPOCH = 1312
SPEED = 3.41
TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
FEW_COLOURS = {"TERM": "xterm-256color"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture."""

    runs: Sequence[Sequence[Record]]
    """Records of the run, and of those beside it."""
    keys: tuple[str, ...] = ()
    """Pressed before the picture is taken."""
    size: tuple[int, int] = (120, 40)
    theme: str = "dusk"
    few_colours: bool = False
    """Whether the terminal has 256 colours, as over OpenSSH."""


def noise(count: int, seed: int, scale: float = 1.0) -> Values:
    """Batch noise: mostly small, now and then a hard batch."""
    return scale * np.random.default_rng(seed).gumbel(-0.577, 0.6, count)


def blocks(
    columns: dict[str, Values], first: int = 0, attempt: int = 0, piece: int = 8192
) -> list[BatchBlock]:
    """Batches as a training sends them."""
    count = len(next(iter(columns.values())))
    found = []
    for start in range(0, count, piece):
        step = np.arange(first + start, first + min(start + piece, count), dtype=np.int64)
        part = {name: Column(values[start : start + piece]) for name, values in columns.items()}
        time = NOW + (step - STEPS) / SPEED
        weights = WEIGHTS if first + start == 0 else {}
        found.append(
            BatchBlock(first + start, attempt, step, step / PER_EPOCH, time, part, weights)
        )
    return found


def losses(steps: Values, seed: int = 0, offset: float = 0.0) -> dict[str, Values]:
    """The reference's columns over these steps."""
    count = len(steps)
    warm = np.minimum(1.0, (steps + 1) / 500)
    columns = {
        "closs": 8.4 + offset + 5.6 * np.exp(-steps / 9000) + noise(count, seed, 0.45),
        "loss_ct": 0.11 + 0.4 * np.exp(-steps / 8000) + noise(count, seed + 1, 0.02),
        "z_loss": 30 + 70 * np.exp(-steps / 9000) + noise(count, seed + 2, 2.0),
        "grad_norm": 3 + 3 * np.exp(-steps / 3000) + noise(count, seed + 3, 0.6),
        "lr": 1e-5 * warm * 0.5 * (1 + np.cos(np.pi * steps / 52_480)),
        "time": 0.293 + noise(count, seed + 40, 0.01),
        "data": 0.001 + noise(count, seed + 4, 0.0002),
    }
    for slot in range(5, 10):
        level = 0.30 + 0.04 * (slot - 5) + 0.5 * np.exp(-steps / 12_000)
        columns[f"l1_loss_action_{slot}"] = level + noise(count, seed + slot, 0.03)
    return columns


def gpus(hot: int | None = 5, count: int = 8) -> list[Record]:
    """A minute of samples of H200s; one of them is held back by its temperature."""
    spread = np.random.default_rng(3).normal(0, 1, (60, count))
    found: list[Record] = []
    for second in range(60):
        devices = tuple(
            Device(
                index,
                f"GPU-{index}",
                "NVIDIA H200",
                float(np.clip((18 if index == hot else 97) + spread[second, index], 0, 100)),
                (133 - index % 3) * 2**30,
                141 * 2**30,
                (91.0 if index == hot else 66.0 + index) + float(spread[second, index]) / 2,
                310.0 if index == hot else 655.0,
                700.0,
                780 if index == hot else 1830,
                2619,
                ("thermal",) if index == hot else (),
            )
            for index in range(count)
        )
        host = Process(4711, 340.0, 12 * 2**30, 96)
        found.append(GpuSample(NOW - 60 + second, devices, host))
    return found


def healthy(seed: int = 0, offset: float = 0.0, **changes: Any) -> list[Record]:
    """A run that goes well, with a checkpoint each ten epochs."""
    checkpoints = [
        Event(f"c{n}", "checkpoint", n * 13_120, 0, NOW - (STEPS - n * 13_120) / SPEED, "info",
              f"in runs/a/epoch{n * 10} (2.90 s)")
        for n in range(1, 4)
    ]  # fmt: skip
    run = blocks(losses(np.arange(STEPS, dtype=float), seed, offset))
    said = status(state="training", step=STEPS - 1, guard="auto", attempt=0)
    return [Link("live"), info(**changes), *run, *checkpoints, *gpus(hot=None), said]


def exploded() -> list[Record]:
    """Two bad samples at 39,210; the guard went back and the run is healthy since."""
    bad, back = 39_210, 39_150
    first = losses(np.arange(bad + 1, dtype=float))
    for name, height in (("closs", 95.2), ("grad_norm", 214.0), ("z_loss", 410.0)):
        first[name][-1] = height
    after = losses(np.arange(back + 64, STEPS, dtype=float), seed=50)
    ago = (STEPS - bad) / SPEED
    data = {"metric": "closs", "value": 95.2, "z": 41.0, "ratio": 11.0,
            "samples": [881_204, 881_219]}  # fmt: skip
    cause = {"cause": "data", "samples": [881_204, 881_219]}
    events = [
        Event("c", "checkpoint", back, 0, NOW - ago - 18, "info", "in runs/a/step-39150 (2.90 s)"),
        Event("e", "explode", bad, 0, NOW - ago, "error", "", data),
        Event("r", "rollback", bad, 1, NOW - ago + 1, "info", "to 39,150 in 0.3 s, 64 skipped",
              {"ok": True, "from": bad, "to": back}),
        Event("a", "autopsy", bad, 0, NOW - ago + 9, "warn",
              "data: samples 881204, 881219 still at 90", cause),
        Event("ok", "recovered", back + 164, 1, NOW - ago + 40, "info",
              "no explosion for 100 steps"),
    ]  # fmt: skip
    said = status(step=STEPS - 1, guard="auto")
    return [
        Link("live"), info(), *blocks(first), *events[:3],
        *blocks(after, back + 64, attempt=1), *events[3:], *gpus(), said,
    ]  # fmt: skip


def twelve_epochs() -> list[Record]:
    """A log of epoch lines alone."""
    shape = np.array([14.0, 12.1, 11.0, 10.2, 9.7, 9.3, 9.0, 8.8, 8.7, 8.6, 8.55, 8.5])
    found: list[Record] = [Link("ended")]
    for epoch, closs in enumerate(shape):
        own = {"closs": closs, "loss_ct": closs / 70, "z_loss": 4 * closs, "lr": 1e-5}
        own |= {f"l1_loss_action_{slot}": closs / 20 + slot / 50 for slot in range(5, 10)}
        found.append(EpochRow(float(epoch), "train", own))
        unseen = {"closs": closs * 1.02 + 0.004 * epoch**2, "loss_ct": closs / 68}
        found.append(EpochRow(float(epoch), "val_ind", unseen))
        found.append(EpochRow(float(epoch), "val_ood", {"closs": closs * 1.1, "loss_ct": 0.2}))
    return found


def young_status(**changes: Any) -> Record:
    """What a trainer says that has come to step 20,000."""
    kept = (
        Snapshot(13_120, "runs/a/epoch10", True, NOW - 2015, 9.72),
        Snapshot(19_900, "ring", True, NOW - 29, 8.93),
        Snapshot(19_980, "ring", False, NOW - 6, 8.88),
    )
    eta = (52_480 - 20_000) / SPEED
    return status(step=19_999, epoch=15.2, eta=eta, snapshots=kept, attempt=0, **changes)


def eight_ranks() -> list[Record]:
    """Each rank's closs and step time; rank 5 sees other data and waits for its disk."""
    steps = np.arange(20_000, dtype=float)
    columns = losses(steps)
    for name in [name for name in columns if name.startswith("l1")]:
        del columns[name]
    for rank in range(8):
        columns[f"closs_rank{rank}"] = columns["closs"] + noise(len(steps), 20 + rank, 0.6)
        columns[f"step_seconds_rank{rank}"] = 0.293 + noise(len(steps), 40 + rank, 0.01)
    columns["closs_rank5"] += 4.0
    columns["step_seconds_rank5"] *= 2.1
    said = young_status(guard="watch")
    return [Link("live"), info(), *blocks(columns), *gpus(), said]


def sixty_metrics() -> list[Record]:
    """The losses, and norms of gradients and activations of each layer."""
    steps = np.arange(20_000, dtype=float)
    columns = losses(steps)
    for layer in range(24):
        fall = np.exp(-steps / (2000 + 500 * layer))
        columns[f"grad_norm/model.layers.{layer}.mlp"] = (
            0.1 + 0.4 * fall + noise(len(steps), layer, 0.03)
        )
        columns[f"act_rms/model.layers.{layer}"] = (
            1 + layer / 12 - 0.3 * fall + noise(len(steps), 100 + layer, 0.02)
        )
    said = young_status(guard="auto")
    return [Link("live"), info(), *blocks(columns), *gpus(hot=None), said]


def other_run() -> list[Record]:
    """The same model on twice the learning rate, a little behind in steps and ahead in closs."""
    return healthy(seed=70, offset=-0.5, run_id="r2", name="libero_goal-frozen", host="node18")


SCENES: dict[str, Callable[[], Scene]] = {
    "healthy": lambda: Scene([healthy()]),
    "exploded": lambda: Scene([exploded()]),
    "twelve-epochs": lambda: Scene([twelve_epochs()]),
    "eight-gpus": lambda: Scene([exploded()], size=(160, 50)),
    "eight-ranks": lambda: Scene([eight_ranks()]),
    "sixty-metrics": lambda: Scene([sixty_metrics()], size=(200, 60)),
    "two-runs": lambda: Scene([healthy(), other_run()], keys=("down", "space", "escape")),
    "list-of-runs": lambda: Scene([exploded(), healthy(), other_run()]),
    "small": lambda: Scene([exploded()], size=(80, 24)),
    "light": lambda: Scene([exploded()], theme="paper"),
    "colours-256": lambda: Scene([exploded()], few_colours=True),
}

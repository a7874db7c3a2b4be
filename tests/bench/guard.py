"""What the guard costs: ring, rollback and durable write against PyTorch's own, and each step.

`python -m tests.bench.guard`: the least of several rounds, interleaved in one run, as ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from vlamon.detect.spikes import ComponentDetectors
from vlamon.guard import Guard, GuardSettings
from vlamon.guard.checkpoint.sharded import Shards
from vlamon.guard.checkpoint.writer import Durable
from vlamon.guard.ring import Ring
from vlamon.guard.state.capture import TrainingState

Job = Callable[[], Any]


def least(jobs: dict[str, Job], rounds: int, before: Job | None = None) -> dict[str, float]:
    """Least seconds of every job, run in turn: what neighbours take can only be added to it."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            if before is not None:
                before()
            begun = time.perf_counter()
            job()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return {name: min(each) for name, each in times.items()}


def training(megabytes: int) -> tuple[nn.Module, torch.optim.Optimizer, TrainingState]:
    """A model whose parameters and Adam moments weigh this much together."""
    width = 1024
    layers = max(1, round(megabytes * 1e6 / 12 / (width * width + width)))
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer, TrainingState({"model": model, "optimizer": optimizer})


def table(title: str, unit: str, times: dict[str, float]) -> str:
    """Names and ratios; the unit is the first job's time."""
    base = times[unit]
    lines = [f"| {title} | × {unit} | ms |", "|---|---|---|"]
    lines += [f"| {name} | {t / base:.2f} | {1e3 * t:.1f} |" for name, t in times.items()]
    return "\n".join(lines)


def memory(state: TrainingState, rounds: int) -> str:
    """Into the ring and back, against copies into memory that is there already."""
    live = [t for t in _tensors(state) if t.numel()]
    place = [torch.empty_like(t) for t in live]
    ring = Ring(2, 0)
    ring.take(0, state.capture(), trusted=True)
    ring.take(1, state.capture(), trusted=True)

    def roll_back() -> None:
        slot = ring.trusted()
        assert slot is not None
        state.restore(slot.state())

    def clone() -> list[torch.Tensor]:
        return [t.clone() for t in live]

    jobs: dict[str, Job] = {
        "preallocated copy": lambda: torch._foreach_copy_(place, live),
        "ring": lambda: ring.take(1, state.capture(), trusted=True),
        "rollback": roll_back,
        "naive clone": clone,
    }
    return table("in memory", "preallocated copy", least(jobs, rounds))


def _tensors(state: TrainingState) -> list[torch.Tensor]:
    from vlamon.guard.state.tree import split

    return split(state.capture())[1]


def disk(state: TrainingState, rounds: int) -> str:
    """A durable checkpoint, against the bytes alone and against PyTorch's writers."""
    tensors = _tensors(state)
    named = {str(i): t for i, t in enumerate(tensors)}
    folder = Path(tempfile.mkdtemp(prefix="vlamon-bench-"))
    durable = Durable(folder / "durable", keep=1)
    sealed = Durable(folder / "shards", keep=1)

    def raw() -> None:
        handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for tensor in tensors:
            data = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
            while data:
                data = data[os.write(handle, data[: 8 << 20]) :]
        os.fsync(handle)
        os.close(handle)

    def save() -> None:
        with open(folder / "torch.pt", "wb") as file:
            torch.save(named, file)
            file.flush()
            os.fsync(file.fileno())

    def distributed() -> None:
        shutil.rmtree(folder / "dcp", ignore_errors=True)
        dcp.save(named, checkpoint_id=str(folder / "dcp"), no_dist=True)

    def shards() -> None:
        captured, names = state.for_disk(0)
        sealed.write_shards(1, captured, Shards(0, 1, names), f"{os.getpid()}-bench", {})

    jobs: dict[str, Job] = {
        "raw write + fsync": raw,
        "vlamon durable (sha256, fsync, rename)": lambda: durable.write(1, state.capture()),
        "torch.save + fsync": save,
        "dcp.save": distributed,
        "vlamon shards (dcp.save, sha256, fsync, rename)": shards,
    }
    try:
        return table("on disk", "raw write + fsync", least(jobs, rounds, before=os.sync))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def blocking(state: TrainingState, rounds: int) -> str:
    """How long the training stands still: the ring's copy against dcp.async_save's staging."""
    named = {str(i): t for i, t in enumerate(_tensors(state))}
    folder = Path(tempfile.mkdtemp(prefix="vlamon-bench-"))
    ring = Ring(2, 0)
    pending: list[Any] = []

    def drain() -> None:
        for future in pending:
            future.result()
        pending.clear()
        shutil.rmtree(folder / "dcp", ignore_errors=True)

    def stage() -> None:
        pending.append(dcp.async_save(named, checkpoint_id=str(folder / "dcp"), no_dist=True))

    jobs: dict[str, Job] = {
        "ring": lambda: ring.take(1, state.capture(), trusted=True),
        "dcp.async_save": stage,
    }
    try:
        return table("training stands still", "ring", least(jobs, rounds, before=drain))
    finally:
        drain()
        shutil.rmtree(folder, ignore_errors=True)


def each_step(rounds: int) -> str:
    """The guard at the size of the tiny preset: detectors, ballot, a snapshot every N steps."""
    model, optimizer, _ = training(62)  # tiny: 5.2 million parameters and their moments
    settings = GuardSettings()
    guard = Guard(model, optimizer, settings=settings, weights={"closs": 1.0, "loss_ct": 10.0})
    step = guard.start()
    cheap, snapshots = [], []
    values = {"closs": 3.0, "loss_ct": 0.1, "z_loss": 40.0, "grad_norm": 4.0}
    spacing = guard.snapshots.late_spacing  # what the ring settles to
    for _ in range(rounds * spacing + guard.snapshots.ring.reach):
        noisy = {name: value * (1 + 0.01 * (step % 7)) for name, value in values.items()}
        begun = time.perf_counter()
        step = guard.after_step(step, **noisy)
        spent = time.perf_counter() - begun
        taken = any(slot.step == step - 1 for slot in guard.snapshots.ring.held())
        (snapshots if taken else cheap).append(spent)
    detectors, count = ComponentDetectors(), 5000
    begun = time.perf_counter()
    for i in range(count):
        detectors.observe({name: v * (1 + 0.01 * (i % 7)) for name, v in values.items()})
    observed = (time.perf_counter() - begun) / count
    usual, copy = statistics.median(cheap), min(snapshots)
    mean = usual + copy / spacing
    lines = [
        "| guard, per step (4 components, 62 MB of state) | µs |",
        "|---|---|",
        f"| detectors | {1e6 * observed:.0f} |",
        f"| step without a snapshot | {1e6 * usual:.0f} |",
        f"| step with a snapshot (every {spacing}) | {1e6 * copy:.0f} |",
        f"| mean | {1e6 * mean:.0f} |",
        f"| share of a 130 ms step of tiny | {100 * mean / 0.130:.2f} % |",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=302)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args([] if arguments is None else arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(max(1, min(2, os.cpu_count() or 1)))
    _, _, state = training(chosen.megabytes)
    print(memory(state, chosen.rounds) + "\n")
    print(blocking(state, chosen.rounds) + "\n")
    print(disk(state, chosen.rounds) + "\n")
    print(each_step(chosen.rounds))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

"""What emission costs a training: the call itself, and a real step end to end.

`python -m tests.bench.emitter` prints two markdown tables. The end-to-end one interleaves three
kinds of segments in one process, in random order: A logs every step, B does not, and the null does
not either, so that null/B shows what the machine's own noise looks like.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from vlamon import Emitter

PAIRS = 40
ROUNDS = 8
"""Times that the kinds take turns within a pair, so that a busy neighbour hits all of them."""
STEPS = 8
"""Steps of a turn."""
VALUES = {
    "closs": 8.5,
    "loss_ct": 0.13,
    "z_loss": 40.0,
    "grad_norm": 4.0,
    "lr": 5e-6,
    "acc_action_5": 0.4,
    "acc_image_0": 0.2,
    **{f"l1_loss_action_{slot}": 0.1 for slot in range(5, 10)},
}


def median_call(calls: int = 20_000) -> tuple[float, float, float]:
    """Median and 99th percentile of `log` with 12 floats, and of an empty call, in µs."""

    class Nothing:
        def log(self, /, step: int, epoch: float | None = None, **metrics: object) -> None:
            """Takes what `log` takes."""

    with Emitter() as emitter:
        took = _time_calls(emitter.log, calls)
    empty = _time_calls(Nothing().log, calls)
    return took[len(took) // 2], took[int(len(took) * 0.99)], empty[len(empty) // 2]


def _time_calls(log: Callable[..., None], calls: int) -> list[float]:
    clock, took = time.perf_counter_ns, []
    for step in range(calls):
        start = clock()
        log(step, epoch=0.5, **VALUES)
        took.append((clock() - start) / 1000)
        if step % 50 == 0:
            time.sleep(0.001)  # let the sidecar look, as between real steps
    return sorted(took)


class Training:
    """A small real training step of 2–5 ms on one core."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.data = torch.randn(64, 256)

    def step(self) -> torch.Tensor:
        """Forward, backward, update."""
        self.optimizer.zero_grad()
        loss = (self.model(self.data) - self.data).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss


def turn(training: Training, emitter: Emitter | None, first: int) -> tuple[list[float], float]:
    """Seconds of each step of a turn, and the CPU seconds of the whole process over all of them."""
    took = []
    used = time.process_time()
    for step in range(first, first + STEPS):
        start = time.perf_counter()
        loss = training.step()
        if emitter is not None:
            emitter.log(step, epoch=0.5, **(VALUES | {"closs": loss}))
        took.append(time.perf_counter() - start)
    return took, time.process_time() - used


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair's figures by kind: A logs, B and the null N do not."""

    wall: dict[str, float]
    """Mean seconds of a step, without the slowest tenth: the scheduler's, not ours."""
    cpu: dict[str, float]
    """CPU seconds of the process, sidecar included: a busy neighbour does not show in it."""


def pair(training: Training, emitter: Emitter, choose: random.Random) -> Pair:
    """All kinds, taking turns in random order."""
    took: dict[str, list[float]] = {kind: [] for kind in "ABN"}
    cpu = dict.fromkeys("ABN", 0.0)
    for _ in range(ROUNDS):
        for kind in choose.sample("ABN", 3):
            times, used = turn(training, emitter if kind == "A" else None, len(took["A"]))
            took[kind] += times
            cpu[kind] += used
    keep = ROUNDS * STEPS * 9 // 10
    wall = {kind: statistics.fmean(sorted(times)[:keep]) for kind, times in took.items()}
    return Pair(wall, cpu)


@contextlib.contextmanager
def monitors(path: str, count: int, stopped: int) -> Iterator[None]:
    """Real monitors in processes of their own, some of them stopped."""
    command = [sys.executable, "-m", "vlamon", "watch", "--json", "--socket", path]
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    time.sleep(2.0 if running else 0.0)
    for process in running[:stopped]:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def end_to_end(count: int, stopped: int) -> list[Pair]:
    """The pairs with that many monitors at the socket."""
    training = Training()
    choose = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "vla.sock")
        with Emitter(path, run_dir=folder) as emitter, monitors(path, count, stopped):
            pair(training, emitter, choose)
            return [pair(training, emitter, choose) for _ in range(PAIRS)]


def interval(ratios: list[float]) -> str:
    """Median with a bootstrapped 95 % interval."""
    choose = random.Random(2)
    medians = sorted(statistics.median(choose.choices(ratios, k=len(ratios))) for _ in range(2000))
    return f"{statistics.median(ratios):.4f} [{medians[50]:.4f}, {medians[1949]:.4f}]"


def main() -> None:
    """Print both tables."""
    middle, late, empty = median_call()
    print("| `Emitter.log`, 12 floats | median | 99 % | an empty call |")
    print("|---|---|---|---|")
    print(f"| µs | {middle:.2f} | {late:.2f} | {empty:.2f} |\n")
    print(
        "| monitors | bare step | wall, with/without | wall, null | CPU, with/without | CPU, null |"
    )
    print("|---|---|---|---|---|---|")
    for count, stopped in ((0, 0), (1, 0), (4, 0), (4, 1)):
        pairs = end_to_end(count, stopped)
        name = f"{count}, one of them stopped" if stopped else str(count)
        bare = 1000 * statistics.median(each.wall["B"] for each in pairs)
        cells = [
            interval([figures[kind] / figures["B"] for figures in table])
            for table in ([each.wall for each in pairs], [each.cpu for each in pairs])
            for kind in "AN"
        ]
        print(f"| {name} | {bare:.2f} ms | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

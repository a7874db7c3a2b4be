"""The training under attack: a small network with a guard, an emitter, checkpoints and a log.

`python -m tests.soak.training TRUTH [--socket P] [--run-dir D] …` appends its results to TRUTH,
an attempt, a step and the bits of a loss for every step, by nothing that is tested. SIGTERM ends it
with a checkpoint; started again with the same arguments it goes on from its newest one.
"""

from __future__ import annotations

import argparse
import signal
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.log_files import LogFiles
from vlamon import Emitter
from vlamon.guard import Guard, GuardSettings

TRUTH = struct.Struct("<iid")
"""Attempt, step, loss."""
SEGMENT = 10
"""Steps between two lines of the log."""


class Sampler:
    """Counts samples; where it stands is all that the data depend on."""

    def __init__(self) -> None:
        self.cursor = 0

    def draw(self) -> int:
        self.cursor += 1
        return self.cursor - 1

    def state_dict(self) -> dict[str, int]:
        return {"cursor": self.cursor}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.cursor = state["cursor"]


class Model:
    """What is trained: regression on a stream of random batches, one of them beyond reach."""

    def __init__(self, explode_at: int) -> None:
        torch.manual_seed(5)
        torch.set_num_threads(1)
        self.explode_at = explode_at
        self.net = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1))
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 5000, 0.5)
        self.sampler = Sampler()
        self.target = torch.randn(8, 1, generator=torch.Generator().manual_seed(99))

    def loss(self, cursor: int) -> Tensor:
        """The loss of the next batch."""
        generator = torch.Generator().manual_seed(cursor)
        x = torch.randn(4, 8, generator=generator)
        y = x @ self.target + 0.3 * torch.randn(4, 1, generator=generator)
        if self.explode_at <= cursor < self.explode_at + 3:
            y = y + 500.0
        loss: Tensor = ((self.net(x) - y) ** 2).mean() + 1.0
        return loss


def main() -> None:
    args = _arguments()
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ending.append(number))
    model = Model(args.explode_at)
    settings = GuardSettings(mode="auto", every=50, durable_every=args.durable_every, keep=2)
    logs = LogFiles()
    place = str(args.run_dir) if args.run_dir else None
    with Emitter(args.socket, run="soak", run_dir=place, weights={"closs": 1.0}) as emitter:
        guard = Guard(
            model.net,
            model.optimizer,
            schedulers=[model.scheduler],
            sampler=model.sampler,
            emitter=emitter,
            run_dir=args.run_dir,
            settings=settings,
        )
        torch.manual_seed(6)
        step = guard.start()
        with args.truth.open("ab", buffering=0) as truth:
            while step < args.steps and not guard.stopped and not ending:
                step = _step(model, guard, emitter, truth, logs, args, step)
        if ending:
            guard.checkpoint(step - 1)
        guard.close()
    logs.close()


def _step(
    model: Model,
    guard: Guard,
    emitter: Emitter,
    truth: Any,
    logs: LogFiles,
    args: argparse.Namespace,
    step: int,
) -> int:
    cursor = model.sampler.draw()
    loss = model.loss(cursor)
    torch.autograd.backward([loss])
    value = float(loss.detach())
    truth.write(TRUTH.pack(emitter.attempt, step, value))
    emitter.log(step, epoch=step / 1000, closs=value, cursor=float(cursor))
    if args.run_dir and step % SEGMENT == 0:
        logs.append(args.run_dir / "output.log", f"step: {step} loss: {value!r}")
    if guard.check(step, closs=loss):
        model.optimizer.step()
        model.scheduler.step()
    model.optimizer.zero_grad()
    time.sleep(args.sleep)
    return guard.after_step(step, batch=cursor, samples=[cursor])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("truth", type=Path)
    parser.add_argument("--socket")
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--explode-at", type=int, default=-9)
    parser.add_argument("--durable-every", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Ranks of one training, one of which is killed, stopped or slow in the midst of something.

`python -m tests.faults.ranks [NAME …]` runs every scenario, or some, and says how each ended. Ranks
are forked from a process that has imported everything: a start costs milliseconds.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.faults.scenarios import report
from tests.vlamon.guard.toy import Order, Toy
from vlamon.guard import collectives
from vlamon.guard.checkpoint import writer
from vlamon.guard.state.capture import TrainingState

STEPS = 40
PATIENCE = 60.0
PHASES: dict[str, tuple[Any, str, int]] = {
    "ballot": (collectives, "reduced", 20),
    "snapshot": (TrainingState, "capture", 4),
    "checkpoint": (writer, "write_tensors", 2),
    "rollback": (TrainingState, "restore", 1),
}
"""What is called in each, and the number of the call that is disturbed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who is disturbed, when and how."""

    how: str
    phase: str
    rank: int
    ranks: int = 2

    @property
    def name(self) -> str:
        return f"{self.how}-{self.phase}-{self.rank}-of-{self.ranks}"


def scenarios() -> Iterator[Scenario]:
    """All that are tried; only rank 0 writes the checkpoints of replicas."""
    for how in ("stopped", "slow", "killed"):
        for phase in PHASES:
            yield Scenario(how, phase, 0)
            if phase != "checkpoint":
                yield Scenario(how, phase, 1)
        yield Scenario(how, "ballot", 3, ranks=4)


class Shared(Toy):
    """Each rank has data of its own; gradients are averaged."""

    rank, ranks = 0, 1

    def data(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return super().data([self.ranks * ids[0] + self.rank])

    def train_step(self) -> tuple[Any, torch.Tensor]:
        ids = self.sampler.draw()
        x, y = self.data(ids)
        loss = self.loss((x, y))
        torch.autograd.backward([loss])
        for parameter in self.model.parameters():
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.ranks
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return (ids, x, y), loss.detach()


def disturb(scenario: Scenario) -> None:
    """From now on, the chosen call of this process is where it happens."""
    owner, name, at = PHASES[scenario.phase]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            if scenario.how == "slow":
                time.sleep(0.3)
            else:
                number = signal.SIGKILL if scenario.how == "killed" else signal.SIGSTOP
                os.kill(os.getpid(), number)
        return real(*arguments, **options)

    setattr(owner, name, call)


def train(rank: int, ranks: int, root: Path, meeting: Path, scenario: Scenario | None) -> None:
    """One rank; its numbers go into a file."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=PATIENCE),
    )
    if scenario is not None and scenario.rank == rank:
        disturb(scenario)
    Shared.rank, Shared.ranks = rank, ranks
    toy, back = Shared(root), Order("rollback", {"data": "replay"})
    orders = {10: Order("checkpoint"), 24: Order("checkpoint"), 30: back}
    step = toy.guard.start()
    while step < STEPS:
        batch, loss = toy.train_step()
        if rank == 0 and step in orders:
            toy.emitter.orders.append(orders.pop(step))
        step = toy.guard.after_step(step, batch=batch, samples=batch[0], closs=loss)
    toy.guard.close()
    total = sum(float(p.detach().double().sum()) for p in toy.model.parameters())
    meeting.with_suffix(f".{rank}").write_text(json.dumps([step, total, toy.sampler.cursor]))


def fork(number: int, ranks: int, root: Path, scenario: Scenario | None) -> list[Any]:
    """Run all ranks to their end; results by rank, None of one that did not come so far."""
    meeting = root / f"meeting{number}"
    children = {}
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                train(rank, ranks, root, meeting, scenario)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(code)
        children[child] = rank
    end = time.monotonic() + PATIENCE
    while children:
        child, status = os.waitpid(-1, os.WUNTRACED | os.WNOHANG)
        if child and os.WIFSTOPPED(status):
            time.sleep(0.5)
            os.kill(child, signal.SIGCONT)
        elif child:
            del children[child]
        elif time.monotonic() > end:
            for child in children:
                os.kill(child, signal.SIGKILL)
            end = float("inf")
            meeting.with_suffix(".hung").touch()
        else:
            time.sleep(0.005)
    files = [meeting.with_suffix(f".{rank}") for rank in range(ranks)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def broken(scenario: Scenario, root: Path, quiet: list[Any]) -> str:
    """Why the scenario did not end as it must; empty where it did.

    Whoever was stopped or slow changes no number. Where one is killed the others end, and as many
    new ones go on from the newest checkpoint to the same numbers.
    """
    place = root / scenario.name
    place.mkdir()
    found = fork(0, scenario.ranks, place, scenario)
    if (place / "meeting0.hung").exists():
        return "a rank waits for ever"
    if scenario.how == "killed":
        if any(found):
            return f"a rank came to the end without the killed one: {found}"
        found = fork(1, scenario.ranks, place, None)
    return "" if found == quiet else f"{found} instead of {quiet}"


def tried(root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The name of each scenario, or of these, and what is broken in it."""
    quiet: dict[int, list[Any]] = {}
    for scenario in scenarios():
        if names and scenario.name not in names:
            continue
        if scenario.ranks not in quiet:
            place = root / f"quiet-{scenario.ranks}"
            place.mkdir()
            quiet[scenario.ranks] = fork(0, scenario.ranks, place, None)
        yield scenario.name, broken(scenario, root, quiet[scenario.ranks])


if __name__ == "__main__":
    sys.exit(report(tried))

"""The loop of small trainings on several ranks, with commands at planned steps."""

from __future__ import annotations

from typing import Any, Protocol

import torch.distributed as dist

from tests.vlamon.guard.toy import Emitter, Order
from vlamon.guard import Guard


class Planned(Protocol):
    """A training on one rank that knows its plan."""

    rank: int
    plan: dict[str, Any]
    emitter: Emitter

    def train_step(self, step: int) -> None: ...


def run_plan(training: Planned, guard: Guard) -> list[int]:
    """Train up to the plan's `total`, and return the steps in the order of their training.

    `orders` are commands by the step that they arrive at; after the steps in `settle_after` all
    ranks wait for their checkpoints.
    """
    plan = training.plan
    orders = {int(at): order for at, order in plan.get("orders", {}).items()}
    trail = []
    step = guard.start(plan.get("resume", True))
    while step < plan["total"] and not guard.stopped:
        training.train_step(step)
        trail.append(step)
        if training.rank == 0 and step in orders:
            name, args = orders.pop(step)
            training.emitter.orders.append(Order(name, args))
        step = guard.after_step(step)
        if step - 1 in plan.get("settle_after", ()):
            guard.snapshots.checkpoints.close()
            dist.barrier()
    guard.close()
    return trail

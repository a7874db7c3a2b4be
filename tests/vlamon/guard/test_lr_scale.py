"""A factor on the lr has its effect under every schedule, and leaves the plan as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as schedules

from vlamon.guard.lr_scale import LrScale


def nested(optimizer: Optimizer) -> Any:
    warmup = schedules.LinearLR(optimizer, 0.1, total_iters=20)
    return schedules.SequentialLR(
        optimizer, [warmup, schedules.CosineAnnealingLR(optimizer, 40)], [20]
    )


def chained(optimizer: Optimizer) -> Any:
    warmup = schedules.LinearLR(optimizer, 0.1, total_iters=20)
    return schedules.ChainedScheduler([warmup, schedules.ExponentialLR(optimizer, 0.99)])


class Written:
    """A loop that writes the rate itself."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.at = optimizer, 0

    def step(self) -> None:
        self.at += 1
        self.optimizer.param_groups[0]["lr"] = 0.5 / self.at


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "nested": nested,
    "chained": chained,
    "one cycle": lambda o: schedules.OneCycleLR(o, 0.1, total_steps=70),
    "cyclic": lambda o: schedules.CyclicLR(o, 1e-3, 0.1, 10, cycle_momentum=False),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 10),
    "lambda": lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + step)),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 60),
    "written": Written,
}


def run(
    name: str, scale: float, lr: Any = 0.25, **settings: Any
) -> tuple[list[float], list[float]]:
    """How far each step moved a weight whose gradient is 1, and the rates that were planned."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    optimizer = SGD(model.parameters(), lr=lr, **settings)
    scheduler = SCHEDULES[name](optimizer)
    rates = LrScale([optimizer])
    moved, planned = [], []
    for step in range(60):
        if step == 30:
            rates.set(scale)
        with torch.no_grad():
            model.weight.zero_()
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step()
        moved.append(-model.weight.item())
        scheduler.step()
        planned.append(float(optimizer.param_groups[0]["lr"]))
    return moved, planned


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_factor_lasts_under_every_schedule(name: str) -> None:
    plain, plan = run(name, 1.0)
    halved, planned = run(name, 0.5)
    assert halved[:30] == plain[:30]
    assert halved[30:] == [0.5 * rate for rate in plain[30:]]
    assert planned == plan


def test_a_rate_that_is_a_tensor_stays_the_same_tensor() -> None:
    plain, plan = run("cosine", 1.0, torch.tensor(0.25, dtype=torch.float64))
    halved, planned = run("cosine", 0.5, torch.tensor(0.25, dtype=torch.float64))
    assert halved[30:] == [0.5 * rate for rate in plain[30:]]
    assert planned == plan


def test_a_step_that_failed_leaves_no_factor_behind() -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = SGD([weight], lr=0.25)
    rates = LrScale([optimizer])
    rates.set(0.5)

    def broken() -> float:
        raise RuntimeError("out of memory")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            optimizer.step(broken)
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight.item() == -0.125
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_without_a_factor_the_optimizer_is_left_alone() -> None:
    optimizer = SGD([torch.zeros(1)], lr=0.25)
    LrScale([optimizer]).set(1.0)
    assert not optimizer._optimizer_step_pre_hooks

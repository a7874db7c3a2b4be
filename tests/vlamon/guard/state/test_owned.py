"""State that only an optimizer holds goes back with the weights, or the next step undoes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vlamon.guard import Guard, GuardSettings
from vlamon.guard.ring import Slot
from vlamon.guard.state.capture import TrainingState, Tree


class Masters(torch.optim.Optimizer):
    """Steps fp32 masters with an optimizer of its own, and copies them into a bf16 model."""

    def __init__(self, model: nn.Module) -> None:
        self.model_parameters = list(model.parameters())
        super().__init__(self.model_parameters, {"lr": 0.1})
        self.masters = [p.detach().float().requires_grad_() for p in self.model_parameters]
        self.inner = torch.optim.AdamW(self.masters, lr=0.1)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for parameter, master in zip(self.model_parameters, self.masters, strict=True):
            assert parameter.grad is not None
            master.grad = parameter.grad.float()
        self.inner.step()
        for parameter, master in zip(self.model_parameters, self.masters, strict=True):
            parameter.copy_(master)


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).bfloat16()


def kept(state: TrainingState) -> Tree:
    slot = Slot()
    slot.fill(state.capture())
    return slot.state()


def train(net: nn.Module, optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        net(torch.ones(1, 3, dtype=torch.bfloat16)).float().sum().backward()
        optimizer.step()
        net.zero_grad()


def weights(net: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_masters_that_only_the_parameter_groups_hold_are_put_back() -> None:
    net = model()
    masters = [p.detach().float().requires_grad_() for p in net.parameters()]
    optimizer = torch.optim.AdamW(masters, lr=0.1)
    state = TrainingState({"model": net, "optimizer.0": optimizer})
    saved, before = kept(state), [p.detach().clone() for p in masters]
    for master in masters:
        master.grad = torch.ones_like(master)
    optimizer.step()
    state.restore(saved)
    assert same([p.detach() for p in masters], before)


def test_the_optimizer_inside_a_wrapper_goes_back_with_its_masters_and_moments() -> None:
    net = model()
    optimizer = Masters(net)
    state = TrainingState({"model": net, "optimizer.0": optimizer})
    train(net, optimizer, 3)
    saved = kept(state)
    train(net, optimizer, 2)
    after = weights(net)
    state.restore(saved)
    train(net, optimizer, 2)
    assert same(weights(net), after), "the masters, or their moments, stayed where they were"


def test_a_wrapper_that_shares_its_state_is_saved_once() -> None:
    class Shared(torch.optim.SGD):
        """Delegates as Accelerate's wrapper does."""

        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__(inner.param_groups[0]["params"], lr=0.1)
            self.optimizer, self.state = inner, inner.state

    net = model()
    wrapped = Shared(torch.optim.SGD(net.parameters(), lr=0.1))
    state = TrainingState({"model": net, "optimizer.0": wrapped})
    assert set(state.capture()["parts"]) == {"model", "optimizer.0"}


def test_a_rollback_of_a_bf16_model_with_fp32_masters_lasts() -> None:
    net = model()
    optimizer = Masters(net)
    guard = Guard(net, optimizer, settings=GuardSettings(every=5, mode="auto"))
    step, lost = guard.start(), 0
    while step < 20:
        train(net, optimizer, 1)
        if step == 12 and not lost:
            lost += 1
            with torch.no_grad():
                for master in optimizer.masters:
                    master.fill_(1e6)
            step = guard.after_step(step, closs=float("nan"))
        else:
            step = guard.after_step(step, closs=1.0)
    assert lost
    assert max(float(p.detach().abs().max()) for p in net.parameters()) < 10.0
    guard.close()

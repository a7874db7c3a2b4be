"""A low-rank adapter on a frozen base: what a snapshot takes, and that it goes back exactly."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import Emitter, Order
from vlamon.guard import Guard, GuardSettings

SIZE, RANK = 192, 2
PEFT = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")


class LowRank(nn.Module):
    """A frozen linear layer and the product of two narrow matrices beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(0.1 * torch.randn(RANK, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T  # type: ignore[no-any-return]


def by_hand() -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 1).requires_grad_(False)
    return nn.Sequential(LowRank(first), nn.Dropout(0.1), last)


def by_peft() -> nn.Module:
    import peft

    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(SIZE, SIZE), nn.Dropout(0.1), nn.Linear(SIZE, 1))
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, lora_dropout=0.1, target_modules=["0"])
    return peft.get_peft_model(base, config)


KINDS = [by_hand, pytest.param(by_peft, marks=PEFT)]


def trained(make: Callable[[], nn.Module], back: bool = False, spoilt: int = -1) -> Any:
    """Thirty steps on it, with the adapter's parameters alone in the optimizer."""
    model, emitter = make(), Emitter()
    adapter = [parameter for parameter in model.parameters() if parameter.requires_grad]
    guard = Guard(
        model,
        torch.optim.AdamW(adapter, lr=0.01),
        emitter=emitter,  # type: ignore[arg-type]
        settings=GuardSettings(every=5, slots=4, patience=0, mode="off", data="replay"),
    )
    torch.manual_seed(1)
    for step, batch in guard.batches([torch.full((4, SIZE), i / 7) for i in range(7)], steps=30):
        if step == 20 and back:
            back = False
            emitter.orders.append(Order("rollback"))
        if step == spoilt:
            with torch.no_grad():
                next(p for p in model.parameters() if not p.requires_grad).zero_()
            spoilt = -1
        loss = (model(batch) - 1.0).pow(2).mean()
        loss.backward()
        if guard.check(step, closs=loss):
            guard.optimizers[0].step()
        guard.optimizers[0].zero_grad()
        guard.after_step(step)
    guard.close()
    return guard, model, emitter


@pytest.mark.parametrize("make", KINDS)
def test_an_adapter_goes_back_bit_for_bit(make: Callable[[], nn.Module]) -> None:
    (_, quiet, _), (_, back, told) = trained(make), trained(make, back=True)
    assert told.kinds("rollback")[0][1]["ok"]
    for one, other in zip(quiet.parameters(), back.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("make", KINDS)
def test_snapshots_hold_the_adapter_each_and_the_base_once(make: Callable[[], nn.Module]) -> None:
    guard, model, _ = trained(make)
    slots = guard.snapshots.ring.held()
    assert len(slots) > 3
    held = {tensor.data_ptr(): tensor.nbytes for slot in slots for tensor in slot.tensors}
    base = sum(p.nbytes for p in model.parameters() if not p.requires_grad)
    adapter = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    streams = 16_000  # of random numbers, a slot
    assert sum(held.values()) <= base + len(slots) * (3 * adapter + streams)
    assert base > 10 * 3 * adapter


@pytest.mark.parametrize("make", KINDS)
def test_a_base_that_was_overwritten_comes_back_with_the_adapter(
    make: Callable[[], nn.Module],
) -> None:
    (_, quiet, _), (_, back, told) = trained(make), trained(make, back=True, spoilt=20)
    assert told.kinds("rollback")[0][1]["ok"]
    for one, other in zip(quiet.parameters(), back.parameters(), strict=True):
        assert torch.equal(one, other)

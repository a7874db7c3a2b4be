"""What only a GPU has: pinned slots on a side stream, the fused gate, losses read one step late."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from vlamon.guard import Guard, GuardSettings
from vlamon.guard.gate import finite_here, may_step
from vlamon.guard.ring import Ring
from vlamon.guard.state.capture import TrainingState
from vlamon.guard.values import read

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


@pytest.fixture
def no_syncs() -> Iterator[None]:
    """A host sync within the test is an error."""
    torch.cuda.init()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def training() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.Dropout(0.1), nn.Linear(256, 1)).cuda()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    loss: torch.Tensor = (model(torch.randn(32, 64, device="cuda")) - 1.0).pow(2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def test_a_snapshot_is_pinned_fenced_and_exact() -> None:
    model, optimizer = training()
    step(model, optimizer)
    state = TrainingState({"model": model, "optimizer": optimizer})
    ring = Ring(2, 0)
    torch.manual_seed(7)
    slot = ring.take(0, state.capture(), trusted=True)
    assert slot is not None
    ring.fence()
    losses = [float(step(model, optimizer)) for _ in range(5)]
    assert any(tensor.is_pinned() for tensor in slot.tensors)
    state.restore(slot.state())
    assert [float(step(model, optimizer)) for _ in range(5)] == losses


def test_taking_a_snapshot_never_waits_for_the_device() -> None:
    model, optimizer = training()
    step(model, optimizer)
    state = TrainingState({"model": model, "optimizer": optimizer})
    ring = Ring(2, 0)
    ring.take(0, state.capture())
    ring.take(1, state.capture())
    # The stream of random numbers of a device is read on the host and may sync; it is not in here.
    parts = {"parts": state.capture()["parts"]}
    ring.take(2, parts)
    torch.cuda.set_sync_debug_mode("error")
    try:
        ring.take(3, parts)
        ring.fence()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_fused_optimizer_skips_a_nan_gradient_without_a_sync() -> None:
    model, optimizer = training()
    step(model, optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    counters = [optimizer.state[p]["step"].clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = {"closs": torch.ones((), device="cuda")}
        assert may_step([optimizer], finite_here([optimizer], values))
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    now = [optimizer.state[p]["step"] for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(now, counters, strict=True))


def test_an_optimizer_that_is_not_fused_is_held_back_by_the_host() -> None:
    model, _ = training()
    plain = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=False)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    assert not may_step([plain], finite_here([plain], {}))


@pytest.mark.usefixtures("no_syncs")
def test_losses_are_copied_without_a_sync() -> None:
    reading = read(3, {"closs": torch.ones((), device="cuda"), "lr": 1e-3})
    assert reading.pinned is not None
    assert reading.values == {"lr": 1e-3}


def test_an_explosion_is_answered_one_step_later() -> None:
    model, optimizer = training()
    guard = Guard(model, optimizer, settings=GuardSettings(every=5, slots=4, patience=1))
    at, seen = guard.start(), []
    for turn in range(140):
        loss = step(model, optimizer)
        if turn == 120:
            loss = loss * math.nan
        seen.append(at)
        at = guard.after_step(at, closs=loss)
    assert seen[121] == 121
    assert seen[122] < 121

"""A training of many parts goes back exactly: compiled, half precision with a scaler, an EMA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.vlamon.guard.toy import Emitter, Order
from vlamon.guard import Guard, GuardSettings


class Training:
    """A frozen base, an adapter that is trained in bf16 under a scaler, and an EMA of both."""

    def __init__(self, compiled: bool) -> None:
        torch.manual_seed(0)
        self.base = nn.Linear(8, 8).requires_grad_(False)
        self.plain = nn.Sequential(self.base, nn.Dropout(0.2), nn.Linear(8, 1))
        self.model: Any = torch.compile(self.plain, backend="eager") if compiled else self.plain
        trained = [p for p in self.plain.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.01)
        self.ema = AveragedModel(self.plain, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=7)
        self.emitter = Emitter()
        self.guard = Guard(
            self.model,
            self.optimizer,
            extras={"ema": self.ema, "scaler": self.scaler},
            emitter=self.emitter,  # type: ignore[arg-type]
            settings=GuardSettings(every=5, slots=40, patience=0, mode="watch", data="replay"),
        )
        self.losses: dict[int, float] = {}
        self.averages: list[list[torch.Tensor]] = []
        """The EMA behind every step, as a rollback at its end has left it."""

    def run(self, steps: int, back_at: int | None = None) -> None:
        torch.manual_seed(1)
        loader = [torch.full((4, 8), float(i % 5)) for i in range(10)]
        for step, batch in self.guard.batches(loader, steps=steps):
            if step == back_at:
                self.emitter.orders.append(Order("rollback", {"to": 9}))
                back_at = None
            with torch.autocast("cpu", torch.bfloat16):
                loss = self.model(batch).pow(2).mean()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            self.ema.update_parameters(self.plain)
            self.losses[step] = float(loss.detach())
            self.guard.after_step(step, closs=1.0)
            self.averages.append([tensor.clone() for tensor in self.ema.parameters()])
        self.guard.close()


def alike(one: nn.Module, other: nn.Module) -> Iterator[tuple[str, bool]]:
    """Of every parameter and buffer whether it is the same in both, to the bit."""
    theirs = dict(other.state_dict())
    for name, tensor in one.state_dict().items():
        yield name, torch.equal(tensor, theirs[name])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_replay_ends_where_a_quiet_training_does(compiled: bool) -> None:
    quiet, back = Training(compiled), Training(compiled)
    quiet.run(30)
    back.run(30, back_at=21)
    ((_, told),) = back.emitter.kinds("rollback")
    assert (told["ok"], told["to"], told["data"]) == (True, 9, "replay")
    # In the order in which one thing would spoil the next: what is said tells where it began.
    assert [step for step in range(30) if quiet.losses[step] != back.losses[step]] == []
    assert [name for name, same in alike(quiet.plain, back.plain) if not same] == []
    assert [name for name, same in alike(quiet.ema, back.ema) if not same] == []
    assert quiet.scaler.state_dict() == back.scaler.state_dict()


def test_the_average_of_the_weights_goes_back_with_them() -> None:
    training = Training(compiled=False)
    training.run(30, back_at=21)
    before, after = training.averages[9], training.averages[21]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    moved = zip(training.averages[20], after, strict=True)
    assert not all(torch.equal(a, b) for a, b in moved), "it had moved on"
    assert int(training.ema.n_averaged) == 30

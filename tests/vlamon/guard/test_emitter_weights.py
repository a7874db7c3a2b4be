"""Which losses are trained, and how much each counts: what the emitter was told holds here too."""

from __future__ import annotations

import math

import torch
from torch import nn

from tests.vlamon.guard.toy import Emitter
from vlamon.emitter.emitter import Emitter as RealEmitter
from vlamon.guard import Guard, GuardSettings


def told(guard: Guard, emitter: Emitter) -> list[int]:
    """Steps that explode in a healthy run whose z_loss, 1e-5 of the total, jumps once."""
    step = guard.start()
    while step < 200:
        z_loss = 4000.0 if step == 150 else 40.0 + math.sin(step)
        guard.check(step, closs=8.0 + 0.1 * math.sin(step), z_loss=z_loss)
        step = guard.after_step(step)
    return [step for step, _ in emitter.kinds("explode")]


def make(emitter: Emitter, **arguments: object) -> Guard:
    model = nn.Linear(2, 1)
    return Guard(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        emitter=emitter,  # type: ignore[arg-type]
        settings=GuardSettings(mode="watch"),
        **arguments,  # type: ignore[arg-type]
    )


def test_the_emitters_weights_keep_a_negligible_term_from_exploding() -> None:
    emitter = Emitter()
    emitter.weights = {"closs": 1.0, "z_loss": 1e-5}
    assert told(make(emitter), emitter) == []


def test_weights_of_the_guards_own_come_first() -> None:
    emitter = Emitter()
    emitter.weights = {"closs": 1.0, "z_loss": 1e-5}
    assert told(make(emitter, weights={"closs": 1.0, "z_loss": 1.0}), emitter) == [150]


def test_an_emitter_knows_its_weights_as_they_change() -> None:
    with RealEmitter(weights={"closs": 1.0}) as emitter:
        assert emitter.weights == {"closs": 1.0}
        emitter.set_weights({"closs": 1.0, "z_loss": 1e-5})
        assert emitter.weights == {"closs": 1.0, "z_loss": 1e-5}

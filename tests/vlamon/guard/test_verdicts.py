"""What is judged: everything that `check` is handed, in however many calls, and blocked updates."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import QUICK, Emitter
from vlamon.detect.spikes import ComponentDetectors, Judgement, Verdict
from vlamon.guard import Guard, GuardSettings, collectives
from vlamon.guard.gate import BLOCKED_IN_A_ROW, Blockage

SPIKE = 100


def make(**arguments: Any) -> tuple[Guard, Emitter, nn.Module]:
    model, emitter = nn.Linear(2, 1), Emitter()
    settings = GuardSettings(**{**QUICK, "mode": "watch", **arguments.pop("settings", {})})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guard = Guard(model, optimizer, emitter=emitter, settings=settings, **arguments)  # type: ignore[arg-type]
    guard.start()
    return guard, emitter, model


def usual(step: int) -> float:
    return 1 + 0.01 * math.sin(step)


def test_numbers_given_after_a_loss_do_not_hide_its_explosion() -> None:
    guard, emitter, _ = make()
    for step in range(SPIKE + 5):
        guard.check(step, closs=1e5 if step == SPIKE else usual(step))
        guard.after_step(step, grad_norm=usual(step), lr=0.1)
    ((step, data),) = emitter.kinds("explode")
    assert (step, data["metric"]) == (SPIKE, "closs")


def test_the_worst_of_several_micro_batches_is_reported() -> None:
    guard, emitter, _ = make()
    for step in range(SPIKE + 5):
        for part in range(3):
            guard.check(step, closs=1e5 if (step, part) == (SPIKE, 1) else usual(step))
        guard.after_step(step)
    ((step, data),) = emitter.kinds("explode")
    assert (step, data["value"]) == (SPIKE, 1e5)


@pytest.mark.parametrize(
    "name",
    ["l1_loss", "data_loss", "objective", "kl", "bce", "mae", "elbo", "val_closs", "time_loss"],
)
def test_what_check_is_handed_is_a_loss_whatever_it_is_called(name: str) -> None:
    guard, emitter, _ = make()
    for step in range(SPIKE + 5):
        guard.check(step, **{name: 1e4 if step == SPIKE else usual(step)})
        guard.after_step(step)
    ((step, data),) = emitter.kinds("explode")
    assert (step, data["metric"]) == (SPIKE, name)


def test_a_number_that_is_no_loss_is_not_taken_for_one() -> None:
    guard, emitter, _ = make()
    for step in range(SPIKE + 5):
        odd = 1e4 if step == SPIKE else usual(step)
        guard.check(step, closs=usual(step), lr=odd, acc_action=odd, grad_norm=odd)
        guard.after_step(step, throughput=odd, objective=odd)
    assert emitter.kinds("explode") == []


def test_names_and_weights_say_which_losses_are_judged() -> None:
    for chosen in ({"detectors": ComponentDetectors(["closs"])}, {"weights": {"closs": 1.0}}):
        guard, emitter, _ = make(**chosen)
        for step in range(SPIKE + 5):
            guard.check(step, closs=usual(step), kl=1e4 if step == SPIKE else usual(step))
            guard.after_step(step)
        assert emitter.kinds("explode") == []


def test_weights_of_other_names_leave_no_training_unjudged() -> None:
    guard, emitter, _ = make(weights={"closs": 1.0})
    for step in range(SPIKE + 5):
        guard.check(step, objective=1e4 if step == SPIKE else usual(step))
        guard.after_step(step)
    assert [step for step, _ in emitter.kinds("explode")] == [SPIKE]


def blocked(steps: range, mode: str = "watch") -> tuple[list[bool], Emitter]:
    guard, emitter, model = make(settings={"mode": mode})
    allowed = []
    for step in range(200):
        for parameter in model.parameters():
            odd = math.nan if step in steps else 0.1
            parameter.grad = torch.full_like(parameter, odd)
        allowed.append(guard.check(step, closs=usual(step)))
        guard.after_step(step)
    return allowed, emitter


@pytest.mark.parametrize("mode", ["watch", "off"])
def test_updates_that_a_gradient_blocks_are_reported_once_with_their_number(mode: str) -> None:
    allowed, emitter = blocked(range(100, 105), mode)
    assert allowed.count(False) == 5
    assert [step for step, _ in emitter.kinds("warn")] == [100]
    ((_, data),) = emitter.kinds("recovered")
    assert data["text"].startswith("updates go through again: 5 had")
    assert emitter.kinds("explode") == []


def test_updates_that_stay_blocked_are_an_explosion() -> None:
    _, emitter = blocked(range(100, 200))
    ((step, data),) = emitter.kinds("explode")
    assert step == 100 + BLOCKED_IN_A_ROW - 1
    assert data["metric"] == "grad_norm"
    assert f"no update for {BLOCKED_IN_A_ROW} steps" in data["text"]


def test_a_blockage_counts_a_step_once_and_knows_a_return() -> None:
    blockage = Blockage()
    assert blockage.note(5, True)
    assert not blockage.note(5, True)
    assert not blockage.note(6, True)
    assert (blockage.count, blockage.running) == (2, 2)
    assert blockage.note(2, True), "the training went back"
    assert (blockage.count, blockage.running) == (1, 1)


def test_an_explosion_of_another_rank_is_reported_by_its_own_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard, emitter, _ = make()
    verdict = Verdict("explode", math.inf, math.inf, "nan is not finite")
    there = (Judgement({"kl_loss": verdict}, "kl_loss"), {"kl_loss": math.nan}, [7, 8], "")
    monkeypatch.setattr(collectives, "everyone", lambda mine: [mine, there])
    monkeypatch.setattr(
        collectives,
        "decided",
        lambda *mine: collectives.count(
            collectives.cast(*mine) + collectives.cast("explode", None)
        ),
    )
    guard.check(0, closs=1.0)
    guard.after_step(0, samples=[1, 2])
    ((_, data),) = emitter.kinds("explode")
    assert data["text"] == "kl_loss nan on rank 1: nan is not finite"
    assert data["samples"] == [7, 8]

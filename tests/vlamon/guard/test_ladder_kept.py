"""What the ladder has learned, climbed and counted: through rollbacks and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vlamon.guard.test_guard import broken_weight
from tests.vlamon.guard.test_ladder import LADDER, a_large_gradient, accumulated, rollbacks, rungs
from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off, identical
from vlamon.guard import GuardSettings
from vlamon.guard.ledger import Ledger


def levels(toy: Toy) -> list[torch.Tensor]:
    saved = toy.guard._prevention.state_dict()["levels"]
    assert saved
    return list(saved)


def test_a_replay_meets_the_levels_as_they_were() -> None:
    quiet, back = Toy(checked=True, ladder=LADDER), Toy(checked=True, ladder=LADDER)
    quiet.run(120)
    back.run(120, {100: [Order("rollback", {"data": "replay"})]})
    assert len(rollbacks(back)) == 1
    assert identical(levels(quiet), levels(back)), "no step was learned twice"


def test_a_resume_knows_the_levels_at_once(tmp_path: Path) -> None:
    once = {4 * 65: far_off}
    Toy(tmp_path, checked=True, ladder=LADDER).run(61, {60: [Order("checkpoint")]})
    resumed = Toy(tmp_path, seed=5, checked=True, once=once, ladder=LADDER)
    resumed.run(80)
    assert resumed.trained[0] == 61
    assert rungs(resumed)[0] == "skip", "32 steps of watching lie before the resume"
    assert rollbacks(resumed) == []


@pytest.mark.parametrize(
    ("before", "after"), [(("rollback",), LADDER), (LADDER, ("rollback",)), (LADDER, ("lr",))]
)
def test_a_resume_may_have_another_ladder(before: Any, after: Any, tmp_path: Path) -> None:
    Toy(tmp_path, checked=True, ladder=before).run(41, {40: [Order("checkpoint")]})
    resumed = Toy(tmp_path, checked=True, ladder=after)
    resumed.run(45)
    assert resumed.trained == [41, 42, 43, 44]


def test_a_resume_goes_on_climbing_where_it_was(tmp_path: Path) -> None:
    fault, order = {4 * SPIKE: broken_weight}, Order("checkpoint")
    Toy(tmp_path, checked=True, once=fault, ladder=LADDER).run(SPIKE + 2, {SPIKE + 1: [order]})
    assert order.result
    resumed = Toy(tmp_path, checked=True, ladder=LADDER)
    resumed.run(SPIKE + 4)
    climbed = [d["rung"] for _, d in resumed.emitter.kinds("note") if "goes on by" in d["text"]]
    assert climbed == ["skip", "lr"], "two explosions were answered before the resume"
    assert resumed.guard.detection.episode is not None
    assert resumed.guard.detection.episode.lowered_from == 1.0, "and it can be taken back"


def test_what_the_ladder_did_outlives_a_rollback_and_a_resume(tmp_path: Path) -> None:
    orders = {100: [Order("rollback")], 120: [Order("checkpoint")]}
    toy = Toy(tmp_path, checked=True, once={4 * 60: a_large_gradient}, ladder=("clip", "rollback"))
    toy.run(121, orders)
    assert len(rollbacks(toy)) == 1
    assert (toy.guard.ledger.skipped, toy.guard.ledger.clipped) == (0, 1)
    resumed = Toy(tmp_path, checked=True, once={4 * 228: far_off}, ladder=LADDER)
    resumed.run(180)
    told = resumed.emitter.last_words["guard"]
    assert (told["updates_skipped"], told["updates_clipped"], told["lr_lowered"]) == (1, 1, 0)


def test_an_update_that_several_calls_skip_counts_once() -> None:
    _, guard = accumulated(50)
    assert guard.ledger.skipped == 1


def test_a_lower_lr_of_the_ladder_counts_until_its_budget_is_free() -> None:
    ledger = Ledger(GuardSettings(ladder=("lr",), budget_steps=100))
    ledger.lower_lr(0.5)
    for _ in range(100):
        ledger.tick()
    assert ledger.backoffs == 1
    ledger.tick()
    assert ledger.backoffs == 0
    assert ledger.lr_scale == 0.5, "it stays lower"


def test_an_operators_lr_is_not_taken_back_by_the_ladder() -> None:
    toy = Toy(checked=True, once={4 * SPIKE: broken_weight}, ladder=LADDER)
    toy.run(SPIKE + 60, {SPIKE + 3: [Order("set", {"name": "lr_scale", "value": 0.25})]})
    (back,) = rollbacks(toy)
    assert back["lr_scale"] == 0.25

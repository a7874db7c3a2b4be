"""What rollbacks cost, and when it is paid back."""

from __future__ import annotations

import json

import pytest

from vlamon.guard import Decision, GuardSettings
from vlamon.guard.ledger import Ledger

BACK = Decision(action="rollback")
LOWER = Decision(action="rollback", lr_factor=0.5)


def ledger(ticks: int = 0, **settings: int) -> Ledger:
    return run(Ledger(GuardSettings(**{"budget_steps": 100, **settings})), ticks)  # type: ignore[arg-type]


def run(held: Ledger, ticks: int) -> Ledger:
    for _ in range(ticks):
        held.tick()
    return held


def test_a_rollback_costs_budget_until_the_steps_of_the_budget_are_over() -> None:
    held = ledger(10, budget=2)
    held.rolled_back(BACK)
    assert (held.budget_left, held.rollbacks, held.attempt) == (1, 1, 1)
    run(held, 30)
    held.rolled_back(BACK)
    assert held.budget_left == 0
    assert run(held, 70).budget_left == 0, "a hundred steps since the first"
    assert run(held, 1).budget_left == 1
    assert run(held, 30).budget_left == 2


def test_a_rollback_beyond_the_budget_is_counted_and_costs_no_more_than_there_is() -> None:
    held = ledger(budget=1)
    for _ in range(3):
        held.rolled_back(BACK)
    assert (held.budget_left, held.rollbacks, held.attempt) == (0, 3, 3)
    assert len(held.spent) == 1


def test_an_operators_rollback_is_free() -> None:
    held = ledger(5)
    held.rolled_back(None)
    assert (held.budget_left, held.rollbacks, held.attempt) == (3, 1, 1)
    assert held.just_rolled_back


def test_a_lower_lr_is_a_back_off_instead_of_budget_and_is_multiplied() -> None:
    held = ledger(7)
    held.rolled_back(LOWER)
    held.rolled_back(LOWER)
    assert (held.budget_left, held.backoffs, held.last_lowered) == (3, 2, 7)
    assert held.lr_scale == 0.25


def test_back_offs_are_free_again_when_the_oldest_rollback_no_longer_counts() -> None:
    held = ledger(1, budget=1)
    held.rolled_back(BACK)
    run(held, 40)
    held.lower_lr(0.5)
    assert run(held, 60).backoffs == 1
    assert run(held, 1).backoffs == 0
    assert held.lr_scale == 0.5, "the lr stays where it is"


def test_back_offs_without_a_rollback_are_free_again_by_themselves() -> None:
    held = ledger(50)
    held.lower_lr(0.5)
    assert run(held, 100).backoffs == 1
    assert run(held, 1).backoffs == 0


def test_steps_since_a_rollback_are_counted_from_its_own() -> None:
    held = ledger(3)
    assert held.since_rollback is None
    assert not held.just_rolled_back
    held.rolled_back(BACK)
    assert held.just_rolled_back
    run(held, 1)
    assert (held.since_rollback, held.just_rolled_back) == (1, False)


@pytest.mark.parametrize(("steps", "margin"), [(0, 64), (20, 64), (21, 16)])
def test_trouble_within_the_cooldown_skips_four_times_as_much(steps: int, margin: int) -> None:
    held = ledger(cooldown=20, margin=16)
    assert held.margin == 16
    held.rolled_back(BACK)
    assert run(held, steps).margin == margin


def test_updates_that_the_ladder_prevented_are_counted_by_rung() -> None:
    held = ledger()
    for rung in ("clip", "skip", "skip"):
        held.prevented(rung)
    assert (held.clipped, held.skipped) == (1, 2)


def test_nothing_is_spent_at_first() -> None:
    counts = Ledger(GuardSettings()).state_dict()
    assert (counts.pop("mode"), counts.pop("lr_scale")) == ("auto", 1.0)
    assert not any(counts.values())


def test_a_resume_takes_everything_over_but_the_mode() -> None:
    held = ledger(10)
    held.rolled_back(BACK)
    held.rolled_back(LOWER)
    held.mode = "watch"
    state = json.loads(json.dumps(held.state_dict()))
    again = Ledger(held.settings, mode="ask")
    again.load_state_dict(state)
    assert again.mode == "ask"
    assert again.state_dict() == {**held.state_dict(), "mode": "ask"}
    again.spent.append(99)
    assert state["spent"] == held.spent, "nothing is shared"

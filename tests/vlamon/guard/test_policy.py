"""What is decided about an explosion: a table of situations, and policies of a user's own."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from vlamon.guard import Decision, DefaultPolicy, GuardSettings, Policy, Situation

ASKED = Decision(action="ask", deadline=600.0)
LAST_ASKED = Decision(action="ask", deadline=3600.0, last_resort=True)
SPENT: dict[str, Any] = {"budget_left": 0, "backoffs": 1, "lr_scale": 0.5}


@pytest.mark.parametrize(
    ("situation", "decision"),
    [
        ({"mode": "watch"}, {"action": "report"}),
        ({"mode": "off"}, {"action": "report"}),
        ({"mode": "auto"}, {"action": "rollback", "older": False, "lr_factor": 1.0}),
        ({"mode": "auto", "since_rollback": 101}, {"action": "rollback", "older": False}),
        ({"mode": "auto", "since_rollback": 100}, {"action": "rollback", "older": True}),
        ({"mode": "auto", "since_rollback": 0}, {"action": "rollback", "older": True}),
        (
            {"mode": "auto", "budget_left": 0, "since_rollback": 100},
            {"action": "rollback", "lr_factor": 0.5, "older": True},
        ),
        ({"mode": "auto", "budget_left": 1}, {"lr_factor": 1.0, "why": "1 left in budget"}),
        ({"mode": "auto", "budget_left": 0}, {"action": "rollback", "lr_factor": 0.5}),
        ({"mode": "auto", **SPENT}, {"action": "ask", "deadline": 3600.0, "last_resort": True}),
        ({"mode": "auto", **SPENT, "unanswered": LAST_ASKED}, {"action": "stop"}),
        ({"mode": "ask"}, {"action": "ask", "deadline": 600.0, "last_resort": False}),
        ({"mode": "ask", "unanswered": ASKED}, {"action": "rollback"}),
        ({"mode": "ask", **SPENT}, {"action": "ask", "last_resort": False}),
        ({"mode": "ask", **SPENT, "unanswered": ASKED}, {"action": "ask", "last_resort": True}),
        ({"mode": "ask", **SPENT, "unanswered": LAST_ASKED}, {"action": "stop"}),
        ({"mode": "watch", "unanswered": ASKED}, {"action": "report"}),
        ({"mode": "watch", **SPENT, "unanswered": LAST_ASKED}, {"action": "report"}),
    ],
)
def test_the_shipped_policy(situation: dict[str, Any], decision: dict[str, Any]) -> None:
    decided = DefaultPolicy(GuardSettings()).decide(Situation(**{"budget_left": 3, **situation}))
    assert {name: getattr(decided, name) for name in decision} == decision
    assert decided.why


@pytest.mark.parametrize(
    ("situation", "why", "factor"),
    [
        ({"prevented": "skip"}, "its update was skipped", 1.0),
        ({"prevented": "clip"}, "its gradients were clipped", 1.0),
        ({}, "lr × 0.25", 0.25),
        ({"lowered": True, "budget_left": 0}, "budget spent, lr × 0.25", 0.25),
        ({"unanswered": ASKED, "prevented": "skip"}, "3 left in budget", 1.0),
        ({"mode": "watch"}, "guard is in watch mode", 1.0),
        ({"lowered": True, "mode": "ask"}, "guard is in ask mode", 1.0),
    ],
)
def test_a_decision_says_why(situation: dict[str, Any], why: str, factor: float) -> None:
    settings = GuardSettings(ladder=("clip", "skip", "lr", "rollback"), backoff=0.25)
    given = {"mode": "auto", "budget_left": 3, **situation}
    decided = DefaultPolicy(settings).decide(Situation(**given))
    assert (decided.why, decided.lr_factor) == (why, factor)


def test_a_question_has_the_deadline_of_the_settings_and_its_end_says_so() -> None:
    policy = DefaultPolicy(GuardSettings(deadline=7.0, last_deadline=90.0))
    assert policy.decide(Situation(mode="ask", budget_left=3)).deadline == 7.0
    last = policy.decide(Situation(mode="auto", **SPENT))
    assert (last.deadline, last.why) == (90.0, "budget and lr back-off are spent")
    ended = policy.decide(Situation(mode="auto", unanswered=last, **SPENT))
    assert ended.why == "budget and lr back-off are spent, and nobody answered in 90 s"


def test_a_decision_of_an_action_alone_asks_for_nothing_else() -> None:
    plain = Decision(action="rollback")
    assert (plain.older, plain.lr_factor, plain.rung) == (False, 1.0, "")
    assert (plain.deadline, plain.last_resort) == (None, False)


class Recording:
    """A policy of a user's own: the lr is halved at every rollback, whatever the budget."""

    def __init__(self) -> None:
        self.seen: list[Situation] = []

    def decide(self, situation: Situation) -> Decision:
        self.seen.append(situation)
        return Decision(action="rollback", lr_factor=0.5, why="as I please")


def guarded(policy: Policy, **arguments: Any) -> Toy:
    toy = Toy(faults={4 * SPIKE: far_off}, **arguments)
    toy.guard.response.policy = policy
    return toy


def test_a_custom_policy_gets_the_situation_and_decides() -> None:
    policy = Recording()
    toy = guarded(policy)
    toy.run(200)
    ((step, rollback),) = toy.emitter.kinds("rollback")
    (situation,) = policy.seen
    assert (situation.step, situation.metric, situation.mode) == (step, "closs", "auto")
    assert situation.ratio > 100
    assert situation.value is not None
    assert rollback["lr_scale"] == toy.guard.lr_scale == 0.5
    assert "as I please" in rollback["text"]


def test_a_policy_that_stops_ends_the_loop() -> None:
    class Stopping:
        def decide(self, situation: Situation) -> Decision:
            return Decision(action="stop", why="this run is over")

    toy = guarded(Stopping())
    assert toy.run(200) == SPIKE + 1
    assert "this run is over: the training stops" in toy.emitter.kinds("paused")[0][1]["text"]


@pytest.mark.parametrize("wrong", [None, "rollback", Decision(action="dance")])  # type: ignore[arg-type]
def test_a_policy_that_fails_is_reported_and_the_shipped_one_decides(wrong: Any) -> None:
    class Broken:
        def decide(self, situation: Situation) -> Decision:
            if wrong is None:
                raise ZeroDivisionError("no budget")
            return wrong  # type: ignore[no-any-return]

    toy = guarded(Broken())
    toy.run(200)
    assert [data["ok"] for _, data in toy.emitter.kinds("rollback")] == [True]
    assert "the policy failed, the default one decides" in toy.emitter.kinds("note")[0][1]["text"]


def test_a_job_that_nobody_answers_ends_instead_of_standing_still_for_ever() -> None:
    toy = Toy(budget=0, backoffs=0, last_deadline=0.2, faults={4 * SPIKE: far_off})
    assert toy.run(200) == SPIKE + 1
    assert toy.guard.stopped
    asked, ended = (data for _, data in toy.emitter.kinds("paused"))
    assert abs(asked["deadline"] - time.time()) < 120, "seconds since the epoch"
    assert "nobody answered in 0.2 s: the training stops" in ended["text"]


def test_an_answer_before_the_last_deadline_is_obeyed() -> None:
    toy = Toy(budget=0, backoffs=0, last_deadline=math.inf, faults={4 * SPIKE: far_off})
    toy.emitter.answers["paused"] = [Order("resume")]
    assert toy.run(200) == 200
    assert [data["deadline"] for _, data in toy.emitter.kinds("paused")] == [None]

"""A paused training: which commands it takes, and what ends the pause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from vlamon.guard.ending import Ending


@dataclass
class Then(Order):
    """An order after whose answer the operator gives the next one."""

    toy: Toy | None = None
    following: Order | None = None

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        super().done(result)
        self._next()

    def refuse(self, reason: str) -> None:
        super().refuse(reason)
        self._next()

    def _next(self) -> None:
        if self.toy is not None and self.following is not None:
            self.toy.emitter.orders.append(self.following)


def one_by_one(toy: Toy, *orders: tuple[str, dict[str, Any]] | str) -> list[Then]:
    """Orders that are given each when the one before it was answered."""
    made = [Then(*(each if isinstance(each, tuple) else (each,))) for each in orders]
    for each, following in pairwise(made):
        each.toy, each.following = toy, following
    return made


def kinds(toy: Toy, *wanted: str) -> list[str]:
    return [kind for kind, _, _ in toy.emitter.events if kind in wanted]


def test_a_rollback_after_two_pauses_takes_the_step_counter_along() -> None:
    toy = Toy()
    orders = one_by_one(toy, "pause", "pause", ("rollback", {"data": "replay"}))
    assert toy.run(160, {150: [orders[0]]}) == 160
    rolled = orders[2].result
    assert rolled is not None
    assert toy.trained[151] == rolled["step"] + 1
    plain = Toy()
    plain.run(160)
    assert toy.losses == plain.losses


def test_a_stop_after_two_pauses_stops() -> None:
    toy = Toy()
    orders = one_by_one(toy, "pause", "pause", "stop")
    assert toy.run(160, {150: [orders[0]]}) == 151
    assert [each.error for each in orders] == ["", "", ""]


def test_one_resume_ends_any_number_of_pauses() -> None:
    toy = Toy()
    orders = one_by_one(toy, "pause", "pause", "pause", "resume", "resume")
    assert toy.run(20, {10: [orders[0]]}) == 20
    assert orders[3].result == {"step": 10}
    assert "not paused" in orders[4].error
    assert kinds(toy, "paused", "resumed") == ["paused", "resumed"]


def test_a_refused_order_leaves_the_training_paused() -> None:
    toy = Toy(slots=0)
    orders = one_by_one(toy, "pause", "rollback", ("rollback", {"to": 3}), "note", "stop")
    assert toy.run(160, {150: [orders[0]]}) == 151, "it stood still until the stop"
    assert "no trusted snapshot" in orders[1].error
    assert [data["text"] for _, data in toy.emitter.kinds("resumed")] == ["to stop"]


def test_a_refused_rollback_leaves_the_question_open_and_the_snapshots_alone() -> None:
    toy = Toy(mode="ask", deadline=600.0, slots=12, faults={4 * SPIKE: far_off})
    orders = one_by_one(toy, ("rollback", {"to": 9999}), ("rollback", {"to": SPIKE - 20}))
    toy.emitter.answers["paused"] = [orders[0]]
    toy.run(200)
    assert "step 9999 was not trained yet" in orders[0].error
    rolled = orders[1].result
    assert rolled is not None
    assert SPIKE - 40 < rolled["step"] <= SPIKE - 20, "too young to be trusted, and still there"
    assert rolled["cause"] == "data"


def test_a_pause_while_the_operator_is_asked_lifts_the_deadline() -> None:
    toy = Toy(mode="ask", deadline=600.0, faults={4 * SPIKE: far_off})
    orders = one_by_one(toy, "pause", "resume")
    toy.emitter.answers["paused"] = [orders[0]]
    assert toy.run(200) == 200
    assert kinds(toy, "paused", "resumed", "rollback") == ["paused", "resumed"]
    deadlines = [s["deadline"] for s in toy.emitter.statuses if s["state"] == "paused"]
    assert deadlines[0] is not None
    assert deadlines[-1] is None


def test_watch_mode_set_while_asked_holds_when_the_deadline_passes() -> None:
    toy = Toy(mode="ask", deadline=0.3, faults={4 * SPIKE: far_off})
    toy.emitter.answers["paused"] = [Order("set", {"name": "guard", "value": "watch"})]
    assert toy.run(200) == 200
    assert toy.emitter.kinds("rollback") == []
    assert "watch mode" in toy.emitter.kinds("resumed")[0][1]["text"]


def test_a_spent_budget_is_asked_about_for_ever_also_behind_a_deadline() -> None:
    toy = Toy(mode="ask", deadline=0.0, budget=0, backoffs=0, faults={4 * SPIKE: far_off})
    toy.emitter.answers["paused"] = [Order("note"), Order("stop")]
    assert toy.run(200) == SPIKE + 1
    assert "budget and lr back-off are spent" in toy.emitter.kinds("paused")[1][1]["text"]


def test_monitors_read_paused_as_long_as_it_is(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    setting = ("set", {"name": "lr_scale", "value": 0.5})
    orders = one_by_one(toy, "pause", "checkpoint", setting, "rollback", "resume")
    toy.run(20, {10: [orders[0]]})
    told = [status["state"] for status in toy.emitter.statuses]
    between = told[told.index("paused") : len(told) - told[::-1].index("paused")]
    assert set(between) == {"paused", "checkpointing"}
    assert between.count("paused") >= 3


@pytest.mark.parametrize("mode", ["auto", "ask"])
def test_whoever_must_end_the_training_reaches_it_in_its_pause(mode: str) -> None:
    faults = {} if mode == "auto" else {4 * SPIKE: far_off}
    toy = Toy(mode=mode, deadline=600.0, faults=faults)
    told = toy.emitter.kinds
    toy.guard.commands.ending = Ending(lambda: bool(told("note")))
    toy.emitter.answers["paused"] = [Order("note", {"text": "SIGTERM"})]
    at = {SPIKE: [Order("pause")]} if mode == "auto" else {}
    assert toy.run(200, at) == SPIKE + 1
    assert toy.guard.stopped
    assert "told to end" in told("resumed")[0][1]["text"]


def test_a_broken_should_stop_is_asked_once_and_leaves_the_pause_to_the_operator() -> None:
    toy = Toy()
    asked: list[int] = []

    def broken() -> bool:
        asked.append(1)
        raise OSError("no such clock")

    toy.guard.commands.ending = Ending(broken)
    note = Order("note", {"text": "looking"})
    toy.emitter.answers = {"paused": [note], "note": [Order("resume")]}
    assert toy.run(20, {10: [Order("pause")]}) == 20
    assert asked == [1]

"""An explosion that the training goes on with is told once, and hides nothing after it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import QUICK, Emitter, Order
from vlamon.detect.spikes import Judgement, Verdict
from vlamon.guard import Guard, GuardSettings
from vlamon.guard.episode import UNANSWERED_AFTER, Episode, alarming, worst_ratio

ONSET = 100
WORSE = 160


class Told:
    """A guard that is told losses instead of measuring them."""

    def __init__(self, **settings: Any) -> None:
        model = nn.Linear(2, 1)
        self.emitter = Emitter()
        self.guard = Guard(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            emitter=self.emitter,  # type: ignore[arg-type]
            settings=GuardSettings(**{**QUICK, **settings}),
        )

    def run(self, losses: list[float], at: dict[int, list[Order]] | None = None) -> list[int]:
        """The steps after which the training did not go on with the next one."""
        self.guard.start()
        back = []
        for step, loss in enumerate(losses):
            self.emitter.orders += (at or {}).get(step, [])
            self.guard.check(step, closs=loss * (1 + 0.01 * math.sin(step)))
            if self.guard.after_step(step) != step + 1:
                back.append(step)
        return back

    def steps(self, kind: str) -> list[int]:
        return [step for step, _ in self.emitter.kinds(kind)]


def plateau(length: int = 60) -> list[float]:
    return [1.0] * ONSET + [4.0] * length


@pytest.mark.parametrize("worse", [math.nan, math.inf, 4e6])
@pytest.mark.parametrize("mode", ["watch", "ask"])
def test_worse_trouble_after_a_level_that_stayed_is_seen(mode: str, worse: float) -> None:
    told = Told(mode=mode, deadline=600.0)
    told.emitter.answers["paused"] = [Order("resume"), Order("resume")]
    told.run([*plateau(WORSE - ONSET), *[worse] * 30])
    first, second = told.steps("explode")
    assert ONSET <= first < ONSET + 5
    assert second == WORSE
    assert told.steps("paused") == ([first, second] if mode == "ask" else [])


def test_another_mode_answers_what_the_one_before_let_pass() -> None:
    told = Told(mode="watch")
    order = Order("set", {"name": "guard", "value": "auto"})
    back = told.run(plateau(), {130: [order]})
    assert back[:1] == [131]
    assert told.steps("explode")[1] == 131


def test_another_lr_is_no_reason_to_tell_an_explosion_once_more() -> None:
    told = Told(mode="watch")
    told.run(plateau(), {130: [Order("set", {"name": "lr_scale", "value": 0.5})]})
    assert len(told.steps("explode")) == 1


def test_a_level_that_the_operator_accepted_is_the_usual_one_and_is_kept_again() -> None:
    told = Told(mode="ask", deadline=600.0)
    told.emitter.answers["paused"] = [Order("resume"), Order("resume")]
    told.run([*plateau(150), 400.0])
    assert len(told.steps("explode")) == 2
    assert told.steps("explode")[1] == ONSET + 150
    (note,) = (data["text"] for _, data in told.emitter.kinds("note"))
    assert "closs 4" in note
    assert "the usual level" in note
    assert max(slot.step for slot in told.guard.snapshots.ring.held() if slot.trusted) > ONSET + 30


def test_an_unanswered_level_is_the_usual_one_in_the_end() -> None:
    told = Told(mode="watch")
    told.guard.detection.detectors.observe = lambda values, weights=None: Judgement(  # type: ignore[method-assign, misc]
        {"closs": Verdict("explode", 9.0, 4.0, "for ever")}, "closs"
    )
    told.run([1.0] * (2 * UNANSWERED_AFTER + 20))
    assert told.steps("explode") == [0], "told once"
    assert told.steps("note") == [UNANSWERED_AFTER, 2 * UNANSWERED_AFTER], "and never forgotten"


def test_a_loss_that_stays_non_finite_is_said_again() -> None:
    told = Told(mode="watch")
    told.run([1.0] * 50 + [math.nan] * (UNANSWERED_AFTER + 20))
    assert told.steps("explode") == [50]
    ((step, data),) = told.emitter.kinds("warn")
    assert step == 50 + UNANSWERED_AFTER
    assert "has not been finite for" in data["text"]


def exploding(*ratios: float) -> Judgement:
    names = ("closs", "total")
    pairs = zip(names, ratios, strict=False)
    return Judgement({name: Verdict("explode", 9.0, each, "") for name, each in pairs}, "closs")


@pytest.mark.parametrize(
    ("episode", "ratios", "news"),
    [
        (Episode(10, 12, worst=4.0), (30.0,), False),
        (Episode(10, 12, worst=4.0), (32.0,), False),
        (Episode(10, 12, worst=4.0), (33.0,), True),
        (Episode(10, 12, worst=4.0), (5.0, 33.0), True),
        (Episode(10, 12, worst=4.0), (math.inf,), True),
        (Episode(10, 12, worst=math.inf), (math.inf,), False),
        (Episode(10, 12, worst=math.inf), (1e9,), False),
        (Episode(10, 12, worst=4.0, climbed=1), (5.0,), True),
        (Episode(10, 12, worst=4.0, climbed=1, accepted=True), (5.0,), False),
        (Episode(10, 12, worst=0.5), (math.nan,), False),
    ],
)
def test_a_rise_to_a_few_times_the_reported_ratio_is_the_same_explosion(
    episode: Episode, ratios: tuple[float, ...], news: bool
) -> None:
    assert episode.is_news(exploding(*ratios)) is news


def test_a_level_that_stays_is_looked_at_after_twelve_steps_or_five_hundred() -> None:
    accepted, alone = Episode(10, 12, worst=4.0, accepted=True), Episode(10, 12, worst=4.0)
    assert [accepted.overdue(step) for step in (21, 22)] == [False, True]
    assert [alone.overdue(step) for step in (509, 510)] == [False, True]


def test_only_what_explodes_is_worse_than_usual_and_what_warns_is_alarming() -> None:
    verdicts = {
        "closs": Verdict("explode", 9.0, 5.0),
        "total": Verdict("warn", 9.0, 50.0),
        "aux": Verdict("ok", 0.0, 1.0),
    }
    judgement = Judgement(verdicts, "closs")
    assert worst_ratio(judgement) == 5.0
    assert alarming(judgement) == ["closs", "total"]
    assert worst_ratio(Judgement()) == 1.0


def test_a_refused_rollback_leaves_the_guard_awake() -> None:
    told = Told(slots=0, mode="watch")
    told.run([1.0] * 60 + [1e4] + [1.0], {59: [Order("rollback")]})
    assert told.steps("explode") == [60]


@pytest.mark.parametrize(("calm", "same"), [(12, True), (13, False)])
def test_an_explosion_that_a_rung_answered_is_the_same_until_twelve_steps_were_calm(
    calm: int, same: bool
) -> None:
    detection = Told().guard.detection
    first = detection.begin_episode(100, 5.0, 98)
    again = detection.begin_episode(101, 4.0, 101)
    assert again is not first, "no rung has answered it"
    assert (again.worst, again.onset) == (5.0, 101)
    again.climbed = 1
    later = detection.begin_episode(101 + calm, 7.0, 99)
    assert (later is again) is same
    assert (later.worst, later.last) == (7.0, 101 + calm)
    assert later.onset == (101 if same else 99)

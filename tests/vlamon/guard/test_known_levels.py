"""After a return the losses are judged by what was known before it; no all-clear while exploded."""

from __future__ import annotations

import math

import torch

from tests.vlamon.guard.toy import Toy
from vlamon.detect.spikes import SpikeRules
from vlamon.guard.known_levels import KnownLevels


def known(levels: list[float], to: int = -1) -> KnownLevels:
    """A branch whose losses were these, left with a return to step `to`."""
    found = KnownLevels(SpikeRules())
    for step, level in enumerate(levels):
        found.record(step, {"closs": level})
    found.turn_back(to, onset=len(levels))
    return found


def test_a_fall_that_is_trained_once_more_is_no_explosion() -> None:
    fall = [1000.0 / (1 + step) for step in range(60)]
    found = known(fall)
    assert [found.excess("closs", value) for value in fall] == [0.0] * 60
    assert found.elevated({"closs": 20.0}) is None


def test_far_above_what_was_known_explodes_at_once_and_less_far_the_second_time() -> None:
    found = known([1.0] * 40)
    assert found.excess("closs", 25.0) == 25.0
    found = known([1.0] * 40)
    assert [found.excess("closs", value) for value in (6.0, 1.0, 6.0)] == [0.0, 0.0, 6.0]
    assert found.elevated({"closs": 6.0}) == ("closs", 6.0)


def test_the_rise_before_an_explosion_is_not_taken_for_known() -> None:
    found = known([1.0] * 40 + [3.0] * 10)
    assert found.excess("closs", 25.0) == 25.0


def test_two_calm_values_are_no_level() -> None:
    assert known([1.0, 1.0]).excess("closs", 1000.0) == 0.0


def test_a_proved_return_ends_it() -> None:
    found = known([1.0] * 40)
    found.forget()
    assert found.excess("closs", 1000.0) == 0.0


def test_a_hot_update_right_behind_the_return_is_seen_and_gone_back_from() -> None:
    """lr × 1e4 for three updates from step 20: two of them lie before the return to the start."""
    left = [3]

    def hot(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        if left[0] and (left[0] < 3 or toy.sampler.cursor == 4 * 21):
            left[0] -= 1
            for group in toy.optimizer.param_groups:
                group["lr"] = 30.0
        return y

    toy = Toy(faults={4 * step: hot for step in range(600)}, slots=2, every=400, near=0)
    toy.guard.rollback.explainer.probe = toy.guard.rollback.explainer.replay = None
    toy.run(200)
    rollbacks = toy.emitter.kinds("rollback")
    assert len(rollbacks) == 2
    assert [data["to"] for _, data in rollbacks] == [-1, -1]
    second = toy.emitter.kinds("explode")[1][1]
    assert "the highest level known before the rollback" in second["text"]
    assert max(list(toy.losses.values())[-20:]) < 20
    assert len(toy.emitter.kinds("recovered")) == 1


def test_four_calm_values_are_a_ceiling_and_three_are_not() -> None:
    found = KnownLevels(SpikeRules())
    for count, ceiling in ((3, False), (4, True)):
        for step in range(count):
            found.record(step, {"closs": 1.0})
        found.turn_back(-1, onset=count)
        assert bool(found.excess("closs", 50.0)) is ceiling


def test_the_steps_right_before_an_onset_count_only_where_the_stretch_is_short() -> None:
    """What rose already may belong to the explosion; a short stretch has nothing else."""
    for onset, excess in ((24, 0.0), (25, 50.0)):
        found = KnownLevels(SpikeRules())
        for step in range(onset):
            found.record(step, {"closs": 50.0 if step >= onset - 12 else 1.0})
        found.turn_back(0, onset)
        assert found.excess("closs", 50.0) == excess


def test_what_the_branch_had_behind_the_return_is_forgotten() -> None:
    found = known([1.0] * 20 + [5.0] * 20, to=19)
    found.forget()
    for step in range(20, 60):
        found.record(step, {"closs": 1.0})
    found.turn_back(-1, onset=60)
    assert found.excess("closs", 25.0) == 25.0


def test_the_step_that_is_returned_to_is_no_part_of_the_stretch_and_stays() -> None:
    def turned(*places: int) -> KnownLevels:
        found = KnownLevels(SpikeRules())
        for step in range(60):
            found.record(step, {"closs": 100.0 if step == 10 else 1.0})
        for place in places:
            found.turn_back(place, onset=60)
        return found

    assert turned(10).excess("closs", 25.0) == 25.0
    assert turned(9).excess("closs", 25.0) == 0.0
    again = turned(10, 9)
    assert again.excess("closs", 25.0) == 25.0, "one step is no stretch to learn from"
    again = turned(10)
    for step in range(11, 20):
        again.record(step, {"closs": 1.0})
    again.turn_back(-1, onset=20)
    assert again.excess("closs", 25.0) == 0.0, "step 10 is remembered"


def test_a_long_stretch_counts_up_to_twelve_steps_before_the_onset() -> None:
    for step, excess in ((47, 0.0), (48, 25.0)):
        found = KnownLevels(SpikeRules())
        for each in range(60):
            found.record(each, {"closs": 100.0 if each == step else 1.0})
        found.turn_back(-1, onset=60)
        assert found.excess("closs", 25.0) == excess


def test_two_of_three_steps_far_above_explode_and_two_of_four_do_not() -> None:
    assert [known([1.0] * 40).excess("closs", value) for value in (20.0, 20.5)] == [0.0, 20.5]
    found = known([1.0] * 40)
    assert [found.excess("closs", each) for each in (6.0, 1.0, 1.0, 6.0)] == [0.0] * 4
    found = known([1.0] * 40)
    assert [found.excess("closs", each) for each in (5.0, 5.0, 6.0, 6.0)] == [0.0, 0.0, 0.0, 6.0]
    found = known([1.0] * 40)
    assert [found.excess("closs", each) for each in (6.0, 6.0, 1.0)] == [0.0, 6.0, 0.0]


def test_what_is_no_level_is_neither_learned_nor_judged() -> None:
    found = known([1.0] * 40)
    assert [found.excess("closs", value) for value in (None, math.nan, math.inf)] == [0.0] * 3
    assert found.excess("total", 1e9) == 0.0
    for value in (0.0, -5.0):
        assert known([value] * 40).excess("closs", 25.0) == 0.0


def test_a_level_of_more_than_twice_the_known_one_is_no_recovery() -> None:
    found = KnownLevels(SpikeRules())
    for step in range(40):
        found.record(step, {"closs": 1.0, "total": 2.0, "aux": None})
    found.turn_back(-1, onset=40)
    assert found.elevated({"closs": 2.0, "total": 4.0, "reward": 99.0}) is None
    assert found.elevated({"closs": 2.5, "total": 4.2}) == ("closs", 2.5)
    assert found.elevated({"closs": 2.1, "total": 5.0}) == ("total", 2.5)
    assert found.elevated({}) is None


def test_a_return_begins_the_count_of_high_steps_over() -> None:
    found = known([1.0] * 40)
    assert found.excess("closs", 6.0) == 0.0
    found.turn_back(-1, onset=0)
    assert found.excess("closs", 6.0) == 0.0
    assert found.excess("closs", 6.0) == 6.0


def test_what_is_known_judges_where_the_detectors_have_begun_again() -> None:
    detection = Toy().guard.detection

    def level(step: int, closs: float) -> str:
        detection.take_in(step, {"closs": closs, "grad_norm": closs})
        detection.judge_ready(step)
        found = detection.level()
        detection.take_judged()
        return found

    assert {level(step, 1.0) for step in range(40)} == {"ok"}
    detection.turn_back(-1, 40)
    detection.detectors.reset()
    assert level(0, 1.0) == "ok"
    assert level(1, 25.0) == "explode"

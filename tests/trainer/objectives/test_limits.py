"""Where strategies that look at the losses change their minds."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.objectives.coupling import Adaptive, Alternate, Cache, Coupling, EmaTarget
from trainer.objectives.term import parse_weight, weight_at
from trainer.objectives.weighting import DynamicAverage, GradNorm, RunningScale, Uncertainty


def watched(policy: float, energy: float, steps: int = 11) -> tuple[float, float]:
    """The weights after losses that swing by so much."""
    remedy = Adaptive(policy_limit=0.01, energy_limit=0.1)
    for step in range(steps):
        swing = 1.0 if step % 2 else -1.0
        remedy.observe(1.0 + policy * swing, 2.0 + energy * swing)
    return remedy.weights()


def test_the_loss_that_swings_is_scaled_down_the_policy_first() -> None:
    assert watched(0.0, 0.0, steps=10) == (1.0, 0.1), "too early to say"
    assert watched(0.0, 0.0) == (1.0, 1.0)
    assert watched(0.2, 0.0) == (0.5, 1.0)
    assert watched(0.0, 0.5) == (1.0, 0.3)
    assert watched(0.2, 0.5) == (0.5, 1.0)


def test_a_loss_that_is_no_number_is_not_watched() -> None:
    remedy = Adaptive()
    for _ in range(20):
        remedy.observe(math.nan, math.inf)
        remedy.observe(None, None)
    assert (len(remedy.policy), len(remedy.energy)) == (0, 0)


def test_a_pull_far_off_moves_its_weight_by_the_rate_and_no_further() -> None:
    weighting, stated = GradNorm(rate=0.1), {"a": 1.0, "b": 1.0}
    weighting.advance(stated, {"a": 1.0, "b": 1.0}, {"a": 1e6, "b": 1e-6})
    assert weighting.log_factor == pytest.approx({"a": -math.log(2) * 0.1, "b": 0.1})
    weights = weighting.weights(stated)
    assert sum(weights.values()) == pytest.approx(2.0)
    assert weights["b"] > weights["a"]


def test_a_pull_three_times_the_mean_moves_by_the_rate_too() -> None:
    weighting, stated = GradNorm(rate=0.1), dict.fromkeys("abc", 1.0)
    weighting.advance(stated, stated, {"a": 1e6, "b": 1.0, "c": 1.0})
    assert weighting.log_factor["a"] == pytest.approx(-0.1), "though ln 3 is more than 1"


def test_watched_losses_are_the_last_eleven_after_a_resume_too() -> None:
    remedy, again = Adaptive(), Adaptive()
    for step in range(30):
        remedy.observe(float(step), float(step) / 10)
    again.load_state_dict(remedy.state_dict())
    for each in (remedy, again):
        each.observe(30.0, 3.0)
        assert list(each.policy) == [float(step) for step in range(20, 31)]
        assert len(each.energy) == 11
    assert Coupling.named("cache+adaptive").watches_losses
    assert not Coupling.named("cache+isolate").watches_losses


def test_a_loss_that_falls_more_slowly_is_to_pull_more() -> None:
    weighting, stated = GradNorm(alpha=0.5, rate=0.1), {"a": 1.0, "b": 1.0}
    weighting.advance(stated, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0})
    assert weighting.log_factor == {"a": 0.0, "b": 0.0}
    weighting.advance(stated, {"a": 0.9, "b": 0.3}, {"a": 1.0, "b": 1.0})
    assert weighting.log_factor == pytest.approx(
        {"a": 0.05 * math.log(1.5), "b": 0.05 * math.log(0.5)}
    )


def test_the_average_of_a_window_decides_and_weights_sum_up_as_stated() -> None:
    weighting, stated = DynamicAverage(window=2, temperature=2.0), {"a": 1.0, "b": 1.0}
    for value in (1.0, 3.0, 1.0, 1.0):
        weighting.advance(stated, {"a": value, "b": 1.0}, {})
    grown = math.exp(0.5 / 2.0), math.exp(1.0 / 2.0)
    assert weighting.weights(stated) == pytest.approx(
        {"a": 2 * grown[0] / sum(grown), "b": 2 * grown[1] / sum(grown)}
    )


def scale_after(*values: float, decay: float = 0.9) -> float:
    """What a loss is divided by after these values."""
    weighting = RunningScale(decay)
    for value in values:
        weighting.advance({"a": 1.0}, {"a": value}, {})
    return 1.0 / weighting.weights({"a": 1.0})["a"]


def test_a_running_scale_is_the_mean_of_sizes_from_the_first_value_on() -> None:
    assert scale_after() == 1.0
    assert scale_after(5.0) == pytest.approx(5.0)
    assert scale_after(-5.0) == pytest.approx(5.0)
    assert scale_after(1.0, 3.0) == pytest.approx((0.9 * 0.1 * 1.0 + 0.1 * 3.0) / (1 - 0.81))


def test_a_spike_counts_as_ten_times_the_scale() -> None:
    expected = (0.9 * 2.0 * (1 - 0.9**50) + 0.1 * 20.0) / (1 - 0.9**51)
    assert scale_after(*[2.0] * 50, 2000.0) == pytest.approx(expected)
    assert scale_after(*[2.0] * 50, 19.0) < scale_after(*[2.0] * 50, 22.0)
    assert scale_after(*[2.0] * 50, 22.0) == scale_after(*[2.0] * 50, 25.0)


def test_a_loss_that_begins_at_zero_has_the_scale_of_its_first_value() -> None:
    """A hinge, or the distance to where the weights start: divided by 1e-8 it would be all."""
    assert scale_after(*[0.0] * 100) == 1.0
    assert scale_after(*[0.0] * 100, 4.0) == pytest.approx(4.0)
    assert scale_after(4.0, *[0.0] * 1000) == pytest.approx(4.0)


def test_log_variances_move_by_the_slope_and_by_the_rate_at_most() -> None:
    def learned(*values: float) -> float:
        weighting = Uncertainty(rate=0.01)
        for value in values:
            weighting.advance({"a": 2.0}, {"a": value}, {})
        return weighting.log_variance["a"]

    assert learned(1.0) == 0.0
    assert learned(0.25) == pytest.approx(-0.01 * 0.75)
    assert learned(-0.25) == pytest.approx(-0.01 * 0.75)
    assert learned(1e6) == pytest.approx(0.01)
    assert learned(0.0) == pytest.approx(-0.01)
    assert learned(1e6, 1.5) == pytest.approx(0.01 + 0.01 * (1.5 * math.exp(-0.01) - 1.0))
    weighting = Uncertainty()
    weighting.log_variance["a"] = math.log(4.0)
    assert weighting.weights({"a": 2.0, "b": 3.0}) == pytest.approx({"a": 0.5, "b": 3.0})


def test_a_pull_of_one_term_or_of_nothing_moves_no_weight() -> None:
    for norms in ({"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 5.0}, {}):
        weighting = GradNorm()
        weighting.advance({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, norms)
        assert weighting.log_factor == {}
    weighting = GradNorm()
    weighting.advance({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 1.0})
    assert weighting.log_factor == {}, "a loss of 0 has no first value to fall from"


def test_ratios_of_windows_are_bounded_and_a_term_that_is_new_keeps_its_weight() -> None:
    def factors(*windows: dict[str, float]) -> dict[str, float]:
        weighting = DynamicAverage(window=1, temperature=2.0)
        for window in windows:
            weighting.advance(dict.fromkeys("abc", 1.0), window, {})
        return weighting.weights({"a": 1.0, "b": 1.0, "c": 3.0})

    stated = {"a": 1.0, "b": 1.0, "c": 3.0}
    assert factors({"a": 1.0, "b": 1.0}) == stated
    grown = math.exp(10.0 / 2.0), math.exp(1.0 / 2.0)
    expected = {"a": 2 * grown[0] / sum(grown), "b": 2 * grown[1] / sum(grown), "c": 3.0}
    for spike in (10.0, 1e30):
        found = factors({"a": 1.0, "b": 1.0}, {"a": spike, "b": 1.0, "c": 9.0})
        assert found == pytest.approx(expected)
    assert factors({"c": 1.0}, {"a": 1.0}) == stated
    later = factors({"a": 9.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0})
    assert later == stated, "the last two windows count"


def test_taking_turns_begins_with_the_policy() -> None:
    turns = [Alternate(every=2).policy_turn(step) for step in range(8)]
    assert turns == [True, True, False, False, True, True, False, False]
    assert [Alternate(every=2).energy_turn(step) for step in range(8)] == [not t for t in turns]


def test_a_cached_head_is_renewed_after_so_many_steps() -> None:
    live = torch.nn.Linear(1, 1, bias=False)
    remedy = Cache(refresh=3)
    remedy.copy = torch.nn.Linear(1, 1, bias=False)
    seen = []
    for step in range(4, 11):
        torch.nn.init.constant_(live.weight, float(step))
        seen.append(float(remedy.cached(step, live).weight.detach()))  # type: ignore[arg-type]
    assert seen == [4.0, 4.0, 4.0, 7.0, 7.0, 7.0, 10.0]


def test_an_average_of_the_head_moves_by_what_its_decay_leaves() -> None:
    class Policy:
        action_head = torch.nn.Linear(1, 1, bias=False)

    remedy = EmaTarget(decay=0.75)
    torch.nn.init.constant_(Policy.action_head.weight, 4.0)
    remedy.prepare(Policy())  # type: ignore[arg-type]
    torch.nn.init.constant_(Policy.action_head.weight, 8.0)
    remedy.policy_updated(Policy())  # type: ignore[arg-type]
    assert float(remedy.head(Policy.action_head).weight.detach()) == 5.0  # type: ignore[arg-type]
    assert all(not each.requires_grad for each in remedy.target.parameters())  # type: ignore[union-attr]


def test_a_schedule_of_a_weight_rises_in_steps_and_is_straight_between_them() -> None:
    schedule = parse_weight(" 100:10, 300:2 ")
    assert schedule == ((100, 10.0), (300, 2.0))
    assert [weight_at(schedule, step) for step in (0, 100, 150, 300, 999)] == [10, 10, 8, 2, 2]
    assert weight_at(parse_weight("5"), 7) == 5.0
    for wrong in ("100:10,100:2", "300:1,100:2", "0:10,5:-1", "0:nan", "a:1", "-1"):
        with pytest.raises(ValueError, match=r"."):
            parse_weight(wrong)

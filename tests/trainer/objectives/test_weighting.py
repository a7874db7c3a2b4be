"""Each strategy does what its paper says, survives a NaN and resumes exactly."""

from __future__ import annotations

import math

import pytest
import torch

from tests.trainer.rows import mixed_batch
from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.objectives import ObjectiveError, Objectives
from trainer.objectives.weighting import (
    WEIGHTINGS,
    DynamicAverage,
    GradNorm,
    Importance,
    RunningScale,
    Uncertainty,
)

STATED = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5, "alignment": 0.0}


def test_importance_keeps_the_ratios_and_averages_one() -> None:
    weights = Importance().weights({"closs": 3.0, "loss_ct": 1.0, "alignment": 0.0})
    assert weights == {"closs": 1.5, "loss_ct": 0.5}


def test_running_scale_makes_terms_of_any_unit_contribute_alike() -> None:
    strategy = RunningScale()
    stated = {"closs": 1.0, "loss_ct": 1.0}
    for _ in range(50):
        strategy.advance(stated, {"closs": 8.0, "loss_ct": 0.1}, {})
    weights = strategy.weights(stated)
    assert weights["closs"] * 8.0 == pytest.approx(1.0)
    assert weights["loss_ct"] * 0.1 == pytest.approx(1.0)


def test_a_spike_hardly_moves_the_running_scale() -> None:
    strategy = RunningScale()
    for value in [8.0] * 50 + [8e6]:
        strategy.advance({"closs": 1.0}, {"closs": value}, {})
    assert strategy.weights({"closs": 1.0})["closs"] > 0.1 / 8.0


def test_uncertainty_settles_where_its_slope_is_zero() -> None:
    strategy = Uncertainty(rate=0.05)
    for _ in range(2000):
        strategy.advance({"closs": 1.0}, {"closs": 4.0}, {})
    assert strategy.log_variance["closs"] == pytest.approx(math.log(4.0), abs=1e-3)
    assert strategy.weights({"closs": 1.0})["closs"] == pytest.approx(0.25, rel=1e-3)


def test_a_spike_moves_uncertainty_by_its_rate_and_no_more() -> None:
    strategy = Uncertainty(rate=0.05)
    strategy.advance({"closs": 1.0}, {"closs": 1e9}, {})
    assert strategy.log_variance["closs"] == pytest.approx(0.05)
    strategy.log_variance["closs"] = 100.0  # the slope is 1, which is as steep as it gets down
    strategy.advance({"closs": 1.0}, {"closs": 1.0}, {})
    assert strategy.log_variance["closs"] == pytest.approx(99.95)


def test_gradnorm_evens_out_the_pulls_of_terms_that_fall_alike() -> None:
    strategy = GradNorm()
    stated = {"closs": 1.0, "loss_ct": 10.0}
    norms = {"closs": 4.0, "loss_ct": 0.02}
    for _ in range(400):
        strategy.advance(stated, {"closs": 5.0, "loss_ct": 0.2}, norms)
    weights = strategy.weights(stated)
    assert weights["closs"] * 4.0 == pytest.approx(weights["loss_ct"] * 0.02, rel=1e-2)
    assert sum(weights.values()) == pytest.approx(11.0)


def test_gradnorm_gives_the_slower_term_more_pull() -> None:
    strategy = GradNorm(alpha=1.0)
    stated, norms = {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}
    strategy.advance(stated, {"a": 1.0, "b": 1.0}, {})
    for _ in range(400):
        strategy.advance(stated, {"a": 0.9, "b": 0.1}, norms)
    weights = strategy.weights(stated)
    assert weights["a"] / weights["b"] == pytest.approx(9.0, rel=0.02)


def test_gradnorm_waits_for_a_second_term() -> None:
    strategy = GradNorm()
    strategy.advance(STATED, {"closs": 5.0}, {"closs": 1.0})
    assert strategy.weights(STATED) == pytest.approx(
        {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}
    )


def test_dwa_favours_the_term_that_falls_more_slowly() -> None:
    strategy = DynamicAverage(window=10)
    stated = {"a": 1.0, "b": 1.0}
    for step in range(20):
        strategy.advance(stated, {"a": 1.0, "b": 1.0 if step < 10 else 0.2}, {})
    weights = strategy.weights(stated)
    assert weights["a"] > 1.0 > weights["b"]
    assert sum(weights.values()) == pytest.approx(2.0)


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_a_nan_never_reaches_a_weight_and_a_zero_stays_off(name: str) -> None:
    strategy = WEIGHTINGS[name]()
    for _ in range(250):
        strategy.advance(STATED, {"closs": math.nan, "loss_ct": 0.1}, {"closs": math.nan})
    weights = strategy.weights(STATED)
    assert all(math.isfinite(weight) and weight > 0 for weight in weights.values())
    assert set(weights) == {"closs", "loss_ct", "z_loss"}


def steps(objectives: Objectives, first: int, end: int) -> list[dict[str, float]]:
    seen = []
    for step in range(first, end):
        seen.append(objectives.weights)
        values = {"closs": 8.0 / (1 + step / 50), "loss_ct": 0.3 + 0.1 * math.sin(step)}
        objectives.advance(values, {"closs": 2.0, "loss_ct": 0.1} if step % 5 == 0 else None)
    return seen


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_a_resumed_strategy_weighs_exactly_as_one_that_never_stopped(name: str) -> None:
    stated = {"loss_ct": "0:10,200:1"}
    whole = steps(Objectives(stated, weighting=name), 0, 240)
    first = Objectives(stated, weighting=name)
    steps(first, 0, 130)
    second = Objectives(weighting=name)
    second.load_state_dict(first.state_dict())
    assert steps(second, 130, 240) == whole[130:]


def test_a_schedule_runs_in_straight_lines_and_stands_still_outside() -> None:
    objectives = Objectives({"loss_ct": "10:10,20:0"})
    seen = [weights.get("loss_ct", 0.0) for weights in steps(objectives, 0, 31)]
    assert seen[0] == seen[10] == 10.0
    assert seen[15] == pytest.approx(5.0)
    assert seen[20] == seen[30] == 0.0


def test_setting_a_weight_live_replaces_its_schedule() -> None:
    objectives = Objectives({"loss_ct": "0:10,100:0"})
    steps(objectives, 0, 50)
    assert objectives.set("loss_ct_weight", 3) == pytest.approx(5.0)
    assert {weights["loss_ct"] for weights in steps(objectives, 50, 60)} == {3.0}


def test_the_weights_that_travel_are_those_of_the_total() -> None:
    torch.manual_seed(0)
    objectives = Objectives(weighting="uncertainty")
    objectives.advance({"closs": 9.0, "loss_ct": 0.2, "z_loss": 90.0})
    losses = objectives(VLA(SIZES["micro"])(mixed_batch()))
    assert losses.weights == objectives.weights
    assert losses.weights["closs"] != 1.0
    total = sum(losses.weights[name] * value for name, value in losses.values.items())
    torch.testing.assert_close(losses.total, torch.as_tensor(total))


def test_an_unknown_strategy_is_refused_by_name() -> None:
    with pytest.raises(ObjectiveError, match="no weighting is called 'gradnrom'; there are fixed"):
        Objectives(weighting="gradnrom")


@pytest.mark.parametrize("value", ["5:1,3:2", "a:1", "1:", "-1", "inf", ""])
def test_a_weight_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(ObjectiveError, match="must be a finite number of at least 0"):
        Objectives().set("loss_ct_weight", value)


def test_a_spike_of_any_height_leaves_dwa_s_weights_finite_and_bounded() -> None:
    strategy = DynamicAverage(window=2)
    stated = {"closs": 1.0, "loss_ct": 10.0}
    for closs in (9.0, 9.0, 1e30, 1e38):
        strategy.advance(stated, {"closs": closs, "loss_ct": 0.3}, {})
    weights = strategy.weights(stated)
    assert 1.9 < weights["closs"] < 2.0
    assert 0.0 < weights["loss_ct"] < 1.0

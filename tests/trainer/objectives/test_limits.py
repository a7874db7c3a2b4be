"""Where strategies that look at the losses change their minds."""

from __future__ import annotations

import math

import pytest

from trainer.objectives.coupling import Adaptive
from trainer.objectives.weighting import DynamicAverage, GradNorm


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

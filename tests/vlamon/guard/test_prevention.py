"""Which updates the rungs clip and skip act on, on gradients and losses of known size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from vlamon.guard import GuardSettings
from vlamon.guard.gate import plain_finite
from vlamon.guard.ledger import Ledger
from vlamon.guard.prevention import DECAY, WARM, Prevention

BOTH = ("clip", "skip")


class Steps:
    """One parameter whose gradient a test sets."""

    def __init__(
        self, ladder: Sequence[Any] = BOTH, weights: Mapping[str, float] | None = None
    ) -> None:
        self.parameter = nn.Parameter(torch.zeros(1))
        self.optimizer = torch.optim.SGD([self.parameter], lr=0.1)
        self.ledger = Ledger(GuardSettings())
        self.held = Prevention(ladder, [self.optimizer], lambda: weights or {}, self.ledger)

    def call(self, norm: float, **losses: float | None) -> tuple[bool, float]:
        """Whether the update is made, and with what norm."""
        self.parameter.grad = torch.tensor([norm])
        gate = self.held.examine(losses or {"closs": 1.0})
        return bool(gate.update), float(self.parameter.grad)

    def step(self, norm: float, **losses: float | None) -> tuple[bool, float]:
        found = self.call(norm, **losses)
        self.held.close_step()
        return found

    def calm(self, count: int = WARM, norm: float = 1.0, **losses: float) -> Steps:
        for _ in range(count):
            assert self.step(norm, **losses) == (True, norm)
        return self


def test_nothing_is_an_outlier_before_thirty_two_steps_were_seen() -> None:
    assert Steps().calm(WARM - 1).step(50.0) == (True, 50.0)
    assert Steps().calm(WARM).step(50.0) == (False, 50.0)


@pytest.mark.parametrize(
    ("ladder", "norm", "made", "left"),
    [
        (BOTH, 1.9, True, 1.9),
        (BOTH, 2.1, True, 1.0),
        (BOTH, 9.9, True, 1.0),
        (BOTH, 10.1, False, 10.1),
        (("clip",), 2.1, True, 1.0),
        (("clip",), 1000.0, True, 1.0),
        (("skip",), 1.9, True, 1.9),
        (("skip",), 2.1, False, 2.1),
        (("rollback",), 1000.0, True, 1000.0),
    ],
)
def test_a_gradient_above_twice_the_usual_norm_is_clipped_to_it_or_skipped(
    ladder: Sequence[str], norm: float, made: bool, left: float
) -> None:
    found, after = Steps(ladder).calm().step(norm)
    assert found is made
    assert after == pytest.approx(left)


@pytest.mark.parametrize(("loss", "made"), [(2.4, True), (2.6, False)])
def test_a_loss_above_two_and_a_half_times_the_usual_is_skipped(loss: float, made: bool) -> None:
    assert Steps().calm().step(1.0, closs=loss) == (made, 1.0)
    assert Steps(("clip",)).calm().step(1.0, closs=loss) == (True, 1.0)


def test_the_loss_is_the_weighted_total_of_the_named_ones_without_the_norm() -> None:
    weights = {"closs": 1.0, "aux": 9.0}
    calm = {"closs": 1.0, "aux": 1.0, "grad_norm": 1.0}
    # 10 at first; 2.5 times that is reached by the larger part, not by the smaller one.
    assert Steps(BOTH, weights).calm(**calm).step(1.0, **{**calm, "closs": 12.0})[0]
    assert not Steps(BOTH, weights).calm(**calm).step(1.0, **{**calm, "aux": 2.8})[0]
    assert Steps(BOTH, weights).calm(**calm).step(1.0, **{**calm, "grad_norm": 1e6})[0]
    assert Steps(BOTH, weights).calm(**calm).step(1.0, **{**calm, "other": 1e6})[0]
    assert Steps(BOTH, weights).calm(**calm).step(1.0, closs=1.0, aux=None)[0]


def test_a_loss_below_zero_has_no_outliers() -> None:
    assert Steps().calm(closs=-1.0).step(1.0, closs=50.0)[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_no_update_and_teaches_nothing(bad: float) -> None:
    held = Steps().calm()
    before = held.held.state_dict()["levels"][0].clone()
    assert not held.step(bad)[0]
    assert not held.step(1.0, closs=bad)[0]
    assert torch.equal(held.held.state_dict()["levels"][0], before)


def test_the_usual_level_is_a_plain_mean_at_first_and_a_moving_one_then() -> None:
    """Mean and deviation of the logarithms, by hand; an outlier enters no further than its
    limit."""
    held, mean, deviation = Steps(("skip",)), 0.0, 0.0
    norms = [math.exp(math.sin(step)) for step in range(WARM + 20)] + [1e4]
    for count, norm in enumerate(norms):
        held.step(norm)
        above = math.log(norm) - mean
        if count >= WARM:
            above = min(above, 6.0 * max(deviation, 0.05))
        weight = max(1 / (count + 1), 1 - DECAY)
        if count:
            deviation += weight * (1.25 * abs(above) - deviation)
        mean += weight * above
    levels = held.held.state_dict()["levels"][0]
    assert levels[:, 0].tolist() == pytest.approx([mean, deviation, len(norms)], rel=1e-3)


@pytest.mark.parametrize(("share", "made"), [(0.8, True), (1.3, False)])
def test_a_noisy_norm_is_an_outlier_beyond_six_deviations_only(share: float, made: bool) -> None:
    held = Steps(("skip",))
    for step in range(200):
        held.step(4.0 if step % 2 else 0.25)
    deviation = float(held.held.state_dict()["levels"][0][1, 0])
    assert deviation == pytest.approx(1.25 * math.log(4.0), rel=0.05)
    assert held.step(share * math.exp(6 * deviation))[0] is made


def test_each_call_of_a_step_has_its_own_level_and_one_bad_call_skips_the_step() -> None:
    held = Steps()
    for _ in range(WARM):
        assert held.call(1.0) == (True, 1.0)
        assert held.call(8.0) == (True, 8.0)
        held.held.close_step()
    assert held.call(1.0)[0]
    assert held.call(8.0)[0], "as always at the second call"
    held.held.close_step()
    assert not held.call(50.0)[0]
    assert not held.call(8.0)[0], "the bad micro-batch is in the sum"
    held.held.close_step()
    assert held.call(1.0)[0]


@pytest.mark.parametrize("mode", ["watch", "off"])
def test_a_mode_that_only_reports_changes_no_update(mode: str) -> None:
    held = Steps().calm()
    held.ledger.mode = mode
    assert held.step(1000.0) == (True, 1000.0)
    assert not held.held.acts
    assert held.held.watches


def test_levels_are_taken_over_and_shared_with_nobody() -> None:
    held, again = Steps().calm(), Steps()
    again.held.load_state_dict(held.held.state_dict())
    assert again.step(50.0) == (False, 50.0)
    assert float(held.held.state_dict()["levels"][0][2, 0]) == WARM


def test_rungs_that_nobody_asks_are_said_once() -> None:
    held = Steps()
    said = "the rungs clip and skip of the ladder act in Guard.check, which was not called"
    assert [held.held.close_step() for _ in range(3)] == [said, "", ""]
    assert Steps(("rollback",)).held.close_step() == ""
    asked = Steps()
    asked.call(1.0)
    assert asked.held.close_step() == ""


def test_plain_numbers_are_looked_at_without_what_is_missing_or_on_a_device() -> None:
    assert plain_finite({"closs": 1.0, "aux": None, "norm": torch.tensor(math.nan)})
    assert not plain_finite({"closs": math.nan, "aux": None})
    assert not plain_finite({"closs": 1.0, "aux": math.inf})
    held = Steps()
    held.ledger.mode = "watch"
    assert held.step(1.0, closs=None) == (True, 1.0)
    assert not held.step(1.0, closs=math.nan)[0]

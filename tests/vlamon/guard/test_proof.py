"""Whether a young state is good: finite, and as good on the last good batches as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from vlamon.guard import ProbeResult
from vlamon.guard.proof import GoodBatch, Prover, all_finite
from vlamon.guard.state.capture import TrainingState

STEP, ONSET = 90, 100


def prover(
    probe: Callable[[Any], ProbeResult] | None = None,
    good: Sequence[GoodBatch] = (),
    history: Sequence[tuple[int, Mapping[str, float | None]]] = (),
    minor: Callable[[str, float], bool] = lambda name, value: False,
    state: TrainingState | None = None,
) -> Prover:
    return Prover(state or TrainingState({"model": nn.Linear(2, 1)}), probe, good, history, minor)


def measured(**values: float) -> Callable[[Any], ProbeResult]:
    return lambda batch: ProbeResult(values=values)


def good(step: int = 95, **values: float | None) -> GoodBatch:
    return GoodBatch(step, "batch", values)


@pytest.mark.parametrize(("step", "near"), [(95, False), (96, True), (99, True)])
def test_where_nothing_can_be_measured_four_steps_must_lie_before_the_onset(
    step: int, near: bool
) -> None:
    for each in (
        prover(),
        prover(measured(closs=1.0)),
        prover(measured(closs=1.0), [good(ONSET, closs=1.0)]),
        prover(None, [good(closs=1.0)]),
    ):
        flaw = each.flaw(step, ONSET)
        assert flaw == ("it is less than 4 steps from the onset" if near else "")


@pytest.mark.parametrize(
    ("now", "flawed"),
    [(1.0, False), (1.5, False), (1.51, True), (math.nan, True), (math.inf, True)],
)
def test_a_loss_that_is_half_again_as_high_on_a_good_batch_is_a_flaw(
    now: float, flawed: bool
) -> None:
    flaw = prover(measured(closs=now), [good(closs=1.0)]).flaw(99, ONSET)
    assert flaw == (f"closs of the batch of step 95 is {now:.4g}, it was 1" if flawed else "")


def test_every_good_batch_is_measured() -> None:
    def probe(batch: Any) -> ProbeResult:
        return ProbeResult(values={"closs": 9.0 if batch == "second" else 1.0})

    batches = [GoodBatch(94, "first", {"closs": 1.0}), GoodBatch(95, "second", {"closs": 1.0})]
    assert "of step 95 is 9" in prover(probe, batches).flaw(STEP, ONSET)
    late = [batches[0], GoodBatch(ONSET, "second", {"closs": 1.0})]
    assert prover(probe, late).flaw(STEP, ONSET) == "", "what is of the trouble is no good batch"


def test_a_fall_since_then_is_no_flaw() -> None:
    """Around the step of the state the losses were higher: early in a run they fall steeply."""
    fallen = [good(closs=1.0)]
    for at, flawed in ((STEP - 3, True), (STEP - 2, False), (STEP + 2, False), (STEP + 3, True)):
        history = [(at, {"closs": 3.0}), (STEP, {"closs": None}), (STEP, {"closs": math.inf})]
        found = prover(measured(closs=4.0), fallen, history).flaw(STEP, ONSET)
        assert bool(found) is flawed
    higher = [(STEP - 1, {"closs": 2.0}), (STEP, {"closs": 3.0}), (STEP + 1, {"closs": 1.0})]
    assert prover(measured(closs=4.4), fallen, higher).flaw(STEP, ONSET) == ""
    assert prover(measured(closs=4.6), fallen, higher).flaw(STEP, ONSET)


def test_what_has_no_level_is_no_flaw_unless_it_is_not_finite() -> None:
    assert prover(measured(closs=9.0), [good(closs=None)]).flaw(STEP, ONSET) == ""
    assert prover(measured(other=9.0), [good(closs=1.0)]).flaw(STEP, ONSET) == ""
    assert prover(measured(closs=9.0), [good(closs=-1.0)]).flaw(STEP, ONSET) == ""
    assert prover(measured(closs=9.0), [good(closs=0.0)]).flaw(STEP, ONSET) == ""
    assert prover(measured(closs=math.nan), [good(closs=-1.0)]).flaw(STEP, ONSET)


def test_a_small_part_of_the_total_is_no_flaw() -> None:
    small = prover(measured(aux=9.0), [good(aux=1.0)], minor=lambda name, value: name == "aux")
    assert small.flaw(STEP, ONSET) == ""


def test_a_probe_that_fails_is_a_flaw() -> None:
    def broken(batch: Any) -> ProbeResult:
        raise ValueError("no such file")

    flaw = prover(broken, [good(closs=1.0)]).flaw(STEP, ONSET)
    assert flaw == "it could not be measured: ValueError: no such file"


def test_parameters_and_moments_must_be_finite_and_buffers_need_not() -> None:
    model = nn.Linear(2, 1)
    model.register_buffer("mask", torch.tensor([-math.inf]))
    optimizer = torch.optim.AdamW(model.parameters())
    state = TrainingState({"model": model, "optimizer.0": optimizer})
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert all_finite(state)
    moment = optimizer.state[model.weight]["exp_avg"]
    for tensor in (moment, model.weight.data):
        kept = float(tensor[0, 0])
        tensor[0, 0] = math.nan
        assert not all_finite(state)
        flaw = prover(measured(closs=1.0), [good(closs=1.0)], state=state).flaw(STEP, ONSET)
        assert flaw == "a parameter or a moment is not finite"
        tensor[0, 0] = kept
    assert all_finite(state)
    assert all_finite(TrainingState({}))

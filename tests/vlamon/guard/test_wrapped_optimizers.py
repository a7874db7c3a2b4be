"""Optimizers that are not torch's own: wrapped as Accelerate does, or owned by an engine."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import Emitter
from vlamon.guard import Guard
from vlamon.guard.gate import skip_where
from vlamon.guard.lr_scale import LrScale
from vlamon.guard.optimizers import checked, stepping
from vlamon.guard.state.capture import TrainingState
from vlamon.guard.state.zero import ZeroOptimizer
from vlamon.integrations.hooked_guard import begin


class Wrapper(torch.optim.Optimizer):
    """As `accelerate.optimizer.AcceleratedOptimizer`: an Optimizer whose init never ran."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)  # type: ignore[assignment]
    param_groups = property(lambda self: self.optimizer.param_groups)  # type: ignore[assignment]
    defaults = property(lambda self: self.optimizer.defaults)  # type: ignore[assignment]

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        self.optimizer.load_state_dict(state_dict)

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)


class DeepSpeedZeroOptimizer:
    """Stands in for the engine's, which is no Optimizer and no sequence."""


def stepped(optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.Tensor:
    before = model.weight.detach().clone()  # type: ignore[operator, union-attr]
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return (model.weight.detach() - before).abs()  # type: ignore[operator, union-attr]


def test_a_lower_lr_reaches_the_optimizer_inside() -> None:
    model = nn.Linear(2, 1)
    wrapped = Wrapper(Wrapper(torch.optim.SGD(model.parameters(), lr=1.0)))
    scale = LrScale([wrapped])
    whole = stepped(wrapped, model)
    scale.set(0.5)
    assert torch.allclose(stepped(wrapped, model), 0.5 * whole)
    assert wrapped.param_groups[0]["lr"] == 1.0


def test_a_blocked_step_is_left_out_by_the_fused_optimizer_inside() -> None:
    model = nn.Linear(2, 1)
    inside = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    wrapped = Wrapper(inside)
    skip_where(torch.tensor(True), [wrapped])
    assert not stepped(wrapped, model).any()
    skip_where(torch.tensor(False), [wrapped])
    assert stepped(wrapped, model).any()


def test_a_state_holds_the_moments_of_a_wrapped_optimizer_once() -> None:
    model = nn.Linear(2, 1)
    wrapped = Wrapper(torch.optim.AdamW(model.parameters(), lr=0.1))
    stepped(wrapped, model)
    state = TrainingState({"model": model, "optimizer.0": wrapped})
    assert set(state.everything()) == {"model", "optimizer.0"}
    saved = [value.clone() for value in stepping(wrapped).state[model.weight].values()]
    held = state.capture()
    stepped(wrapped, model)
    assert float(stepping(wrapped).state[model.weight]["step"]) == 2.0
    del held
    assert float(saved[0]) == 1.0


def test_a_guard_rolls_a_wrapped_optimizer_back() -> None:
    model = nn.Linear(2, 1)
    wrapped = Wrapper(torch.optim.AdamW(model.parameters(), lr=1e-3))
    guard = Guard(model, wrapped)
    guard.start()
    weight = model.weight.detach().clone()
    for step in range(4):
        loss = model(torch.ones(1, 2)).pow(2).sum()
        loss.backward()
        if guard.check(step, loss=loss * (math.nan if step == 3 else 1.0)):
            wrapped.step()
        wrapped.zero_grad()
        following = guard.after_step(step)
    assert following == 0
    assert torch.equal(model.weight, weight)
    assert not stepping(wrapped).state


def test_an_engine_that_owns_the_state_is_a_sentence() -> None:
    with pytest.raises(TypeError) as refused:
        Guard(nn.Linear(2, 1), DeepSpeedZeroOptimizer())  # type: ignore[arg-type]
    said = str(refused.value)
    assert said.startswith("DeepSpeedZeroOptimizer is not a torch.optim.Optimizer")
    assert "vlamon.Emitter alone" in said


def test_an_engine_that_keeps_the_optimizer_that_it_was_given_is_the_same_sentence() -> None:
    """As the real ones do: the one inside steps pieces of the parameters that the engine cut."""
    engine = type("DeepSpeedZeroOptimizer", (), {"__module__": "deepspeed.runtime.zero"})()
    model = nn.Linear(2, 1)
    engine.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for given in (engine, Wrapper(engine)):
        with pytest.raises(TypeError, match="DeepSpeedZeroOptimizer is not a torch"):
            Guard(model, given)


def test_an_engine_inside_a_wrapper_is_the_same_sentence() -> None:
    """As Accelerate hands it out under its DeepSpeed plugin."""
    wrapped = Wrapper(DeepSpeedZeroOptimizer())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="DeepSpeedZeroOptimizer is not a torch"):
        Guard(nn.Linear(2, 1), wrapped)


def test_an_engine_among_optimizers_is_the_same_sentence() -> None:
    model = nn.Linear(2, 1)
    both = [torch.optim.SGD(model.parameters(), lr=1.0), DeepSpeedZeroOptimizer()]
    with pytest.raises(TypeError, match="DeepSpeedZeroOptimizer is not a torch"):
        Guard(model, both)  # type: ignore[arg-type]


def zero_engine(**more: Any) -> Any:
    """As DeepSpeed's optimizer of stage 2 looks from outside."""
    engine = type("DeepSpeedZeroOptimizer", (), {"__module__": "deepspeed.runtime.zero"})()
    model = nn.Linear(2, 1)
    engine.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    engine.single_partition_of_fp32_groups = list(model.parameters())
    engine.bit16_groups, engine.averaged_gradients = [], {}
    engine.loss_scaler, engine.loss_scale = object(), 1.0
    engine.update_lp_params = engine._update_scale = lambda *given: None
    for name, value in more.items():
        setattr(engine, name, value)
    return engine


def test_an_engines_optimizer_that_is_whole_is_taken_and_says_who_makes_the_update() -> None:
    (own,) = checked(zero_engine())
    (wrapped,) = checked(Wrapper(zero_engine()))
    assert isinstance(own, ZeroOptimizer)
    assert isinstance(wrapped, ZeroOptimizer)
    assert (own.steps_in_backward, wrapped.steps_in_backward) == (False, True)


def test_an_engine_with_a_part_elsewhere_is_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"a part of it lies elsewhere \(swap_optimizer\)"):
        checked(zero_engine(swap_optimizer=True))


def test_under_a_framework_that_was_not_tried_with_it_an_engine_trains_unguarded() -> None:
    emitter = Emitter()
    assert begin("auto", nn.Linear(2, 1), [zero_engine()], emitter=emitter) is None
    ((_, told),) = emitter.kinds("warn")
    assert told["text"].startswith("no guard: DeepSpeed was not tested under this framework")


def test_an_update_that_is_passed_over_is_one_and_lowers_no_scale() -> None:
    lowered: list[bool] = []
    engine = zero_engine()
    type(engine)._update_scale = lambda self, overflow=False: lowered.append(overflow)
    del engine._update_scale
    optimizer = ZeroOptimizer(engine)
    optimizer.pass_over(True)
    engine._update_scale(False)
    assert engine.overflow
    assert lowered == []
    engine._update_scale(False)
    assert lowered == [False], "the next update is the engine's own again"
    optimizer.pass_over(True)
    engine._update_scale(True)
    assert lowered == [False, True], "what overflowed lowers it"
    optimizer.pass_over(True)
    optimizer.pass_over(False)
    engine._update_scale(False)
    assert lowered == [False, True, False], "a verdict replaces the one before"

"""A state is put back whole or not at all, whatever the training's objects are made of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vlamon.guard.ring import Slot
from vlamon.guard.state.capture import Stateful, StateMismatch, TrainingState, Tree


class Counting(nn.Module):
    """Counts its calls in a plain number, which it gives as extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.inner = Counting()
        self.register_buffer("cache", torch.zeros(4), persistent=False)
        self.register_buffer("rows", torch.arange(4.0).expand(3, 4).clone()[:1].expand(3, 4))
        self.register_buffer("usual", torch.zeros(2))


class Lookahead(torch.optim.SGD):
    """Keeps a number of its own beside the moments."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.turn = 0

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "turn": self.turn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.turn = state.pop("turn")
        super().load_state_dict(state)


class Refusing:
    """Cannot load what it said itself."""

    def state_dict(self) -> dict[str, int]:
        return {"a": 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        raise RuntimeError("no, thank you")


def kept(state: TrainingState) -> Tree:
    slot = Slot()
    slot.fill(state.capture())
    return slot.state()


def step(model: Model, optimizer: torch.optim.Optimizer) -> None:
    model.linear(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_extra_state_of_a_module_goes_back_with_its_tensors() -> None:
    model = Model()
    state = TrainingState({"model": model})
    saved = kept(state)
    model.inner.calls = 7
    state.restore(saved)
    assert model.inner.calls == 0


def test_an_older_checkpoint_without_extra_state_is_taken_over() -> None:
    model = Model()
    state = TrainingState({"model": model})
    saved = kept(state)
    del saved["parts"]["model"]["inner._extra_state"]
    model.inner.calls = 7
    state.restore(saved)
    assert model.inner.calls == 7


def test_what_an_optimizer_keeps_of_its_own_goes_back_and_its_moments_stay_in_place() -> None:
    model = Model()
    optimizer = Lookahead(model.linear.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer)
    state = TrainingState({"model": model, "optimizer.0": optimizer})
    saved, moment = kept(state), optimizer.state[model.linear.weight]["momentum_buffer"]
    before = moment.clone()
    optimizer.turn = 5
    step(model, optimizer)
    assert not torch.equal(moment, before)
    state.restore(saved)
    assert optimizer.turn == 0
    assert optimizer.state[model.linear.weight]["momentum_buffer"] is moment
    assert torch.equal(moment, before)


def test_a_cache_that_has_grown_since_is_replaced_by_what_it_was() -> None:
    model = Model()
    state = TrainingState({"model": model})
    saved = kept(state)
    model.cache = torch.ones(8)
    state.restore(saved)
    assert torch.equal(model.get_buffer("cache"), torch.zeros(4))
    model.cache.fill_(3.0)
    state.restore(saved)
    assert torch.equal(model.get_buffer("cache"), torch.zeros(4)), "the snapshot is untouched"


def test_an_expanded_buffer_is_put_back_in_its_one_place_in_memory() -> None:
    model = Model()
    state = TrainingState({"model": model})
    saved, rows = kept(state), model.get_buffer("rows")
    rows[:1].fill_(9.0)
    state.restore(saved)
    assert model.get_buffer("rows") is rows
    assert torch.equal(rows, torch.arange(4.0).expand(3, 4))


def grown(model: Model, optimizer: torch.optim.Optimizer) -> None:
    model.usual = torch.ones(5)


def thawed(model: Model, optimizer: torch.optim.Optimizer) -> None:
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})


@pytest.mark.parametrize("change", [grown, thawed])
def test_a_training_that_changed_its_shape_is_left_as_it_is(
    change: Callable[[Model, torch.optim.Optimizer], None],
) -> None:
    model = Model()
    optimizer = torch.optim.SGD(model.linear.parameters(), lr=0.1, momentum=0.9)
    own = Lookahead([nn.Parameter(torch.zeros(1))], lr=0.1)
    state = TrainingState({"model": model, "own": own, "optimizer.0": optimizer})
    saved = kept(state)
    step(model, optimizer)
    own.turn = model.inner.calls = 3
    change(model, optimizer)
    weights = model.linear.weight.detach().clone()
    with pytest.raises(StateMismatch):
        state.restore(saved)
    assert torch.equal(model.linear.weight, weights)
    assert own.turn == model.inner.calls == 3


def test_where_one_part_refuses_its_state_the_others_get_back_what_they_had() -> None:
    model, own = Model(), Lookahead([nn.Parameter(torch.zeros(1))], lr=0.1)
    parts: dict[str, nn.Module | torch.optim.Optimizer | Stateful]
    parts = {"model": model, "own": own, "cache": Refusing()}
    state = TrainingState(parts)
    saved = kept(state)
    own.turn = model.inner.calls = 3
    with torch.no_grad():
        model.linear.weight.fill_(1.0)
    with pytest.raises(StateMismatch, match="cache: no, thank you"):
        state.restore(saved)
    assert own.turn == model.inner.calls == 3
    assert torch.equal(model.linear.weight, torch.ones(1, 4))


def test_an_object_that_cannot_be_copied_does_not_stop_a_snapshot() -> None:
    class Locked:
        def __deepcopy__(self, memo: Any) -> Locked:
            raise TypeError("cannot be copied")

    class Holding:
        def __init__(self) -> None:
            self.lock, self.loaded = Locked(), None

        def state_dict(self) -> dict[str, Any]:
            return {"lock": self.lock}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.loaded = state["lock"]

    holding = Holding()
    state = TrainingState({"holding": holding})
    state.restore(kept(state))
    assert holding.loaded is holding.lock


def drawn(generators: list[Any]) -> list[float]:
    """The next number of each, and of the global streams."""
    mine = [
        float(torch.rand((), generator=each))
        if isinstance(each, torch.Generator)
        else float(each.random())
        for each in generators
    ]
    return [*mine, random.random(), float(np.random.random()), float(torch.rand(()))]


def test_the_streams_of_a_training_go_back_with_it_unless_they_are_kept() -> None:
    generators = [torch.Generator().manual_seed(3), np.random.default_rng(3), random.Random(3)]
    state = TrainingState({"model": nn.Linear(2, 1)}, generators)
    slot = Slot()
    slot.fill(state.capture())
    first, second = drawn(generators), drawn(generators)
    assert first != second
    for _ in range(2):
        state.restore(slot.state())
        assert drawn(generators) == first
    state.restore(slot.state(), keep=("rng",))
    assert drawn(generators) == second


def test_a_state_of_other_streams_is_refused_and_nothing_is_put_back() -> None:
    one, two = (
        TrainingState({"model": nn.Linear(2, 1)}, [random.Random(n) for n in range(count)])
        for count in (1, 2)
    )
    slot = Slot()
    slot.fill(one.capture())
    live = two.parts["model"].weight  # type: ignore[union-attr]
    before = live.detach().clone()  # type: ignore[union-attr, operator]
    with pytest.raises(StateMismatch, match="has 1 generators, this training has 2"):
        two.restore(slot.state())
    assert torch.equal(live, before)  # type: ignore[arg-type]
    two.restore(slot.state(), keep=("rng",))
    assert not torch.equal(live, before)  # type: ignore[arg-type]


def test_what_an_optimizer_counts_in_plain_numbers_goes_back_too() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    own = optimizer.state[model.weight]
    own["calls"], own["seen"] = 3, [1, 2]
    state, slot = TrainingState({"model": model, "optimizer.0": optimizer}), Slot()
    slot.fill(state.capture())
    momentum = own["momentum_buffer"].clone()
    own["calls"], own["seen"] = 9, [1, 2, 3]
    optimizer.step()
    for _ in range(2):
        state.restore(slot.state())
        assert (own["calls"], own["seen"]) == (3, [1, 2])
        assert torch.equal(own["momentum_buffer"], momentum)
        own["seen"].append(7)

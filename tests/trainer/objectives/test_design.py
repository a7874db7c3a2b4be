"""The loss design as a loop uses it: pull when due, energy beside the policy, exact resume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.trainer.rows import mixed_batch
from trainer.model.batch import Batch
from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.objectives import ObjectiveError
from trainer.objectives.design import DesignConfig, LossDesign

BATCHES: list[Batch] = [mixed_batch(policy=3, world=1), mixed_batch(policy=2, world=2)]


class Loop:
    """The few lines of a training loop that matter here."""

    def __init__(self, config: DesignConfig) -> None:
        torch.manual_seed(0)
        self.model = VLA(SIZES["micro"])
        self.design = LossDesign(self.model, config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)

    def step(self, step: int) -> dict[str, float]:
        batch = BATCHES[step % 2]
        _, losses, metrics = self.design.train(self.model, batch, step)
        torch.autograd.backward(losses.total)
        turn = self.design.policy_turn(step)
        if turn:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        metrics |= self.design.finish(step, updated=turn)
        self.design.advance(losses.values, lambda v: {n: x.detach() for n, x in v.items()})
        return {name: float(v.detach()) for name, v in {**losses.values, **metrics}.items()}

    def state(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "design": self.design}
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
        return copy.deepcopy({**state, "rng": torch.get_rng_state()})

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.design.load_state_dict(state["design"])
        torch.set_rng_state(state["rng"])


def test_pull_is_measured_when_it_is_due_and_under_announced_names() -> None:
    loop = Loop(DesignConfig(pull_every=3))
    seen = [loop.step(step) for step in range(7)]
    assert [step for step, row in enumerate(seen) if "pull_closs" in row] == [0, 3, 6]
    names = {name for row in seen for name in row}
    extra = {name for name in names if name.startswith(("pull_", "conflict_"))}
    assert extra <= set(loop.design.metric_names())
    assert sum(value for name, value in seen[0].items() if name.startswith("pull_")) == (
        pytest.approx(1.0)
    )


def test_the_energy_model_trains_beside_the_policy_and_reports() -> None:
    loop = Loop(DesignConfig(energy="hinge", energy_width=32, energy_lr=1e-2, pull_every=0))
    seen = [loop.step(step) for step in range(12)]
    assert {"energy", "energy_positive", "energy_negative", "energy_gap"} <= set(seen[0])
    assert seen[-2]["energy"] < seen[0]["energy"]
    assert loop.design.objectives.weights["energy"] == 1.0


def test_the_energy_s_weight_can_be_set_live() -> None:
    loop = Loop(DesignConfig(energy="swap", energy_width=32))
    before = loop.step(0)["energy_grad_norm"]
    again = Loop(DesignConfig(energy="swap", energy_width=32))
    again.design.objectives.set("energy_weight", 4)
    assert again.step(0)["energy_grad_norm"] == pytest.approx(4 * before, rel=1e-4)


def test_an_energy_model_changes_nothing_in_a_policy_that_it_is_separate_from() -> None:
    alone = Loop(DesignConfig(pull_every=0))
    first = [alone.step(step) for step in range(4)]
    beside = Loop(DesignConfig(energy="hinge", energy_width=32, coupling="separate", pull_every=2))
    second = [beside.step(step) for step in range(4)]
    assert [{name: row[name] for name in first[0]} for row in second] == first


@pytest.mark.parametrize(
    "config",
    [
        DesignConfig(weighting="gradnorm", pull_every=2),
        DesignConfig(weighting="uncertainty", energy="hinge", energy_width=32, coupling="cache"),
        DesignConfig(weighting="running_scale", energy="swap", energy_width=32),
    ],
)
def test_a_resumed_design_goes_on_bit_for_bit(config: DesignConfig) -> None:
    whole = Loop(config)
    expected = [whole.step(step) for step in range(8)]
    first = Loop(config)
    seen = [first.step(step) for step in range(4)]
    state = first.state()
    second = Loop(config)
    second.load(state)
    assert seen + [second.step(step) for step in range(4, 8)] == expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"weighting": "mean"}, "no weighting is called 'mean'"),
        ({"coupling": "apart"}, "no coupling is called 'apart'"),
        ({"energy": "on"}, "energy must be one of off, reference, reference_swap, hinge, swap"),
    ],
)
def test_a_design_that_cannot_be_is_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ObjectiveError, match=sentence):
        DesignConfig(**settings)  # type: ignore[arg-type]


def test_a_validation_s_losses_have_no_effect() -> None:
    loop = Loop(DesignConfig(energy="hinge", energy_width=32))
    before = loop.state()["design"]
    with torch.no_grad():
        outputs = loop.model.eval()(BATCHES[0])
        values = loop.design.losses(outputs).values
    assert set(values) == {"closs", "loss_ct", "z_loss"}
    assert loop.state()["design"]["objectives"] == before["objectives"]


@pytest.mark.parametrize(("stated", "weight"), [("0:0,100:1", None), (0.0, None), (2.0, 2.0)])
def test_a_stated_weight_of_the_energy_is_kept(stated: float | str, weight: float | None) -> None:
    config = DesignConfig(energy="swap", energy_width=16)
    design = LossDesign(VLA(SIZES["micro"]), config, {"energy": stated})
    assert design.weights.get("energy") == weight


def test_freezing_the_backbone_needs_no_energy_model_and_the_others_do() -> None:
    model = VLA(SIZES["micro"])
    LossDesign(model, DesignConfig(coupling="freeze_backbone"))
    assert not any(p.requires_grad for p in model.model.parameters())
    assert all(p.requires_grad for p in model.action_head.parameters())
    with pytest.raises(ObjectiveError, match="needs an energy model, for ema_target is about"):
        LossDesign(model, DesignConfig(coupling="joint+ema_target"))


def test_the_energy_optimizer_s_rate_is_the_configuration_s_after_a_resume() -> None:
    first = Loop(DesignConfig(energy="swap", energy_width=16))
    first.step(0)
    second = Loop(DesignConfig(energy="swap", energy_width=16, energy_lr=3e-3))
    second.load(first.state())
    assert second.design.energy is not None
    assert [g["lr"] for g in second.design.energy.optimizer.param_groups] == [3e-3]


def test_an_adaptive_coupling_learns_from_what_is_reduced_over_the_ranks() -> None:
    loop = Loop(DesignConfig(energy="hinge", energy_width=16, coupling="adaptive"))
    noisy = [0.1 if step % 2 else 0.9 for step in range(11)]
    for value in noisy:  # this rank's own losses are calm: it is the mean that counts
        own = {"loss_ct": torch.tensor(0.1), "energy": torch.tensor(1.0)}
        mean = {"loss_ct": torch.tensor(value), "energy": torch.tensor(1.0)}
        loop.design.advance(own, lambda _, mean=mean: mean)  # type: ignore[misc]
    assert loop.design.weights["loss_ct"] == 5.0
    assert loop.design.weights["energy"] == 1.0


def test_pulls_that_are_measured_move_the_weights_that_learn_from_them() -> None:
    learning, fixed = (
        Loop(DesignConfig(weighting=name, pull_every=2)) for name in ("gradnorm", "fixed")
    )
    for loop, moves in ((learning, True), (fixed, False)):
        stated = dict(loop.design.objectives.stated)
        before = dict(loop.design.weights)
        loop.step(0)
        after = dict(loop.design.weights)
        assert (after != before) is moves
        loop.step(1)
        assert loop.design.weights == after, "nothing was measured at this step"
        assert loop.design.objectives.stated == stated


def test_a_step_without_a_forward_of_its_own_updates_no_energy_model() -> None:
    design = Loop(DesignConfig(energy="swap", energy_width=16)).design
    assert design.finish(0, updated=True) == {}
    design.train(design.model, BATCHES[0], 0, first=False)
    assert design.finish(0, updated=True) == {}
    design.train(design.model, BATCHES[0], 0)
    assert "energy" in design.finish(0, updated=True)

"""Pull is the true gradient on the last down_proj, found without a backward of the trunk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.trainer.rows import mixed_batch
from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.objectives import Objectives
from trainer.objectives.pull import Pull, measure_pull
from trainer.objectives.term import Term

CONFIG = replace(SIZES["micro"], dropout=0.1)


def setup() -> tuple[VLA, Objectives]:
    torch.manual_seed(0)
    return VLA(CONFIG), Objectives({"loss_ct_mse": 1.0})


def weight_of(model: VLA) -> Tensor:
    return dict(model.named_parameters())["model.layers.1.mlp.down_proj.weight"]


def test_norms_and_cosines_are_those_of_the_full_backward_even_with_dropout() -> None:
    model, objectives = setup()
    outputs = model(mixed_batch(), trace=True)
    losses = objectives(outputs)
    full = {
        name: torch.autograd.grad(
            losses.weights[name] * value, weight_of(model), retain_graph=True
        )[0]
        for name, value in losses.values.items()
    }
    pull = measure_pull(model, outputs, objectives)
    assert set(pull.norms) == {"closs", "loss_ct", "z_loss", "loss_ct_mse"}
    for name, gradient in full.items():
        torch.testing.assert_close(pull.norms[name], gradient.norm(), rtol=1e-4, atol=1e-9)
    cosine = torch.cosine_similarity(full["closs"].flatten(), full["loss_ct"].flatten(), dim=0)
    torch.testing.assert_close(pull.cosines["closs", "loss_ct"], cosine, rtol=1e-3, atol=1e-5)
    assert sum(pull.shares.values()).item() == pytest.approx(1.0)  # type: ignore[union-attr]


def test_measuring_changes_nothing_in_the_training() -> None:
    model, objectives = setup()
    batch = mixed_batch()
    outputs = model(batch, trace=True)
    before = torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    measure_pull(model, outputs, objectives)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    objectives(outputs).total.backward()
    with_pull = {n: p.grad for n, p in model.named_parameters()}

    torch.manual_seed(0)
    again = VLA(CONFIG)
    objectives(again(batch)).total.backward()
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter.grad, with_pull[name]), name  # type: ignore[arg-type]


def test_a_batch_without_actions_has_no_pull_of_loss_ct() -> None:
    model, objectives = setup()
    pull = measure_pull(model, model(mixed_batch(policy=0, world=2), trace=True), objectives)
    assert set(pull.metrics()) == {"pull_closs", "pull_z_loss", "conflict_closs_z_loss"}


def test_a_weight_scales_its_own_pull_and_no_cosine() -> None:
    model, objectives = setup()
    model.eval()
    outputs = model(mixed_batch(), trace=True)
    before = measure_pull(model, outputs, objectives)
    objectives.set("loss_ct_weight", 5)
    after = measure_pull(model, outputs, objectives)
    torch.testing.assert_close(after.norms["loss_ct"], before.norms["loss_ct"] / 2)
    torch.testing.assert_close(after.norms["closs"], before.norms["closs"])
    key = ("closs", "loss_ct")
    torch.testing.assert_close(after.cosines[key], before.cosines[key], rtol=1e-4, atol=1e-6)
    assert after.unweighted_norms()["loss_ct"] == pytest.approx(
        before.unweighted_norms()["loss_ct"], rel=1e-4
    )


def test_value_share_is_not_pull() -> None:
    model, objectives = setup()
    outputs = model(mixed_batch(), trace=True)
    losses = objectives(outputs)
    pull: Pull = measure_pull(model, outputs, objectives)
    weighted = {name: losses.weights[name] * v.item() for name, v in losses.values.items()}
    share = weighted["closs"] / sum(weighted.values())
    assert abs(share - float(pull.shares["closs"])) > 0.05


def test_a_term_that_another_weight_alone_decides_has_no_pull() -> None:
    model, objectives = setup()
    size = Term("size", lambda outputs: model.lm_head.weight.square().mean(), weight=1.0)
    objectives.terms = {**objectives.terms, "size": size}
    weights = {**objectives.weights, "size": 1.0}
    pull = measure_pull(model, model(mixed_batch(), trace=True), objectives, weights)
    assert set(pull.norms) == {"closs", "loss_ct", "z_loss", "loss_ct_mse"}

"""Every shipped term: its formula, its gradient checked numerically, its absence."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainer.rows import mixed_batch, policy_sample, world_sample
from trainer.model import tokens
from trainer.model.batch import Batch, collate
from trainer.model.config import SIZES
from trainer.model.vla import VLA, Outputs
from trainer.objectives import ObjectiveError, Objectives
from trainer.objectives import terms as shipped_terms
from trainer.objectives.design import DesignConfig, LossDesign
from trainer.objectives.terms import shipped

WITH_GRADIENT = sorted(shipped().keys() - {"energy"})


@pytest.fixture(scope="module")
def model() -> VLA:
    torch.manual_seed(0)
    model = VLA(replace(SIZES["micro"], init_std=0.3)).eval()
    model.show_codebook(torch.rand(64, 12))
    return model


def everything(batch: Batch | None = None) -> tuple[Objectives, Batch]:
    objectives = Objectives(dict.fromkeys(shipped(), 1.0))
    return objectives, objectives.prepare(batch or mixed_batch())


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_the_gradient_of_a_term_passes_a_numeric_check(model: VLA, name: str) -> None:
    _, batch = everything()
    term = shipped()[name]
    parameter = dict(model.named_parameters())["model.layers.0.mlp.up_proj.weight"]
    torch.manual_seed(5)
    direction = torch.randn_like(parameter)

    def value() -> Tensor:
        loss = term.loss(model(batch))
        assert loss is not None
        return loss

    (slope,) = torch.autograd.grad(value(), parameter)
    analytic = float((slope * direction).sum())
    step = 1e-3
    with torch.no_grad():
        parameter.add_(step * direction)
        above = float(value())
        parameter.sub_(2 * step * direction)
        below = float(value())
        parameter.add_(step * direction)
    numeric = (above - below) / (2 * step)
    assert analytic == pytest.approx(numeric, rel=0.03, abs=2e-4)
    assert slope.abs().sum() > 0


def with_labels(ids: list[int]) -> Batch:
    """World-model rows whose first labels are replaced by these ids."""
    batch = mixed_batch(policy=2, world=2)
    labels = batch.labels.clone()
    row = int((batch.layout.label_at[-1] // batch.input_ids.shape[1]).item())
    at = (labels[row] != -100).nonzero().flatten()[: len(ids)]
    labels[row, at] = torch.tensor(ids)
    return batch.with_labels(labels)


@pytest.mark.parametrize(("choice", "first", "last"), [("reference", 3, 8194), ("codes", 4, 8195)])
def test_closs_is_the_weighted_mean_of_the_naive_cross_entropy(
    model: VLA, choice: str, first: int, last: int
) -> None:
    LossDesign(model, DesignConfig(image_weight_ids=choice))
    batch = with_labels([3, 4, 8194, 8195])
    outputs = model(batch)
    logits = model.lm_head(outputs.hidden)[:, :-1].flatten(0, 1)
    labels = batch.labels[:, 1:].flatten()
    each = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
    weight = torch.where((labels >= first) & (labels <= last), 0.04, 1.0) * (labels != -100)
    value = shipped()["closs"].loss(outputs)
    torch.testing.assert_close(value, (each * weight).sum() / weight.sum(), rtol=1e-5, atol=1e-5)
    z = logits.logsumexp(-1).square()[labels != -100].mean()
    torch.testing.assert_close(shipped()["z_loss"].loss(outputs), z, rtol=1e-5, atol=1e-4)


def test_the_two_choices_of_image_ids_differ_where_targets_lie_at_the_ends(model: VLA) -> None:
    """Such a target counts fully under one choice, and 0.04 under the other."""
    values = []
    for choice in ("reference", "codes"):
        LossDesign(model, DesignConfig(image_weight_ids=choice))
        value = shipped()["closs"].loss(model(with_labels([3, 3, 8195, 8195])))
        assert value is not None
        values.append(float(value.detach()))
    assert abs(values[0] - values[1]) > 0.01
    with pytest.raises(ObjectiveError, match="image_weight_ids must be reference or codes"):
        DesignConfig(image_weight_ids="all")


def test_uniform_logits_score_what_the_design_says() -> None:
    model = VLA(SIZES["micro"]).eval()
    torch.nn.init.zeros_(model.lm_head.weight)
    outputs = model(mixed_batch())
    closs, z_loss = (shipped()[name].loss(outputs) for name in ("closs", "z_loss"))
    assert closs.item() == pytest.approx(math.log(16640), rel=1e-5)  # type: ignore[union-attr]
    assert z_loss.item() == pytest.approx(math.log(16640) ** 2, rel=1e-5)  # type: ignore[union-attr]


def with_actions(outputs: Outputs, error: float) -> Outputs:
    layout = outputs.batch.layout
    return replace(outputs, actions=layout.actions + error)


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("loss_ct", 0.13, 0.13),
        ("loss_ct_mse", 0.5, 0.25),
        ("loss_ct_smooth", 0.5, 0.45),
        ("loss_ct_smooth", 0.05, 0.0125),
    ],
)
def test_the_action_losses_are_means_per_dimension(
    model: VLA, name: str, error: float, expected: float
) -> None:
    outputs = with_actions(model(collate([policy_sample(0), policy_sample(1)])), error)
    value = shipped()[name].loss(outputs)
    assert value is not None
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_loss_ct_counts_labelled_dimensions_only(model: VLA) -> None:
    batch = collate([policy_sample(0, actions=2), policy_sample(1, actions=5)])
    outputs = with_actions(model(batch), 0.2)
    assert outputs.actions is not None
    outputs.actions[0, 2:] = 99.0  # the first row has no such actions
    assert float(shipped()["loss_ct"].loss(outputs)) == pytest.approx(0.2)  # type: ignore[arg-type]


def test_actions_beyond_the_horizon_of_the_head_are_none_that_it_missed(model: VLA) -> None:
    """Only its first two are compared, and none of those is labelled."""
    outputs = model(collate([policy_sample(0), policy_sample(1)]))
    layout = outputs.batch.layout
    valid = layout.action_valid.clone()
    valid[:, :2] = False
    late = replace(layout, action_valid=valid, labelled=(0, 0, *layout.labelled[2:]))
    assert outputs.actions is not None
    short = replace(
        outputs, actions=outputs.actions[:, :2], batch=replace(outputs.batch, layout=late)
    )
    assert shipped()["loss_ct"].loss(short) is None


def test_what_a_batch_has_nothing_for_is_absent(model: VLA) -> None:
    objectives, batch = everything(collate([world_sample(0), world_sample(1)]))
    values = objectives(model(batch)).values
    assert set(values) == {"closs", "z_loss", "masked_codes", "masked_patches"}
    lone = Objectives({"alignment": 1.0})(model(collate([policy_sample(0)]))).values
    assert "alignment" not in lone


def test_masks_hide_prompt_codes_and_no_target() -> None:
    batch = collate([policy_sample(0, side=8), world_sample(1, side=8)])
    _, masked = everything(batch)
    assert masked.masked is not None
    flat, rows = batch.input_ids.flatten(), masked.input_ids.flatten()
    at = masked.masked.at
    assert 20 < len(at) < 80
    assert torch.equal(flat[at], masked.masked.codes)
    assert (rows[at] == tokens.MASK).all()
    assert tokens.is_image_code(flat[at]).all()
    assert (batch.labels.flatten()[at] == tokens.IGNORE).all()
    others = torch.ones_like(flat, dtype=torch.bool)
    others[at] = False
    assert torch.equal(flat[others], rows[others])


def test_masks_depend_on_step_and_samples_alone() -> None:
    objectives, first = everything()
    torch.manual_seed(99)
    again = objectives.prepare(mixed_batch())
    assert torch.equal(first.input_ids, again.input_ids)
    objectives.advance()
    assert not torch.equal(first.input_ids, objectives.prepare(mixed_batch()).input_ids)


def test_alignment_knows_equal_instructions_and_sees_no_leak(model: VLA) -> None:
    same = collate([policy_sample(0), policy_sample(0), policy_sample(0)])
    value = shipped()["alignment"].loss(model(same))
    assert value is not None
    assert value.item() == pytest.approx(math.log(3), rel=1e-4)  # nothing to tell apart
    batch = collate([policy_sample(0), policy_sample(1)])
    outputs = model(batch)
    other_text = torch.where(batch.input_ids >= tokens.TEXT_FIRST, 16200, batch.input_ids)
    changed = model(replace(batch, input_ids=other_text))
    images = tokens.is_image_code(batch.input_ids)
    assert torch.equal(outputs.decoded.embedded[images], changed.decoded.embedded[images])


def test_alignment_is_the_symmetric_cross_entropy_of_cosines_at_a_tenth(model: VLA) -> None:
    """By hand, row by row: two policy rows have one instruction, a world-model row counts not."""
    first, second = policy_sample(0), policy_sample(1)
    begun = [first.input_ids[0], tokens.TEXT_FIRST]  # the first word that there is
    first = replace(first, input_ids=[*begun, *first.input_ids[2:]])
    spoken = [*first.input_ids[:5], *second.input_ids[5:]]
    third = replace(second, input_ids=spoken, sample_id=7)
    outputs = model(collate([first, second, third, world_sample(3)]))
    batch = outputs.batch
    texts, images, words = [], [], []
    for row in batch.layout.policy_rows.tolist():
        prompt = [
            (at, int(token))
            for at, token in enumerate(batch.input_ids[row])
            if batch.labels[row, at] == tokens.IGNORE
        ]
        said = [(at, token) for at, token in prompt if token >= tokens.TEXT_FIRST]
        seen = [at for at, token in prompt if tokens.is_image_code(torch.tensor(token))]
        words.append([token for _, token in said])
        texts.append(torch.stack([outputs.hidden[row, at] for at, _ in said]).mean(0))
        images.append(torch.stack([outputs.decoded.embedded[row, at] for at in seen]).mean(0))
    assert len(words) == 3
    assert words[0] == words[2] != words[1]
    losses = []
    for ones, others in ((texts, images), (images, texts)):
        for row, one in enumerate(ones):
            cosines = [torch.cosine_similarity(one, other, dim=0) for other in others]
            chances = torch.stack(cosines).mul(10.0).log_softmax(0)
            alike = [other for other in range(3) if words[other] == words[row]]
            losses.append(-torch.stack([chances[other] for other in alike]).mean())
    value = shipped()["alignment"].loss(outputs)
    torch.testing.assert_close(value, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


def test_alignment_takes_two_policy_rows(model: VLA) -> None:
    pair = model(collate([policy_sample(0), policy_sample(1), world_sample(2)]))
    lone = model(collate([policy_sample(0), world_sample(2)]))
    assert shipped()["alignment"].loss(pair) is not None
    assert shipped()["alignment"].loss(lone) is None


def test_z_loss_is_absent_where_nothing_is_labelled(model: VLA) -> None:
    outputs = model(mixed_batch())
    empty = replace(
        outputs.tokens,
        targets=outputs.tokens.targets[:0],
        logsumexp=outputs.tokens.logsumexp[:0],
    )
    term = shipped()["z_loss"]
    assert term.loss(replace(outputs, tokens=empty)) is None
    (one,) = outputs.tokens.logsumexp[:1]
    lone = replace(empty, targets=outputs.tokens.targets[:1], logsumexp=one[None])
    torch.testing.assert_close(term.loss(replace(outputs, tokens=lone)), one.square())
    assert term.weight == 1e-5


def test_the_weights_of_the_shipped_terms_are_those_of_the_page() -> None:
    weights = {name: term.weight for name, term in shipped().items()}
    trained = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}
    assert list(weights)[:3] == list(trained)
    assert weights == {**dict.fromkeys(weights, 0.0), **trained}


@pytest.fixture
def added_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file beside the shipped ones, as docs/objectives.md tells to."""
    (tmp_path / "action_size.py").write_text(
        "from trainer.objectives.term import Term\n"
        "TERM = Term('action_size', lambda outputs: None if outputs.actions is None\n"
        "            else outputs.actions.square().mean(), weight=0.5)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(shipped_terms, "__path__", [*shipped_terms.__path__, str(tmp_path)])
    shipped.cache_clear()
    yield "action_size"
    shipped.cache_clear()
    sys.modules.pop("trainer.objectives.terms.action_size", None)


def test_one_small_file_is_all_that_a_new_term_takes(model: VLA, added_term: str) -> None:
    objectives = Objectives()
    losses = objectives(model(mixed_batch()))
    assert losses.weights[added_term] == 0.5
    assert added_term in losses.values
    assert objectives.set("action_size_weight", 2) == 0.5

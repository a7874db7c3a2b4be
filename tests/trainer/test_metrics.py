"""Watched metrics over the traps: horizons, truncated and empty blocks, batches without actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.trainer.rows import policy_sample, world_sample
from trainer.metrics import watched_metrics
from trainer.model import tokens
from trainer.model.batch import Batch, Sample, collate
from trainer.model.config import SIZES
from trainer.model.vla import VLA, Outputs

MODEL = VLA(SIZES["micro"]).eval()


@torch.no_grad()
def outputs_with(batch: Batch, argmax: Tensor) -> Outputs:
    outputs: Outputs = MODEL(batch)
    return replace(outputs, tokens=replace(outputs.tokens, argmax=argmax))


def measure(batch: Batch, argmax: Tensor | None = None) -> dict[str, float]:
    perfect = batch.layout.targets.clone() if argmax is None else argmax
    return {name: float(v) for name, v in watched_metrics(outputs_with(batch, perfect)).items()}


def row(target: Sequence[int]) -> Sample:
    prompt = [tokens.BOS, 16100, *tokens.image_block([[1, 2], [3, 4]]), tokens.TURN]
    return Sample([*prompt, *target], [tokens.IGNORE] * len(prompt) + list(target), 0)


def slots(metrics: dict[str, float], prefix: str) -> list[int]:
    return sorted(int(name.rsplit("_", 1)[1]) for name in metrics if name.startswith(prefix))


@pytest.mark.parametrize(
    ("horizon", "expected"), [(1, [9]), (5, [5, 6, 7, 8, 9]), (10, range(10)), (20, range(10))]
)
def test_slots_are_right_aligned_and_wrap_beyond_ten(horizon: int, expected: Sequence[int]) -> None:
    metrics = measure(collate([policy_sample(0, actions=horizon)]))
    assert slots(metrics, "l1_loss_action_") == list(expected)
    assert slots(metrics, "acc_action_") == list(expected)


def test_perfect_predictions_score_one_and_zero() -> None:
    metrics = measure(collate([policy_sample(0), world_sample(1)]))
    assert {value for name, value in metrics.items() if name.startswith("acc_")} == {1.0}
    assert {value for name, value in metrics.items() if name.startswith("l1_")} == {0.0}
    assert metrics["action_outside"] == 0.0


def test_horizon_5_measures_its_first_action_in_slot_5() -> None:
    batch = collate([policy_sample(0)])
    argmax = batch.layout.targets.clone()
    first = torch.nonzero(batch.layout.block == 0).flatten()
    argmax[first[0]] += 2 if argmax[first[0]] < tokens.ACTION_BIN_FIRST + 200 else -2
    metrics = measure(batch, argmax)
    assert metrics["acc_action_5"] == pytest.approx(6 / 7)
    assert metrics["l1_loss_action_5"] == pytest.approx(2 * 2 / 255 / 7, rel=1e-4)
    assert metrics["acc_action_6"] == 1.0


def test_horizon_20_puts_actions_0_and_10_into_one_slot() -> None:
    batch = collate([policy_sample(0, actions=20)])
    argmax = batch.layout.targets.clone()
    argmax[batch.layout.block == 10] = tokens.ACTION_BIN_FIRST - 1
    assert measure(batch, argmax)["acc_action_0"] == pytest.approx(0.5)


def test_a_batch_without_actions_has_no_action_metric() -> None:
    metrics = measure(collate([world_sample(0), world_sample(1)]))
    assert not [name for name in metrics if "action" in name]
    assert slots(metrics, "acc_image_") == [8, 9]


def test_the_prompt_s_own_action_and_images_are_not_measured() -> None:
    metrics = measure(collate([policy_sample(0)]))
    assert not [name for name in metrics if "image" in name]


def test_a_truncated_block_is_measured_on_what_is_left_of_it() -> None:
    whole = tokens.action_block([0.5] * 7)
    batch = collate([row([*whole, *whole[:4]])])
    assert batch.layout.action_valid.sum(-1).tolist() == [[7, 3]]
    metrics = measure(batch)
    assert slots(metrics, "l1_loss_action_") == [8, 9]
    assert metrics["l1_loss_action_9"] == 0.0


def test_an_empty_block_keeps_its_slot_and_is_absent() -> None:
    whole = tokens.action_block([0.5] * 7)
    empty = [tokens.ACTION_BEGIN, tokens.ACTION_END]
    metrics = measure(collate([row([*whole, *empty, *whole])]))
    assert slots(metrics, "l1_loss_action_") == [7, 9]


def test_a_row_that_ends_right_after_an_action_begin_is_absent() -> None:
    batch = collate([row([tokens.ACTION_BEGIN])])
    assert measure(batch) == {}
    assert batch.layout.policy_rows.tolist() == [0]


def test_predictions_that_are_no_action_tokens_are_counted_and_score_near_one() -> None:
    batch = collate([policy_sample(seed) for seed in range(40)])
    argmax = torch.full_like(batch.layout.targets, tokens.TURN)
    metrics = measure(batch, argmax)
    assert metrics["action_outside"] == 1.0
    mean = sum(metrics[f"l1_loss_action_{slot}"] for slot in range(5, 10)) / 5
    assert mean == pytest.approx(0.996, abs=0.05)


def test_rows_with_other_horizons_share_the_right_aligned_slots() -> None:
    batch = collate([policy_sample(0, actions=2), policy_sample(1, actions=5)])
    argmax = batch.layout.targets.clone()
    argmax[batch.layout.block == 0] = tokens.TURN  # the short row's first action
    metrics = measure(batch, argmax)
    assert metrics["acc_action_8"] == pytest.approx(0.5)
    assert metrics["acc_action_5"] == 1.0

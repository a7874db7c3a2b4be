"""Faults to order: what each changes, when, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.rows import policy_sample
from tests.trainer.trainings import same, trained, weights
from trainer.faults import KINDS, Fault, FaultError, Faults, flip_exponent_bit
from trainer.model import tokens
from trainer.model.batch import collate
from trainer.model.config import SIZES
from trainer.model.vla import VLA


def test_a_fault_is_a_kind_a_sample_and_what_differs_from_the_usual() -> None:
    assert Fault.parse("lr_jump@300") == Fault("lr_jump", 300, 16, 1000.0)
    assert Fault.parse("lr_jump@300+8x50") == Fault("lr_jump", 300, 8, 50.0)
    assert Fault.parse("logit_scale@7x1e2") == Fault("logit_scale", 7, 0, 100.0)


@pytest.mark.parametrize(
    "order", ["lr_jump", "explode@3", "nan@-1", "lr_jump@5x", "lr_jump@5x1e", "lr_jump@3x1e400"]
)
def test_a_wrong_fault_says_how_to_write_one(order: str) -> None:
    with pytest.raises(FaultError, match=f"--induce {order}: "):
        Fault.parse(order)


def test_the_learning_rate_jumps_for_exactly_its_samples() -> None:
    faults = Faults(["lr_jump@300+10x50"], seed=0)
    assert faults.lr_factor(296, 300) == 1.0
    assert faults.lr_factor(298, 302) == 50.0
    assert faults.lr_factor(308, 312) == 50.0
    assert faults.lr_factor(310, 314) == 1.0


def test_clipping_is_off_from_its_sample_on() -> None:
    faults = Faults(["no_clip@40"], seed=0)
    assert faults.clips(39)
    assert not faults.clips(40)
    assert not faults.clips(100_000)


def test_corruption_sticks_to_its_samples_and_spares_the_others() -> None:
    batch = collate([policy_sample(i, sample_id=i) for i in range(4)])
    faults = Faults(["corrupt_labels@100+2"], seed=0)
    once = faults.corrupt(batch, [99, 100, 101, 102])
    again = Faults(["corrupt_labels@100+2"], seed=0).corrupt(batch, [99, 100, 101, 102])
    changed = [not torch.equal(once.labels[i], batch.labels[i]) for i in range(4)]
    assert changed == [False, True, True, False]
    assert torch.equal(once.labels, again.labels)
    assert torch.equal(once.input_ids, batch.input_ids)


def test_corruption_meets_its_samples_again_in_the_next_pass() -> None:
    """Eight samples a pass, in another order each time: 2 and 5 are the corrupted ones."""
    order = [[0, 1, 2, 5, 3, 4, 6, 7], [5, 0, 7, 1, 2, 3, 4, 6]]
    faults = Faults(["corrupt_labels@2+2"], seed=0)
    faults.sample_at = lambda cursor: order[cursor // 8][cursor % 8]
    for turn in range(2):
        batch = collate([policy_sample(name, sample_id=name) for name in order[turn]])
        seen = faults.corrupt(batch, list(range(8 * turn, 8 * turn + 8)))
        changed = {
            name
            for row, name in enumerate(order[turn])
            if not torch.equal(seen.labels[row], batch.labels[row])
        }
        assert changed == {2, 5}


def test_corruption_keeps_the_blocks_so_that_the_action_loss_sees_it_too() -> None:
    batch = collate([policy_sample(0, sample_id=0)])
    corrupted = Faults(["corrupt_labels@0"], seed=0).corrupt(batch, [0])
    assert corrupted.layout.actions.shape == batch.layout.actions.shape
    assert not torch.equal(corrupted.layout.actions, batch.layout.actions)


def test_a_batch_without_corrupted_samples_is_handed_on_as_it_is() -> None:
    batch = collate([policy_sample(0, sample_id=0)])
    assert Faults(["corrupt_labels@50"], seed=0).corrupt(batch, [3]) is batch


def test_logit_scale_meets_a_replay_again_but_a_bit_flips_only_once() -> None:
    model = VLA(SIZES["micro"])
    faults = Faults(["logit_scale@5x2", "bit_flip@5"], seed=0)
    assert len(faults.strike_weights(model, 4, 8)) == 2
    assert len(faults.strike_weights(model, 4, 8)) == 1
    assert float(model.get_parameter("model.norm.weight").detach()[0]) == 4.0
    assert faults.strike_weights(model, 8, 12) == []


def test_nan_happens_once_and_only_on_the_rank_whose_hardware_fails() -> None:
    faults = Faults(["nan@5"], seed=0)
    assert [faults.poisons(4, 8), faults.poisons(4, 8)] == [True, False]
    healthy = Faults(["nan@5"], seed=0)
    healthy.strikes_hardware = False
    assert not healthy.poisons(4, 8)


def test_a_flipped_exponent_bit_is_one_number_and_flips_back() -> None:
    weight = torch.full((tokens.ACTION_BIN_FIRST + 256, 4), 0.02)
    before = weight.clone()
    flip_exponent_bit(weight, 9)
    assert int((weight != before).sum()) == 1
    assert float(weight.max()) > 1e30
    flip_exponent_bit(weight, 9)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_really_changes_the_training(kind: str, tmp_path: Path) -> None:
    settings = ("guard.mode=off", "loop.validation_samples=0")
    clean = trained(tmp_path / "clean", 8, *settings, emit=False)
    faulty = trained(tmp_path / "faulty", 8, *settings, emit=False, induce=[f"{kind}@6"])
    assert not same(weights(clean), weights(faulty))


def test_a_nan_in_the_forward_pass_never_reaches_the_weights(tmp_path: Path) -> None:
    settings = ("guard.mode=off", "loop.validation_samples=0")
    run = trained(tmp_path, 8, *settings, induce=["nan@6"])
    assert all(torch.isfinite(w).all() for w in weights(run))

"""Steps in which no trained term has a gradient: measured and told, but no update."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.test_totals import rows
from tests.trainer.trainings import config, same, trained, weights
from trainer.config import ConfigError
from trainer.epoch_means import EpochMeans
from trainer.loop import begin_epoch, report, train
from trainer.run import Options
from trainer.setup import prepare
from trainer.step import compute, update

QUIET = "loop.validation_samples=0"
HEAD_ALONE = (QUIET, "closs_weight=0", "z_loss_weight=0")
FROZEN = (QUIET, "objectives.energy=swap", "objectives.energy_width=16")


@pytest.mark.parametrize("settings", [HEAD_ALONE, (*FROZEN, "coupling=freeze_backbone")])
def test_a_batch_of_world_model_rows_alone_changes_no_weight(
    settings: tuple[str, ...], tmp_path: Path
) -> None:
    fresh = prepare(config(*settings, "data.world_share=1"), Options(run_dir=tmp_path / "fresh"))
    run = trained(tmp_path / "run", 4, *settings, "data.world_share=1")
    assert same(weights(run), weights(fresh))
    seen = [values for values, _ in rows(tmp_path / "run")]
    assert len(seen) == 4
    assert all("acc_image_9" in values and "grad_norm" not in values for values in seen)
    fresh.__exit__(None, None, None)


def test_a_mixed_training_of_the_head_alone_goes_on_after_such_a_batch(tmp_path: Path) -> None:
    run = trained(tmp_path, 30, *HEAD_ALONE, "data.world_share=0.7")
    norms = ["grad_norm" in values for values, _ in rows(tmp_path)]
    assert True in norms
    assert False in norms
    assert run.outcome == "finished"
    assert all(torch.isfinite(weight).all() for weight in weights(run))


def test_weights_that_are_all_set_to_zero_live_stop_the_updates_and_not_the_run(
    tmp_path: Path,
) -> None:
    run = prepare(config(QUIET), Options(run_dir=tmp_path))
    log = begin_epoch(run, 0, EpochMeans(20))
    with run:
        run.guard.start(resume=False)
        for name in ("closs", "z_loss", "loss_ct"):
            run.optimisation.objectives.set(name, 0)
        before = weights(run)
        computed = compute(run, 0)
        update(run, computed, finite=run.guard.check(0, grad_norm=computed.grad_norm))
        report(run, computed, log, 0.1)
    assert computed.grad_norm is None
    ((values, _),) = rows(tmp_path)
    assert not {"total", "closs", "grad_norm"} & values.keys()  # absent, never zero
    assert same(weights(run), before)


def test_the_energy_model_is_trained_where_the_policy_is_not(tmp_path: Path) -> None:
    settings = (*HEAD_ALONE, "loss_ct_weight=0", "objectives.energy=swap", "energy_width=16")
    run = prepare(
        config(*settings, "data.world_share=0", "loop.steps=3"), Options(run_dir=tmp_path)
    )
    energy = run.optimisation.design.energy
    assert energy is not None
    before = [p.detach().clone() for p in energy.model.parameters()]
    policy = weights(run)
    with run:
        run.outcome = train(run)
    assert same(weights(run), policy)
    assert not same([p.detach() for p in energy.model.parameters()], before)


def test_a_training_in_which_nothing_ever_has_a_weight_is_refused(tmp_path: Path) -> None:
    none = (*HEAD_ALONE, "loss_ct_weight=0")
    with pytest.raises(ConfigError, match="every loss weight is 0"):
        prepare(config(*none), Options(run_dir=tmp_path))
    with pytest.raises(ConfigError, match="every loss weight is 0"):
        prepare(config(*none, "energy_weight=1"), Options(run_dir=tmp_path))
    later = prepare(config(*none, "loss_ct_weight=0:0,100:1"), Options(run_dir=tmp_path))
    later.__exit__(None, None, None)

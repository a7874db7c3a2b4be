"""What a resume takes from its checkpoint, what from its command line, and what run.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.test_totals import rows
from tests.trainer.trainings import config, trained
from trainer.config import ConfigError
from trainer.run import Options
from trainer.setup import prepare
from vlamon.records import Event
from vlamon.sources.journal import JournalSource

QUIET = "loop.validation_samples=0"
ONE_KIND = "data.world_share=0"
ENERGY = ("objectives.energy=swap", "objectives.energy_width=16")


def recorded(run_dir: Path) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((run_dir / "run.json").read_text())["config"]
    return tables


def notes(run_dir: Path) -> list[str]:
    source = JournalSource(run_dir / "run.vlaj")
    found = []
    while not source.finished:
        found += [r.text for r in source.read(0.1) if isinstance(r, Event) and r.kind == "note"]
    source.close()
    return found


def test_what_a_resume_states_outright_holds_against_its_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, 4, QUIET, ONE_KIND)
    stated = ("weights.loss_ct=5", "optim.clip_grad=1")
    keys = ("weights.loss_ct", "optim.clip_grad")
    run = trained(tmp_path, 6, QUIET, ONE_KIND, *stated, resume=True, stated=keys)
    assert run.clipping.limit == 1.0
    assert [w["loss_ct"] for _, w in rows(tmp_path)] == [10.0] * 4 + [5.0] * 2
    told = [text for text in notes(tmp_path) if "command line" in text]
    changes = "loss_ct_weight 5 instead of 10, clip_grad 1 instead of 4"
    assert told == [f"resumed with {changes}, as its command line says"]
    assert recorded(tmp_path)["weights"] == {"loss_ct": 5.0}
    assert recorded(tmp_path)["optim"]["clip_grad"] == 1.0


def test_what_a_resume_does_not_state_is_the_checkpoint_s_and_recorded_so(tmp_path: Path) -> None:
    trained(tmp_path, 4, QUIET, "weights.loss_ct=0:3,8:1", "optim.clip_grad=2")
    run = trained(tmp_path, 6, QUIET, resume=True)
    assert run.clipping.limit == 2.0
    assert recorded(tmp_path)["weights"] == {"loss_ct": "0:3.0,8:1.0"}
    assert recorded(tmp_path)["optim"]["clip_grad"] == 2.0
    assert not [text for text in notes(tmp_path) if "command line" in text]
    assert config(f"weights.loss_ct={recorded(tmp_path)['weights']['loss_ct']}").weights


def test_a_resume_that_states_what_is_in_force_says_nothing(tmp_path: Path) -> None:
    trained(tmp_path, 2, QUIET, "weights.loss_ct=5")
    trained(tmp_path, 4, QUIET, "weights.loss_ct=5", resume=True, stated=("weights.loss_ct",))
    assert not [text for text in notes(tmp_path) if "command line" in text]


def test_decay_and_betas_are_the_configuration_s_like_the_learning_rate(tmp_path: Path) -> None:
    trained(tmp_path, 2, QUIET)
    changed = ("optim.weight_decay=0.3", "optim.betas=0.8,0.9")
    run = trained(tmp_path, 4, QUIET, *changed, resume=True)
    groups = run.optimisation.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}


def test_another_optimizer_cannot_take_up_a_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, 2, QUIET)
    with pytest.raises(ConfigError, match=r"optim\.name=adamw, and sgd cannot go on"):
        prepare(config(QUIET, "optim.name=sgd"), Options(run_dir=tmp_path, resume=True))
    assert recorded(tmp_path)["optim"]["name"] == "adamw"


def test_an_energy_model_switched_on_at_a_resume_is_trained(tmp_path: Path) -> None:
    trained(tmp_path, 3, QUIET, "data.world_share=0")
    run = trained(tmp_path, 6, QUIET, "data.world_share=0", *ENERGY, resume=True)
    assert run.optimisation.design.weights["energy"] == 1.0
    assert [("energy" in values) for values, _ in rows(tmp_path)] == [False] * 3 + [True] * 3


def test_an_energy_model_switched_off_at_a_resume_weighs_nothing(tmp_path: Path) -> None:
    trained(tmp_path, 3, QUIET, *ENERGY)
    run = trained(tmp_path, 6, QUIET, resume=True)
    assert "energy" not in run.optimisation.design.weights


def test_a_fresh_run_fits_a_codebook_of_its_own(tmp_path: Path) -> None:
    trained(tmp_path, 1, QUIET)
    before = (tmp_path / "codebook.npz").read_bytes()
    trained(tmp_path, 2, QUIET, resume=True)
    assert (tmp_path / "codebook.npz").read_bytes() == before
    trained(tmp_path, 1, QUIET, "data.image_size=16")
    assert (tmp_path / "codebook.npz").read_bytes() != before

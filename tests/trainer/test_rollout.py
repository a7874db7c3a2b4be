"""Rollouts and the held-out comparison, with policies that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.trainer.trainings import trained
from trainer import heldout, rollout
from trainer.data import tabletop
from trainer.data.dataset import DataConfig, TabletopData, fit_codebook
from trainer.model import tokens
from trainer.model.batch import Batch


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    trained(folder, 4)
    return folder


@pytest.fixture(scope="module")
def data() -> TabletopData:
    config = DataConfig(image_size=32, validation_episodes=40, horizon=3)
    return TabletopData(config, fit_codebook(config), "val_ind")


def test_the_expert_reaches_every_block_and_standing_still_none(
    data: TabletopData, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = rollout.starts_of(data, "reach", 10)
    scenes: list[tabletop.Scene] = []
    seen = rollout._prompts

    def watched(of: TabletopData, histories: list[list[tabletop.Scene]]) -> Batch:
        scenes[:] = [history[-1] for history in histories]
        return seen(of, histories)

    monkeypatch.setattr(rollout, "_prompts", watched)

    def expert(batch: Batch) -> torch.Tensor:
        return torch.tensor([tabletop.plan(scene, 3) for scene in scenes])

    best = rollout.roll_out(expert, data, starts, 2)
    worst = rollout.roll_out(lambda b: torch.zeros(b.rows, 3, 7), data, starts, 2)
    assert (best.reached, best.episodes) == (10, 10)
    assert worst.reached == 0
    assert best.distance < tabletop.SUCCESS_RADIUS < worst.distance


def test_a_policy_sees_a_prompt_and_no_answer(data: TabletopData) -> None:
    start = data.episodes[0].scenes[0]
    batch = rollout._prompts(data, [[start]])
    row = batch.input_ids[0].tolist()
    assert row[-1] == tokens.TURN
    assert tokens.ACTION_BEGIN not in row
    assert sum(t == tokens.IMAGE_BEGIN for t in row) == 2


def test_the_command_prints_a_row_a_task_path_and_weights(run_dir: Path) -> None:
    done = CliRunner().invoke(rollout.main, [str(run_dir), "--episodes", "2"])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if line.startswith(("| reach", "| push"))]
    assert len(rows) == 8


def test_the_held_out_table_compares_every_kind(run_dir: Path) -> None:
    done = CliRunner().invoke(heldout.main, [str(run_dir), "--samples", "24"])
    assert done.exit_code == 0, done.output
    for what in ("action bins", "image codes", "structure", "decoded tokens", "loss_ct"):
        assert what in done.output


def test_entropy_of_a_uniform_choice_is_its_logarithm() -> None:
    assert heldout.entropy([1, 2, 3, 4] * 5) == pytest.approx(np.log(4))


@pytest.mark.parametrize("command", [rollout.main, heldout.main])
def test_a_directory_without_a_run_is_a_sentence(command: object, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(tmp_path)])  # type: ignore[arg-type]
    assert done.exit_code == 2
    assert "run.json" in done.output

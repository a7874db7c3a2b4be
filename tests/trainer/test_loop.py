"""The training as a whole: determinism, resume, the gate, and what it leaves behind."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from tests.trainer.trainings import config, same, trained, weights
from tests.vlamon.guard.toy import Order
from trainer.config import ConfigError
from trainer.loop import train
from trainer.run import Options
from trainer.setup import prepare
from vlamon.records import BatchBlock, EpochRow, Event
from vlamon.sources.journal import JournalSource


def records(run_dir: Path) -> list[object]:
    source = JournalSource(run_dir / "run.vlaj")
    found: list[object] = []
    while not source.finished:
        found += source.read(0.1)
    source.close()
    return found


def rows_of(run_dir: Path, metric: str) -> list[float]:
    blocks = [r for r in records(run_dir) if isinstance(r, BatchBlock)]
    return [float(v) for b in blocks for v in b.columns[metric].values]


def test_two_runs_of_one_seed_are_bit_identical(tmp_path: Path) -> None:
    one, other = (trained(tmp_path / name, 25, seed=3) for name in "ab")
    assert same(weights(one), weights(other))
    assert rows_of(tmp_path / "a", "closs") == rows_of(tmp_path / "b", "closs")


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    one, other = (trained(tmp_path / str(seed), 3, seed=seed) for seed in (1, 2))
    assert not same(weights(one), weights(other))


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_over_200_steps(tmp_path: Path) -> None:
    # A kilometre-stone of the guard lies between the two: steps 80 to 199 come after the resume.
    settings = ("guard.mode=off", "loop.validation_samples=0", "loop.checkpoint_every=80")
    whole = trained(tmp_path / "whole", 200, *settings)
    trained(tmp_path / "parts", 80, *settings)
    resumed = trained(tmp_path / "parts", 200, *settings, resume=True)
    assert same(weights(whole), weights(resumed))
    assert rows_of(tmp_path / "parts", "closs") == rows_of(tmp_path / "whole", "closs")


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)
def test_a_compiled_training_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of processes left behind
    # Two pulls and two validations: passes without gradients and several ways back through heads.
    settings = ("loop.steps_per_epoch=5", "objectives.pull_every=4")
    plain = trained(tmp_path / "plain", 10, *settings)
    compiled = trained(tmp_path / "compiled", 10, "loop.compile=true", *settings)
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    assert rows_of(tmp_path / "compiled", "closs") == pytest.approx(
        rows_of(tmp_path / "plain", "closs"), rel=1e-3
    )


def test_compiling_without_a_compiler_is_an_error_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="C\\+\\+ compiler, and there is no no-such-compiler"):
        prepare(config("loop.compile=true"), Options(run_dir=tmp_path, device="cpu"))


def test_emission_does_not_change_what_is_learned(tmp_path: Path) -> None:
    shown = trained(tmp_path / "shown", 12)
    silent = trained(tmp_path / "silent", 12, emit=False)
    assert same(weights(shown), weights(silent))


def test_accumulating_two_batches_sees_the_samples_of_one_twice_as_large(tmp_path: Path) -> None:
    two = trained(tmp_path / "two", 3, "loop.accumulate=2")
    one = trained(tmp_path / "one", 3, "loop.batch=4")
    assert two.sampler.cursor == one.sampler.cursor == 12


def test_sgd_trains_through_the_same_loop(tmp_path: Path) -> None:
    run = trained(tmp_path, 6, "optim.name=sgd", "optim.lr=0.01", induce=["nan@6"])
    assert all(torch.isfinite(w).all() for w in weights(run))


def test_every_batch_reaches_the_journal_with_its_losses_and_speed(tmp_path: Path) -> None:
    trained(tmp_path, 12)
    assert len(rows_of(tmp_path, "closs")) == 12
    for metric in ("grad_norm", "lr", "samples_per_second", "tokens_per_second", "data"):
        assert all(math.isfinite(v) for v in rows_of(tmp_path, metric)), metric


def test_a_batch_without_actions_has_no_loss_ct_on_the_wire_and_0_in_the_log(
    tmp_path: Path,
) -> None:
    trained(tmp_path, 10, "data.world_share=1", "loop.steps_per_epoch=10")
    blocks = [r for r in records(tmp_path) if isinstance(r, BatchBlock)]
    assert all("loss_ct" not in block.columns for block in blocks)
    line = json.loads((tmp_path / "log_train.txt").read_text())
    assert line["train_loss_ct"] == 0.0


def test_an_epoch_ends_with_a_line_in_each_log_and_on_the_wire(tmp_path: Path) -> None:
    trained(tmp_path, 40)
    for name, prefix in (
        ("log_train.txt", "train_"),
        ("log_eval_ind.txt", "val_"),
        ("log_eval_ood.txt", "val_"),
    ):
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [0, 1]
        assert list(lines[0])[-1] == "epoch"
        assert math.isfinite(lines[1][f"{prefix}closs"])
    epochs = [r for r in records(tmp_path) if isinstance(r, EpochRow)]
    assert [(e.epoch, e.split) for e in epochs[:3]] == [
        (0, "train"),
        (0, "val_ind"),
        (0, "val_ood"),
    ]


def test_the_epoch_line_after_a_rollback_is_the_mean_of_the_batches_that_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(
        config("loop.steps=20", "guard.every=5", "loop.validation_samples=0"),
        Options(run_dir=tmp_path, device="cpu"),
    )
    assert run.emitter is not None
    orders = [Order("rollback", {"to": 9, "data": "replay"})]
    monkeypatch.setattr(
        run.emitter, "commands", lambda: [orders.pop()] if run.step == 13 and orders else []
    )
    with run:
        run.outcome = train(run)
    blocks = [r for r in records(tmp_path) if isinstance(r, BatchBlock)]
    counts = {
        step: value
        for block in blocks
        for step, value in zip(block.step.tolist(), block.columns["closs"].values, strict=True)
    }
    assert {block.attempt for block in blocks} == {0, 1}
    assert len(counts) == 20
    line = json.loads((tmp_path / "log_train.txt").read_text())
    assert line["train_closs"] == pytest.approx(sum(counts.values()) / 20)


def test_validation_draws_no_random_number_of_the_training(tmp_path: Path) -> None:
    without = trained(tmp_path / "without", 30, "loop.validation_samples=0")
    with_it = trained(tmp_path / "with", 30)
    assert same(weights(without), weights(with_it))


def test_the_training_ends_in_order_after_its_time(tmp_path: Path) -> None:
    run = trained(tmp_path, 100_000, max_seconds=4.0)  # a slow machine must come to its first step
    assert run.outcome == "stopped"
    assert 0 < run.step < 100_000
    assert any((tmp_path / "checkpoints").glob("step-*"))
    ends = [r for r in records(tmp_path) if isinstance(r, Event) and r.kind == "end"]
    assert len(ends) == 1


def test_resuming_with_another_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"another \[model\]"):
        prepare(config("model.hidden=64"), Options(run_dir=tmp_path, resume=True))


def test_a_run_directory_is_optional_and_gets_what_a_run_leaves(tmp_path: Path) -> None:
    trained(tmp_path / "new" / "deep", 2)
    left = {path.name for path in (tmp_path / "new" / "deep").iterdir()}
    assert {"run.json", "run.vlaj", "codebook.npz", "output.log", "checkpoints"} <= left

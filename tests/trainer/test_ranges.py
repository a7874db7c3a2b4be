"""A setting that cannot be is one sentence before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.test_command import SETTINGS, trainer
from tests.trainer.trainings import config
from trainer.__main__ import options_of
from trainer.config import ConfigError, load, stated
from trainer.distributed import DeviceError, join
from trainer.model.config import SIZES
from trainer.objectives.design import DesignConfig
from trainer.run import Options
from trainer.setup import guard_settings, prepare


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optim.lr=inf", "optim.lr must be above 0, not inf"),
        ("optim.lr=nan", "optim.lr must be above 0, not nan"),
        ("optim.betas=2,3", "optim.betas must be at least 0 and below 1, not (2.0, 3.0)"),
        ("optim.weight_decay=nan", "optim.weight_decay must be at least 0, not nan"),
        ("optim.weight_decay=-1", "optim.weight_decay must be at least 0, not -1.0"),
        ("optim.clip_grad=nan", "optim.clip_grad must be at least 0, not nan"),
        ("optim.warmup_steps=-5", "optim.warmup_steps must be at least 0, not -5"),
        ("loop.validation_samples=-5", "loop.validation_samples must be at least 0, not -5"),
        ("loop.checkpoint_every=-1", "loop.checkpoint_every must be at least 0, not -1"),
        ("data.world_share=2", "data.world_share must be at least 0 and at most 1, not 2.0"),
        ("data.push_share=-1", "data.push_share must be at least 0 and at most 1, not -1.0"),
        ("data.noise=-1", "data.noise must be at least 0, not -1.0"),
        ("model.dropout=1", "model.dropout must be at least 0 and below 1, not 1.0"),
        ("model.dropout=1.5", "model.dropout must be at least 0 and below 1, not 1.5"),
        ("model.vocab=100", "model.vocab is 100: the dialogues have ids up to"),
        ("model.init_std=-1", "model.init_std must be at least 0, not -1.0"),
        ("model.hidden=33", "model.hidden is 33: model.heads=2 must divide it"),
        ("model.hidden=34", "model.hidden / model.heads is 17: it must be even"),
        ("model.head.heads=3", "model.head.width is 32: model.head.heads=3 must divide it"),
        ("model.kv_heads=3", "model.kv_heads=3 must divide model.heads=2"),
        ("objectives.energy_lr=-1", "objectives.energy_lr must be above 0, not -1.0"),
        ("objectives.energy_width=0", "energy_width must be at least 8 and a multiple of 8, not 0"),
        ("objectives.energy_clip=-1", "objectives.energy_clip must be at least 0, not -1.0"),
        ("objectives.cache_refresh=0", "objectives.cache_refresh must be at least 1, not 0"),
        ("objectives.coupling=separate+cache", "needs an energy model, for separate is about"),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_its_range(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("micro", [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_that_belong_together_may_come_in_any_order() -> None:
    assert load("micro", ["model.hidden=36", "model.heads=3"]).model.heads == 3
    late = ["objectives.coupling=alternate", "objectives.energy=swap"]
    assert load("micro", late).objectives.coupling == "alternate"
    assert load("micro", ["objectives.coupling=freeze_backbone"]).objectives.energy == "off"


def test_gradnorm_without_the_pull_that_it_learns_from_is_refused() -> None:
    without = ["objectives.weighting=gradnorm", "objectives.pull_every=0"]
    with pytest.raises(ConfigError, match="learns from the pull"):
        load("micro", without)


def test_a_range_holds_wherever_settings_are_made() -> None:
    with pytest.raises(ValueError, match=r"objectives\.energy_clip must be at least 0"):
        DesignConfig(energy_clip=-0.5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"seed": -1}, "--seed must be at least 0 and at most 4294967295, not -1"),
        ({"max_seconds": -1.0}, "--max-seconds must be at least 0, not -1.0"),
    ],
)
def test_an_option_out_of_its_range_is_named_as_it_is_typed(
    settings: dict[str, float], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        options_of(run_dir=tmp_path, **settings)


@pytest.mark.parametrize("device", ["foo", "mps", "cuda:x"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match="--device must be auto, cpu or cuda"):
        join(device)


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError, match="finds no CUDA device"):
        join("cuda")


def test_a_run_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--run-dir .*/file/run cannot be made: "):
        prepare(config(), Options(run_dir=tmp_path / "file" / "run"))


@pytest.mark.parametrize("override", ["guard.every=0", "guard.slots=1"])
def test_what_the_guard_cannot_work_with_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=f"guard: .*{override[6:11]}"):
        guard_settings(config(override))


def test_every_size_of_the_model_is_within_its_ranges() -> None:
    assert set(SIZES) == {"micro", "tiny", "small", "7b"}


def test_the_settings_of_a_command_line_are_known_by_their_full_names() -> None:
    overrides = ["loss_ct_weights=5", "clip_grad=1", "loop.steps=3"]
    assert stated(load("micro"), overrides) == {
        "weights.loss_ct",
        "optim.clip_grad",
        "loop.steps",
    }


def test_a_wrong_option_ends_the_command_with_2_and_one_line(tmp_path: Path) -> None:
    done = trainer("--run-dir", str(tmp_path), *SETTINGS, "--seed", "-1")
    assert done.returncode == 2
    assert done.stderr == "trainer: --seed must be at least 0 and at most 4294967295, not -1\n"


def test_a_ladder_is_set_like_any_other_setting() -> None:
    assert guard_settings(config("guard.ladder=clip, skip,rollback")).ladder == (
        "clip",
        "skip",
        "rollback",
    )
    assert guard_settings(config("ladder=skip")).ladder == ("skip",)


@pytest.mark.parametrize("rungs", ["skip,clip", "dodge", ""])
def test_a_ladder_that_is_none_is_refused(rungs: str) -> None:
    with pytest.raises(ConfigError, match=r"guard: ladder .*some of clip, skip, lr, rollback"):
        guard_settings(config(f"guard.ladder={rungs}"))

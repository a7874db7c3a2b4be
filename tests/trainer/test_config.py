"""Presets, overrides, and the sentences for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.config import ConfigError, as_tables, difference, keys, load, preset_names


@pytest.mark.parametrize("name", ["micro", "tiny", "small", "7b"])
def test_every_preset_loads_and_its_horizon_reaches_the_model(name: str) -> None:
    config = load(name)
    assert name in preset_names()
    assert config.model.head.horizon == config.data.horizon


def test_the_first_setting_that_differs_in_a_run_directory_is_named() -> None:
    now = load("micro")
    before = json.loads(json.dumps(as_tables(now)))
    assert difference(now.data, before["data"], "data") == ""
    assert difference(now.model, before["model"], "model") == ""
    before["model"]["head"]["dropout"] = 0.5
    assert (
        difference(now.model, before["model"], "model") == "model.head.dropout was 0.5 and is 0.1"
    )
    del before["model"]["head"]["dropout"]
    assert difference(now.model, before["model"], "model") == "it lacks model.head.dropout"
    noisier = load("micro", ["data.noise=0.75"])
    assert difference(noisier.data, before["data"], "data") == "data.noise was 0.2 and is 0.75"
    assert difference(now.data, {**before["data"], "fog": 1}, "data") == (
        "data.fog is unknown to this version"
    )


def test_layers_of_the_energy_model_s_negatives_must_be_there() -> None:
    assert load("micro", ["objectives.energy_layers=0,2"]).objectives.energy_layers == (0, 2)
    with pytest.raises(ConfigError, match="names 3, but a model of 2 layers has hidden states 0"):
        load("micro", ["objectives.energy_layers=3"])


def test_the_large_presets_have_the_reference_runs_vocabulary() -> None:
    assert (load("small").model.vocab, load("7b").model.vocab) == (65536, 65536)
    assert load("7b").model.hidden == 4096


@pytest.mark.parametrize(
    ("override", "section", "name", "value"),
    [
        ("optim.lr=1e-3", "optim", "lr", 1e-3),
        ("clip_grad=0", "optim", "clip_grad", 0.0),
        ("optim.betas=0.9,0.99", "optim", "betas", (0.9, 0.99)),
        ("compile=yes", "loop", "compile", True),
        ("loop.batch=3", "loop", "batch", 3),
        ("model.kv_heads=2", "model", "kv_heads", 2),
        ("model.kv_heads=none", "model", "kv_heads", None),
    ],
)
def test_an_override_sets_one_key(override: str, section: str, name: str, value: object) -> None:
    assert getattr(getattr(load("micro", [override]), section), name) == value


@pytest.mark.parametrize("key", ["weights.loss_ct", "loss_ct_weight", "loss_ct_weights"])
def test_loss_weights_have_the_reference_projects_names_too(key: str) -> None:
    assert load("micro", [f"{key}=3"]).weights["loss_ct"] == 3.0


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optim.lrr=1", "did you mean optim.lr"),
        ("lambda=1", "no setting is called 'lambda'"),
        ("dropout=0.1", "ambiguous: say model.dropout or model.head.dropout|ambiguous"),
        ("optim.lr", "write it as key=value"),
        ("optim.lr=fast", "optim.lr: must be a number, not 'fast'"),
        ("loop.batch=2.5", "must be a whole number, not '2.5'"),
        ("loop.batch=0", "loop.batch must be at least 1"),
        ("loop.dtype=fp8", "loop.dtype must be one of fp32, bf16"),
        ("compile=maybe", "must be true or false"),
        ("optim.betas=0.9", "needs 2 numbers"),
        ("data.image_size=65", "image_size is 65"),
        ("guard.mode=manual", "one of auto, ask, watch, off"),
        ("weights.loss_ct=-1", "at least 0"),
    ],
)
def test_a_wrong_override_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load("micro", [override])
    assert "\n" not in str(caught.value)


def test_a_preset_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nsize = "micro"\n[optim]\nlr = 0.5\n')
    assert load(str(path)).optim.lr == 0.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[model\n", "not valid TOML"),
        ('[model]\nsize = "huge"\n', "model.size must be one of"),
        ('[model]\nsize = "micro"\n[optim]\nspeed = 1\n', "no setting is called 'optim.speed'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load(str(path))


def test_an_unknown_preset_lists_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="7b, micro, small, tiny"):
        load("mikro")


def test_every_key_can_be_found_in_the_description_of_a_run() -> None:
    config = load("micro")
    tables = as_tables(config)
    for key in keys(config):
        if not key.startswith("weights."):
            node: object = tables
            for part in key.split("."):
                assert isinstance(node, dict)
                node = node[part]

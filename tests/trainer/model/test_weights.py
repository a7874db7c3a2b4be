"""Real checkpoints load, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.model.weights import WeightsError, load_weights

CONFIG = replace(SIZES["micro"], vocab=16100)


@pytest.fixture(scope="module")
def model() -> VLA:
    torch.manual_seed(1)
    return VLA(CONFIG)


def write(directory: Path, weights: dict[str, Tensor]) -> Path:
    """Two shards, as a large checkpoint has them."""
    names = sorted(weights)
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:]), start=1):
        shard = {name: weights[name].contiguous() for name in part}
        save_file(shard, directory / f"model-{number:05d}-of-00002.safetensors")
    return directory


def checkpoint() -> dict[str, Tensor]:
    torch.manual_seed(2)
    return {name: tensor.clone() for name, tensor in VLA(CONFIG).state_dict().items()}


def test_every_parameter_comes_from_the_shards(model: VLA, tmp_path: Path) -> None:
    weights = checkpoint()
    loaded = load_weights(model, write(tmp_path, weights))
    assert loaded.tensors == len(weights)
    assert not loaded.fresh
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_a_base_chameleon_leaves_the_action_head_fresh(model: VLA, tmp_path: Path) -> None:
    weights = {k: v.bfloat16() for k, v in checkpoint().items() if not k.startswith("action_head")}
    weights["model.vqmodel.encoder.conv_in.weight"] = torch.zeros(2, 2)
    before = model.action_head.action_tokens.detach().clone()
    loaded = load_weights(model, write(tmp_path, weights))
    assert loaded.fresh
    assert all(name.startswith("action_head.") for name in loaded.fresh)
    assert torch.equal(model.action_head.action_tokens, before)
    assert torch.equal(model.lm_head.weight, weights["lm_head.weight"].float())


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("model.norm.weight"), r"1 is missing: model\.norm\.weight"),
        (
            without("action_head.hidden_projection.bias"),
            r"1 is missing: action_head\.hidden_projection\.bias",
        ),
        (
            lambda weights: weights.update({"model.extra": torch.zeros(1)}),
            r"1 is not known to this model: model\.extra",
        ),
        (
            lambda weights: weights.update({"model.norm.weight": torch.zeros(3)}),
            r"1 is of another shape: model\.norm\.weight \(3 instead of 32\)",
        ),
    ],
)
def test_a_mismatch_is_named_and_nothing_is_loaded(
    model: VLA, tmp_path: Path, spoil: Callable[[dict[str, Tensor]], object], sentence: str
) -> None:
    weights = checkpoint()
    weights["lm_head.weight"] += 1
    spoil(weights)
    before = model.lm_head.weight.detach().clone()
    with pytest.raises(WeightsError, match=sentence):
        load_weights(model, write(tmp_path, weights))
    assert torch.equal(model.lm_head.weight, before)


def test_many_missing_names_are_counted_and_a_few_shown(model: VLA, tmp_path: Path) -> None:
    weights = {k: v for k, v in checkpoint().items() if "model.layers.1." not in k}
    with pytest.raises(WeightsError, match=r"1\d are missing: .* and \d+ more"):
        load_weights(model, write(tmp_path, weights))


def test_an_empty_folder_and_a_torn_shard_are_explained(model: VLA, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no \*\.safetensors, consolidated\*\.pth or"):
        load_weights(model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_weights(model, tmp_path)


def test_an_index_that_names_a_tensor_in_no_shard_is_refused(model: VLA, tmp_path: Path) -> None:
    write(tmp_path, checkpoint())
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"model.layers.99.gone": "model-00003-of-00003.safetensors"}}')
    with pytest.raises(WeightsError, match=r"not in its shard: model\.layers\.99\.gone"):
        load_weights(model, tmp_path)


def test_whole_numbers_are_no_weights(model: VLA, tmp_path: Path) -> None:
    weights = checkpoint()
    name = "model.embed_tokens.weight"
    weights[name] = weights[name].to(torch.int64)
    before = model.state_dict()[name].clone()
    with pytest.raises(WeightsError, match=r"of another kind than floating point: .*\(I64\)"):
        load_weights(model, write(tmp_path, weights))
    assert torch.equal(model.state_dict()[name], before)

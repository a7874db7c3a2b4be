"""A run moves to the reference and back: the layout of its checkpoints, written out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.trainer.rows import mixed_batch
from tests.trainer.trainings import trained
from trainer import export
from trainer.model.config import SIZES, ModelConfig
from trainer.model.vla import VLA
from trainer.model.weights import WeightsError, load_weights

CONFIG = replace(SIZES["micro"], heads=4, vocab=16100)


def reference_layout(config: ModelConfig, norm_rows: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint of the reference's model class."""
    hidden, ffn, head = config.hidden, config.ffn, config.head
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (config.vocab, hidden),
    }
    for layer in range(config.layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{x}_proj.weight": (hidden, hidden) for x in "qkvo"}
        for norm in ("q_norm", "k_norm"):
            for part in ("weight", "bias"):
                shapes[f"{at}.self_attn.{norm}.{part}"] = (norm_rows, hidden // config.heads)
        shapes |= {f"{at}.mlp.{x}_proj.weight": (ffn, hidden) for x in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (hidden, ffn)
        shapes[f"{at}.input_layernorm.weight"] = (hidden,)
        shapes[f"{at}.post_attention_layernorm.weight"] = (hidden,)
    width, at = head.width, "action_head"
    shapes[f"{at}.action_token_embeddings.weight"] = (1, head.horizon * 7 * hidden)
    shapes |= linear(f"{at}.hidden_projection", width, hidden)
    for layer in range(head.layers):
        inner = f"{at}.transformer_encoder.layers.{layer}"
        shapes[f"{inner}.self_attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{inner}.self_attn.in_proj_bias"] = (3 * width,)
        shapes |= linear(f"{inner}.self_attn.out_proj", width, width)
        shapes |= linear(f"{inner}.linear1", head.ffn, width)
        shapes |= linear(f"{inner}.linear2", width, head.ffn)
        shapes |= norm_of(f"{inner}.norm1", width) | norm_of(f"{inner}.norm2", width)
    shapes |= norm_of(f"{at}.transformer_encoder.norm", width)
    inner = f"{at}.output_projection.model"
    shapes |= norm_of(f"{inner}.layer_norm1", 7 * width) | linear(f"{inner}.fc1", width, 7 * width)
    for block in range(head.blocks):
        shapes |= norm_of(f"{inner}.mlp_resnet_blocks.{block}.ffn.0", width)
        shapes |= linear(f"{inner}.mlp_resnet_blocks.{block}.ffn.1", width, width)
    return shapes | norm_of(f"{inner}.layer_norm2", width) | linear(f"{inner}.fc2", 7, width)


def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def norm_of(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def random_state(norm_rows: int) -> dict[str, Tensor]:
    torch.manual_seed(norm_rows)
    layout = reference_layout(CONFIG, norm_rows)
    return {name: torch.randn(shape).bfloat16() for name, shape in layout.items()}


def save(state: dict[str, Tensor], directory: Path, how: str) -> None:
    """As transformers shards it, or as FSDP's full state is saved."""
    if how == "consolidated.pth":
        torch.save(state, directory / "consolidated.00-of-01.pth")
    elif how == "wrapped.pth":
        named = {f"_fsdp_wrapped_module.{name}": tensor for name, tensor in state.items()}
        torch.save({"model": named}, directory / "consolidated.pth")
    else:
        names, index = sorted(state), {}
        for number in (0, 1):
            file = f"model-0000{number + 1}-of-00002.safetensors"
            save_file({name: state[name] for name in names[number::2]}, directory / file)
            index |= dict.fromkeys(names[number::2], file)
        (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    # What its solver leaves beside the weights, and nobody may take for them.
    torch.save({"state": {}}, directory / "optimizer.00000-of-00001.pth")
    torch.save({"metric_logger": object}, directory / "additional.00000-of-00001.pth")


@pytest.mark.parametrize("norm_rows", [1, 4])
@pytest.mark.parametrize("how", ["safetensors", "consolidated.pth", "wrapped.pth"])
def test_a_checkpoint_of_the_reference_loads(how: str, norm_rows: int, tmp_path: Path) -> None:
    state, model = random_state(norm_rows), VLA(CONFIG)
    save(state, tmp_path, how)
    loaded = load_weights(model, tmp_path)
    assert not loaded.fresh
    for name, tensor in model.state_dict().items():
        expected = state[name].float()
        if "q_norm" in name or "k_norm" in name:
            expected = expected.expand_as(tensor)  # one row is for all heads
        assert torch.equal(tensor, expected), name


def test_norms_that_differ_from_head_to_head_are_not_shared(tmp_path: Path) -> None:
    save(random_state(4), tmp_path, "safetensors")
    model = VLA(replace(CONFIG, norm_shards=1))
    before = model.lm_head.weight.detach().clone()
    with pytest.raises(WeightsError, match=r"differs from head to head.*--set model.norm_shards=4"):
        load_weights(model, tmp_path)
    assert torch.equal(model.lm_head.weight, before)


def test_a_head_of_another_horizon_is_refused_with_the_setting_that_fits(tmp_path: Path) -> None:
    save(random_state(4), tmp_path, "safetensors")
    head = replace(CONFIG.head, horizon=2)
    with pytest.raises(WeightsError, match=r"which is a chunk of 5: --set data.horizon=5"):
        load_weights(VLA(replace(CONFIG, head=head)), tmp_path)


def test_a_pickle_that_is_more_than_tensors_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"lm_head.weight": Trap()}, tmp_path / "consolidated.00-of-01.pth")
    with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
        load_weights(VLA(CONFIG), tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_one_set_of_norms_for_all_heads_computes_what_equal_sets_do() -> None:
    torch.manual_seed(0)
    shared = VLA(replace(SIZES["micro"], norm_shards=1)).eval()
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if "q_norm" in name or "k_norm" in name:
                parameter.normal_()
    apart = VLA(SIZES["micro"]).eval()
    state = shared.state_dict()
    apart.load_state_dict({n: state[n].expand_as(t) for n, t in apart.state_dict().items()})
    batch = mixed_batch()
    torch.testing.assert_close(apart(batch).hidden, shared(batch).hidden)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    trained(folder, 4)
    return folder


def test_an_exported_run_has_the_reference_s_names_shapes_and_settings(
    run_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(export.main, [str(run_dir), str(out), "--shard-gb", "0.001"])
    assert done.exit_code == 0, done.output
    assert "written for a width of 4096" in done.output
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 1
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    model = export.load_run(run_dir)[1]
    layout = reference_layout(model.config, model.config.heads)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == layout
    index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == set(layout)
    said = json.loads((out / "config.json").read_text())
    assert said["model_parallel_size"] == model.config.heads
    assert (said["time_horizon"], said["action_dim"]) == (model.config.head.horizon, 7)
    images = [value for name, value in said["vocabulary_map"].items() if name.startswith("IMGIMG")]
    assert sorted(images) == list(range(4, 8196))


def test_an_exported_run_comes_back_as_it_was(run_dir: Path, tmp_path: Path) -> None:
    model = export.load_run(run_dir)[1]
    export.export(model, tmp_path, torch.float32, 1 << 30)
    back = VLA(model.config)
    load_weights(back, tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_a_shared_norm_is_exported_as_one_row(tmp_path: Path) -> None:
    model = VLA(replace(CONFIG, norm_shards=1))
    export.export(model, tmp_path, torch.bfloat16, 1 << 30)
    (file,) = tmp_path.glob("*.safetensors")
    found = load_file(file)
    assert found["model.layers.0.self_attn.q_norm.weight"].shape == (1, 8)
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}


def test_mistakes_of_an_export_are_sentences(run_dir: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(export.main, [str(tmp_path / "none"), str(tmp_path / "out")])
    assert (said.exit_code, "is no run directory" in said.output) == (2, True)
    said = CliRunner().invoke(export.main, [str(run_dir), str(run_dir)])
    assert (said.exit_code, "is not empty" in said.output) == (2, True)

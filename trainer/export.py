"""`python -m trainer.export RUN_DIR OUT`: a run's newest checkpoint as the reference loads it.

OUT gets sharded safetensors, their index and a config.json, under the reference's names and shapes:
its solver starts from it with `--init_from OUT`, and `python -m trainer --weights OUT` does too.
Optimizer moments stay behind, as they do in the reference's own weights.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file
from torch import Tensor

from trainer.model.config import ModelConfig
from trainer.model.tokens import IMAGE_CODE_FIRST, IMAGE_CODES
from trainer.model.vla import VLA
from trainer.model.weights import NORMS, WeightsError, fitted
from trainer.trained_run import Untrained, load_run
from vlamon.guard import DurableError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ARCHITECTURE = "ChameleonXLLMXForConditionalGeneration_ck_action_head"
REFERENCE_HIDDEN = 4096
"""Width that the reference's ActionHead is written for."""
IMAGE_PLACEHOLDER = 8711
"""Id of `<image>`, which its model looks up when it is built."""


def export(model: VLA, out: Path, dtype: torch.dtype, shard_bytes: int) -> list[str]:
    """Write a model's weights and configuration into an empty folder; returns the files' names."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise WeightsError(f"{out} is not empty: name a folder that is")
    shards = list(sharded(reference_state(model, dtype), shard_bytes))
    place: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, out / name, metadata={"format": "pt"})
        place |= dict.fromkeys(shard, name)
    total = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": place}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    kind = str(dtype).removeprefix("torch.")
    description = {**reference_config(model.config), "torch_dtype": kind}
    (out / "config.json").write_text(json.dumps(description, indent=1) + "\n")
    return sorted(path.name for path in out.iterdir())


def reference_state(model: VLA, dtype: torch.dtype) -> dict[str, Tensor]:
    """The parameters by the reference's names; norms with one row a shard of its heads."""
    shards = norm_shards(model.config)
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(NORMS):
            tensor = fitted(name, tensor, torch.Size((shards, tensor.shape[1])))
        state[name] = tensor.to("cpu", dtype).contiguous()
    return state


def norm_shards(config: ModelConfig) -> int:
    """The reference's `model_parallel_size`: queries and keys have the same number of shards."""
    return config.norm_shards or math.gcd(config.heads, config.kv_heads or config.heads)


def sharded(state: Mapping[str, Tensor], most: int) -> Iterator[dict[str, Tensor]]:
    """The state in pieces of at most so many bytes, or of one tensor that is larger."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in state.items():
        if shard and size + tensor.nbytes > most:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    if shard:
        yield shard


def reference_config(config: ModelConfig) -> dict[str, Any]:
    """config.json for the reference's model class."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "chameleon",
        "vocab_size": config.vocab,
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "model_parallel_size": norm_shards(config),
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "dropout": config.dropout,
        "action_dim": 7,
        "time_horizon": config.head.horizon,
        "mask_image_logits": False,
        "tie_word_embeddings": False,
        "vocabulary_map": {
            "<image>": IMAGE_PLACEHOLDER,
            **{image_name(code): IMAGE_CODE_FIRST + code for code in range(IMAGE_CODES)},
        },
    }


def image_name(code: int) -> str:
    """Chameleon's name of an image code: its decimal digits as the letters A to J."""
    letters = "".join(chr(ord("A") + int(digit)) for digit in str(code))
    return f"IMGIMG{letters}Z"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="fp32", show_default=True)
@click.option("--shard-gb", default=10.0, show_default=True, type=click.FloatRange(0.001))
def main(run_dir: Path, out: Path, dtype: str, shard_gb: float) -> None:
    """Write the newest checkpoint of RUN_DIR into OUT, in the layout of the reference project."""
    try:
        config, model, _ = load_run(run_dir)
        names = export(model, out, DTYPES[dtype], int(shard_gb * 2**30))
    except (Untrained, DurableError, WeightsError) as error:
        click.echo(f"trainer.export: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"trainer.export: {out} cannot be written: {error.strerror}", err=True)
        sys.exit(2)
    click.echo(f"wrote {', '.join(names)} into {out}")
    if config.model.hidden != REFERENCE_HIDDEN:
        click.echo(
            f"note: the reference's ActionHead is written for a width of {REFERENCE_HIDDEN}; this"
            f" model is {config.model.hidden} wide"
        )


if __name__ == "__main__":
    main()

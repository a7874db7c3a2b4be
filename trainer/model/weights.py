"""Loads real weights (`--weights DIR`): safetensors shards, streamed one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

IGNORED = ("model.vqmodel.",)
"""Parts of a Chameleon checkpoint that this model has no use for: images arrive as codes."""
OPTIONAL = "action_head."
"""A base Chameleon has no ActionHead; it then starts fresh. Half a head is an error."""


class WeightsError(ValueError):
    """Weights that do not fit; the sentence says what and where."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came from the directory."""

    tensors: int
    """Parameters that were set."""
    fresh: tuple[str, ...]
    """Parameters that kept their initial values (the ActionHead of a base model)."""


@torch.no_grad()
def load_weights(model: nn.Module, directory: Path) -> Loaded:
    """Sets the model's parameters from DIR/*.safetensors, or raises and names every mismatch.

    Shapes are compared before anything is copied, so a refused checkpoint leaves the model as it
    was. Memory holds one tensor besides the model.
    """
    shards = sorted(directory.glob("*.safetensors"))
    if not shards:
        raise WeightsError(
            f"{directory} has no *.safetensors file; give the folder of a checkpoint"
        )
    own = dict(model.state_dict(keep_vars=True))
    headers = {name: header for shard in shards for name, header in _headers(shard)}
    shapes = {name: shape for name, (shape, _) in headers.items()}
    unfit = [
        f"{name} ({kind})"
        for name, (_, kind) in headers.items()
        if name in own and not _float(kind)
    ]
    wanted = {name for name in shapes if not name.startswith(IGNORED)}
    missing = [name for name in own if name not in wanted]
    fresh = [name for name in missing if name.startswith(OPTIONAL)]
    if any(name.startswith(OPTIONAL) for name in wanted):
        fresh = []
    problems = [
        *_listed("missing", [name for name in missing if name not in fresh]),
        *_listed("not known to this model", sorted(wanted - own.keys())),
        *_listed("of another shape", _misshaped(own, shapes)),
        *_listed("of another kind than floating point", unfit),
        *_listed("named by the index but not in its shard", _lost(directory, shapes)),
    ]
    if problems:
        raise WeightsError(f"the weights in {directory} do not fit: {'; '.join(problems)}")
    for shard in shards:
        for name, tensor in _tensors(shard):
            if name in own:
                own[name].copy_(tensor)
    return Loaded(tensors=len(own) - len(fresh), fresh=tuple(fresh))


def _misshaped(own: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    return [
        f"{name} ({_size(shapes[name])} instead of {_size(tuple(own[name].shape))})"
        for name in own
        if name in shapes and tuple(own[name].shape) != shapes[name]
    ]


def _lost(directory: Path, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return []
    try:
        named = json.loads(index.read_text("utf-8"))["weight_map"]
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise WeightsError(f"{index} is no safetensors index: {error!r}") from None
    return [name for name in named if name not in shapes]


def _headers(shard: Path) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    for file in _opened(shard):
        for name in file.keys():  # noqa: SIM118 (the handle is no mapping)
            tensor = file.get_slice(name)
            yield name, (tuple(tensor.get_shape()), str(tensor.get_dtype()))


def _float(kind: str) -> bool:
    """Whether safetensors' name of a dtype is one that a weight can be read from: F32, BF16."""
    return kind.startswith(("F", "BF"))


def _tensors(shard: Path) -> Iterator[tuple[str, Tensor]]:
    for file in _opened(shard):
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def _opened(shard: Path) -> Iterator[Any]:
    try:
        with safe_open(shard, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{shard} cannot be read as safetensors: {error}") from None


def _listed(what: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    if not found:
        return []
    shown = ", ".join(found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    verb = "is" if len(found) == 1 else "are"
    return [f"{len(found)} {verb} {what}: {shown}{more}"]


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)

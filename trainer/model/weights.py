"""Loads real weights (`--weights DIR`), one tensor at a time.

What is read: sharded or single safetensors, as transformers and the reference's solver write them,
and PyTorch's `consolidated*.pth` (FSDP's full state) or `pytorch_model*.bin`, of which nothing but
tensors is unpickled. A base Chameleon has no ActionHead, which then starts fresh.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from trainer.model.tokens import ACTION_DIMS

PICKLED = ("consolidated*.pth", "pytorch_model*.bin")
"""Files of PyTorch's that hold weights; the reference's `optimizer.*.pth` and `additional.*.pth`
lie beside them and do not."""
WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What PyTorch's wrappers put into names, where a state was saved through them."""
IGNORED = ("model.vqmodel.",)
"""Parts of a Chameleon checkpoint that this model has no use for: images arrive as codes."""
OPTIONAL = "action_head."
"""Half a head is an error."""
ACTION_TOKENS = "action_head.action_token_embeddings.weight"
NORMS = (".q_norm.weight", ".q_norm.bias", ".k_norm.weight", ".k_norm.bias")
"""Stored as shards × head_dim: each row is for the heads of one shard."""


class WeightsError(ValueError):
    """Weights that do not fit; the sentence says what and where."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came from the directory."""

    tensors: int
    """Parameters that were set."""
    fresh: tuple[str, ...]
    """Parameters that kept their initial values (the ActionHead of a base model)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file, unread."""

    shape: tuple[int, ...]
    """Its shape."""
    kind: str
    """Its type, as its file calls it."""
    floating: bool
    """Whether a weight can be read from it."""


@torch.no_grad()
def load_weights(model: nn.Module, directory: Path) -> Loaded:
    """Sets the model's parameters from the files in DIR, or raises and names every mismatch.

    Shapes are compared before anything is copied, so a refused checkpoint leaves the model as it
    was. Memory holds one tensor besides the model, and the small q and k norms.
    """
    files = weight_files(directory)
    own: dict[str, Tensor] = dict(model.state_dict(keep_vars=True))
    stored = {name: header for file in files for name, header in _headers(file)}
    wanted = {name for name in stored if not name.startswith(IGNORED)}
    missing = [name for name in own if name not in wanted]
    fresh = [name for name in missing if name.startswith(OPTIONAL)]
    if any(name.startswith(OPTIONAL) for name in wanted):
        fresh = []
    unfit = [
        f"{name} ({header.kind})"
        for name, header in stored.items()
        if name in own and not header.floating
    ]
    problems = [
        *_listed("missing", [name for name in missing if name not in fresh]),
        *_listed("not known to this model", sorted(wanted - own.keys())),
        *_listed("of another shape", _misshaped(own, stored)),
        *_listed("of another kind than floating point", unfit),
        *_listed("named by the index but not in its shard", _lost(directory, stored)),
    ]
    if problems:
        raise WeightsError(f"the weights in {directory} do not fit: {'; '.join(problems)}")
    norms = {name for name in own if name.endswith(NORMS)}
    shared = {  # before anything is copied: a norm may still be refused
        name: fitted(name, tensor, own[name].shape)
        for file in files
        for name, tensor in _tensors(file, norms)
    }
    for name, tensor in shared.items():
        own[name].copy_(tensor)
    for file in files:
        for name, tensor in _tensors(file, own.keys() - norms):
            own[name].copy_(tensor)
    return Loaded(tensors=len(own) - len(fresh), fresh=tuple(fresh))


def weight_files(directory: Path) -> list[Path]:
    """The files of DIR that hold weights: safetensors before PyTorch's own."""
    for pattern in ("*.safetensors", *PICKLED):
        if found := sorted(directory.glob(pattern)):
            return found
    raise WeightsError(
        f"{directory} has no *.safetensors, {' or '.join(PICKLED)} file; give the folder of a"
        " checkpoint"
    )


def fitted(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """A stored tensor in the model's own shape: a norm's row is repeated for the heads it is for.

    Raises where rows that the model shares among heads differ.
    """
    if tensor.shape == shape or not name.endswith(NORMS):
        return tensor
    if shape[0] > tensor.shape[0]:
        return tensor.repeat_interleave(shape[0] // tensor.shape[0], dim=0)
    groups = tensor.view(shape[0], -1, *tensor.shape[1:])
    if not torch.equal(groups, groups[:, :1].expand_as(groups)):
        raise WeightsError(
            f"{name} differs from head to head, but model.norm_shards={shape[0]} shares it: give"
            f" --set model.norm_shards={tensor.shape[0]}"
        )
    return groups[:, 0]


def _misshaped(own: Mapping[str, Tensor], stored: Mapping[str, Stored]) -> list[str]:
    return [
        f"{name} ({_size(stored[name].shape)} instead of {_size(tuple(tensor.shape))})"
        + (_horizon_hint(own, stored) if name == ACTION_TOKENS else "")
        for name, tensor in own.items()
        if name in stored and not _fits(name, stored[name].shape, tuple(tensor.shape))
    ]


def _horizon_hint(own: Mapping[str, Tensor], stored: Mapping[str, Stored]) -> str:
    each = ACTION_DIMS * own["action_head.hidden_projection.weight"].shape[1]
    steps, rest = divmod(stored[ACTION_TOKENS].shape[-1], each)
    return "" if rest else f", which is a chunk of {steps}: --set data.horizon={steps}"


def _fits(name: str, given: tuple[int, ...], own: tuple[int, ...]) -> bool:
    if given == own or not name.endswith(NORMS) or len(given) != len(own):
        return given == own
    few, many = sorted((given[0], own[0]))
    return given[1:] == own[1:] and few > 0 and many % few == 0


def _lost(directory: Path, stored: Mapping[str, Stored]) -> list[str]:
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return []
    try:
        named = json.loads(index.read_text("utf-8"))["weight_map"]
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise WeightsError(f"{index} is not a safetensors index: {error!r}") from None
    return [name for name in named if _unwrapped(name) not in stored]


def _unwrapped(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _headers(file: Path) -> Iterator[tuple[str, Stored]]:
    if file.suffix != ".safetensors":
        for name, tensor in _unpickled(file).items():
            shape, kind = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
            yield _unwrapped(name), Stored(shape, kind, tensor.is_floating_point())
        return
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            for name in opened.keys():  # noqa: SIM118 (the handle is not a mapping)
                tensor = opened.get_slice(name)
                kind = str(tensor.get_dtype())
                yield (
                    _unwrapped(name),
                    Stored(tuple(tensor.get_shape()), kind, kind.startswith(("F", "BF"))),
                )
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {error}") from None


def _tensors(file: Path, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    if file.suffix != ".safetensors":
        for name, tensor in _unpickled(file).items():
            if _unwrapped(name) in names:
                yield _unwrapped(name), tensor
        return
    with safe_open(file, framework="pt", device="cpu") as opened:
        for name in opened.keys():  # noqa: SIM118
            if _unwrapped(name) in names:
                yield _unwrapped(name), opened.get_tensor(name)


def _unpickled(file: Path) -> dict[str, Tensor]:
    """The tensors of a `torch.save`, mapped rather than read, and nothing but tensors."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError) as error:
        why = str(error).strip().split("\n")[0]
        raise WeightsError(f"{file} cannot be read as tensors alone: {why}") from None
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{file} holds other things than tensors by name")
    return state


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

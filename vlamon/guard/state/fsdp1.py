"""The state of a training under FullyShardedDataParallel (FSDP1), by name and in pieces.

FSDP1 keeps flat parameters whose cuts have no names. For checkpoints on disk its own sharded state
dicts give every parameter and moment its name and its box, the same as `fully_shard` does, so that
one can resume what the other wrote. Getting them is a collective: called by all ranks. Snapshots in
memory copy the flat parameters as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from vlamon.guard.state.restore import StateMismatch, extra_states
from vlamon.guard.state.sharding import (
    Box,
    NamedTensor,
    UnplacedShard,
    box_of,
    named,
    sharded,
    splits_of,
)
from vlamon.guard.state.tree import tensors_of

Tree = dict[str, Any]
WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")


@dataclass(frozen=True, slots=True)
class ByName:
    """A state whose tensors are this rank's pieces."""

    state: Tree
    named: Sequence[NamedTensor]
    """What they are pieces of, in the order of the state."""


def by_name(tree: Tree, parts: Mapping[str, Any], rank: int) -> ByName:
    """A captured state with the pieces of model and optimizers in place of flat parameters."""
    model: nn.Module = parts["model"]
    boxes: dict[int, tuple[torch.Tensor, NamedTensor]] = {}
    parameters = get_model_state_dict(model)
    names = {_clean(name) for name, _ in model.named_parameters()}
    saved: Tree = {
        name: _piece(tensor, boxes) if name in names or _cut(tensor) else tensor
        for name, tensor in parameters.items()
        if isinstance(tensor, torch.Tensor)
    }
    saved |= {_clean(name): buffer for name, buffer in model.named_buffers()}
    saved |= {_clean(name): owner.get_extra_state() for name, owner in extra_states(model).items()}
    replaced, order = {**tree["parts"], "model": saved}, {}
    for name, part in parts.items():
        if isinstance(part, Optimizer):
            replaced[name], order[name] = _optimizer(model, part, boxes)
    state = {**tree, "parts": replaced}
    rows = []
    tensors = (tensor for _, tensor in tensors_of(state))
    for row, tensor in zip(named(state, order, rank), tensors, strict=True):
        known = boxes.get(id(tensor))
        if known is not None:
            row = replace(row, shape=known[1].shape, box=known[1].box)
        rows.append(row)
    return ByName(state, rows)


def _optimizer(
    model: nn.Module, part: Optimizer, boxes: dict[int, tuple[torch.Tensor, NamedTensor]]
) -> tuple[Tree, list[str]]:
    """Its state numbered as `Optimizer.state_dict` does it, and the names of the numbers."""
    said: Any = get_optimizer_state_dict(model, part)
    names = [name for group in said["param_groups"] for name in group["params"]]
    number = {name: index for index, name in enumerate(names)}
    state = {
        number[name]: {
            key: _piece(value, boxes) if _cut(value) else value for key, value in moments.items()
        }
        for name, moments in said["state"].items()
    }
    groups = [
        {**group, "params": [number[name] for name in group["params"]]}
        for group in said["param_groups"]
    ]
    return {"state": state, "param_groups": groups}, names


def restore(tree: Tree, parts: Mapping[str, Any]) -> None:
    """Put the pieces of model and optimizers back; `StateMismatch` before anything is touched."""
    model: nn.Module = parts["model"]
    live: Any = get_model_state_dict(model)
    saved = tree["parts"]["model"]
    _check("model", live, saved)
    optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
    states: dict[str, Any] = {}
    for name, part in optimizers.items():
        states[name] = get_optimizer_state_dict(model, part)
        _fill_optimizer(name, states[name], tree["parts"][name])
    for name, tensor in live.items():
        if isinstance(tensor, torch.Tensor):
            _put(tensor, saved[name])
    set_model_state_dict(model, live)
    for name, part in optimizers.items():
        set_optimizer_state_dict(model, part, states[name])
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(saved[_clean(name)])
    for name, owner in extra_states(model).items():
        if _clean(name) in saved:
            owner.set_extra_state(copy.deepcopy(saved[_clean(name)]))


def _fill_optimizer(name: str, live: Any, saved: Tree) -> None:
    """What was saved, in a state dict of the live optimizer's."""
    names = [each for group in live["param_groups"] for each in group["params"]]
    if [len(g["params"]) for g in live["param_groups"]] != [
        len(g["params"]) for g in saved["param_groups"]
    ]:
        raise StateMismatch(f"{name}: the saved state has other parameter groups")
    for group, old in zip(live["param_groups"], saved["param_groups"], strict=True):
        group |= {key: copy.deepcopy(value) for key, value in old.items() if key != "params"}
    for number, moments in saved["state"].items():
        there = live["state"].get(names[number], {})
        _check(f"{name}.{names[number]}", there, moments)
        for key, value in there.items():
            if isinstance(value, torch.Tensor):
                _put(value, moments[key])
            else:
                there[key] = copy.deepcopy(moments[key])


def _check(name: str, live: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    for key, tensor in live.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        if key not in saved:
            raise StateMismatch(f"the saved state lacks {name}.{key}")
        if tuple(saved[key].shape) != tuple(tensor.shape):
            raise StateMismatch(
                f"{name}.{key} is {tuple(tensor.shape)} here and {tuple(saved[key].shape)} in the "
                "saved state"
            )


@torch.no_grad()
def _put(live: Any, saved: Any) -> None:
    """Copy a piece, or the piece of a whole tensor, into the live one."""
    for box, target in _shards(live):
        source = saved.local if isinstance(saved, UnplacedShard) else saved[box.slices]
        target.copy_(source)


def _piece(tensor: Any, boxes: dict[int, tuple[torch.Tensor, NamedTensor]]) -> nn.Parameter:
    shape = tuple(tensor.shape)
    box, local = next(_shards(tensor), (Box((0,) * len(shape), (0,) * len(shape)), None))
    if local is None:
        local = torch.empty(box.sizes, dtype=tensor.dtype)
    kept = nn.Parameter(local.detach(), requires_grad=False)
    splits = splits_of(tensor) if sharded(tensor) else None
    boxes[id(kept)] = kept, NamedTensor((), shape, box, splits)
    return kept


def _cut(tensor: Any) -> bool:
    return sharded(tensor) or hasattr(tensor, "local_shards")


def _shards(tensor: Any) -> Iterator[tuple[Box, torch.Tensor]]:
    """This rank's pieces of a DTensor or ShardedTensor; at most one."""
    if sharded(tensor):
        yield box_of(tensor), tensor.to_local()
    elif hasattr(tensor, "local_shards"):
        for shard in tensor.local_shards():
            place = shard.metadata
            yield Box(tuple(place.shard_offsets), tuple(place.shard_sizes)), shard.tensor
    else:
        yield Box.whole(tuple(tensor.shape)), tensor


def _clean(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name

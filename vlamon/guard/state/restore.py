"""Putting a saved state into the live objects: all of it, or nothing.

First everything is compared, then what loads by code of its owner's is loaded (and taken back where
one of them refuses), and only then are tensors copied, which cannot fail any more.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard.out_of_memory import NoMemory, is_lack, memory_for
from vlamon.guard.state.owned import LiveTensors
from vlamon.guard.state.sharding import UnplacedShard, piece_of, sharded
from vlamon.guard.state.tree import copied, duplicate, local

Tree = dict[str, Any]
Fresh = dict[tuple[int, str], Any]
"""New values of an optimizer, by the id of a parameter or of a group's parameters, and a name."""

EXTRA = "_extra_state"
"""What `Module.state_dict` calls the extra state of a module."""


@runtime_checkable
class Stateful(Protocol):
    """A scheduler, scaler, sampler, EMA, cache: anything with these two methods."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> Any: ...


class StateMismatch(Exception):
    """A saved state does not fit the live objects; the message says where."""


def extra_states(module: nn.Module) -> dict[str, nn.Module]:
    """The modules that keep more than tensors (`get_extra_state`), by the key of that state."""
    return {
        f"{name}.{EXTRA}" if name else EXTRA: each
        for name, each in module.named_modules()
        if type(each).get_extra_state is not nn.Module.get_extra_state
    }


@dataclass(frozen=True, slots=True)
class CustomLoad:
    """A state that only its owner's code can put back."""

    name: str
    """What the user calls it."""
    saved: Any
    """What to put back; left untouched."""
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    split_up: bool = False
    """Whether its tensors may be shards."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a return will do, gathered before anything is touched."""

    into: list[torch.Tensor] = field(default_factory=list)
    """Live tensors, which are copied into as one fused call."""
    out_of: list[torch.Tensor] = field(default_factory=list)
    own: list[CustomLoad] = field(default_factory=list)
    buffers: list[tuple[nn.Module, str, torch.Tensor]] = field(default_factory=list)
    """Buffers that have another shape by now and are replaced."""
    optimizers: list[tuple[Optimizer, Tree]] = field(default_factory=list)

    def add(self, name: str, part: Any, saved: Any, split_up: bool) -> None:
        """Add a part, or say why its saved state does not fit."""
        with naming_part(name):
            if isinstance(part, nn.Module):
                self._plan_module(name, part, saved)
            elif isinstance(part, Optimizer):
                self._plan_optimizer(name, part, saved)
            elif isinstance(part, LiveTensors):
                self._plan_live_tensors(name, part.tensors(), saved)
            else:
                own = CustomLoad(name, saved, part.state_dict, part.load_state_dict, split_up)
                self.own.append(own)

    def apply(self) -> None:
        """Restore all parts. What takes memory comes first: a lack of it then changes nothing."""
        with memory_for("the optimizers' states"):
            made = [self._made(optimizer, saved) for optimizer, saved in self.optimizers]
        self._load()
        for (optimizer, saved), fresh in zip(self.optimizers, made, strict=True):
            self._restore_optimizer(optimizer, saved, fresh)
        for module, name, tensor in self.buffers:
            setattr(module, name, tensor)
        with torch.no_grad():
            if self.into:
                torch._foreach_copy_(self.into, self.out_of)

    def _copy(self, live: torch.Tensor, saved: torch.Tensor | UnplacedShard) -> None:
        live, saved = local(live.detach()), local(piece_of(saved, live))
        for axis, (size, stride) in enumerate(zip(live.shape, live.stride(), strict=True)):
            if stride == 0 and size > 1:  # expanded: one place in memory must be written once
                live, saved = live.narrow(axis, 0, 1), saved.narrow(axis, 0, 1)
        self.into.append(live)
        self.out_of.append(saved)

    def _plan_module(self, name: str, module: nn.Module, saved: Tree) -> None:
        live = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        extra = extra_states(module)
        for lacking, names in (
            ("the saved state", live.keys() - saved.keys()),
            ("this training", saved.keys() - live.keys() - extra.keys()),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise StateMismatch(f"{lacking} lacks {name}.{min(names)}{more}")
        for key, tensor in live.items():
            here, there = local(tensor), local(piece_of(saved[key], tensor))
            owner, own_name = _owner(module, key)
            if here.shape == there.shape:
                self._copy(tensor, saved[key])
            elif own_name in owner._non_persistent_buffers_set:  # a cache that has grown since
                self.buffers.append((owner, own_name, there.clone().to(here.device)))
            else:
                raise StateMismatch(
                    f"{name}.{key} is {tuple(here.shape)} here and {tuple(there.shape)} in the "
                    "saved state"
                )
        for key, owner in extra.items():
            if key in saved:  # checkpoints of older versions have none
                place = f"{name}.{key}"
                put = owner.set_extra_state
                self.own.append(CustomLoad(place, saved[key], owner.get_extra_state, put))

    def _plan_live_tensors(self, name: str, live: Mapping[str, torch.Tensor], saved: Tree) -> None:
        if live.keys() != saved.keys():
            raise StateMismatch(
                f"{name}: the saved state has {len(saved)} tensors of it, this training {len(live)}"
            )
        for key, tensor in live.items():
            here, there = local(tensor), local(piece_of(saved[key], tensor))
            if here.shape != there.shape:
                raise StateMismatch(
                    f"{name}.{key} is {tuple(here.shape)} here and {tuple(there.shape)} in the "
                    "saved state"
                )
            self._copy(tensor, saved[key])

    def _plan_optimizer(self, name: str, part: Optimizer, saved: Tree) -> None:
        groups, state = saved["param_groups"], saved["state"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in part.param_groups]:
            raise StateMismatch(f"{name}: the saved state has other parameter groups")
        if saved.keys() - {"param_groups", "state"}:
            put = _LoadInPlace(part)
            self.own.append(CustomLoad(name, saved, part.state_dict, put, split_up=True))
        self.optimizers.append((part, {"param_groups": groups, "state": state}))

    def _load(self) -> None:
        """What loads by itself; where one refuses, those before it get back what they had."""
        loaded: list[tuple[CustomLoad, Any]] = []
        for own in self.own:
            try:
                with naming_part(own.name):
                    live = own.get()
                    loaded.append((own, duplicate(live)))
                    own.put(_with_dtensors(own.saved, live if own.split_up else None))
            except (StateMismatch, NoMemory):
                for each, before in reversed(loaded):
                    with contextlib.suppress(Exception):  # the first failure is the one to report
                        each.put(before)
                raise

    def _made(self, part: Optimizer, saved: Tree) -> Fresh:
        """Values and moments that the optimizer does not have in this shape yet."""
        made: Fresh = {}
        for group, old in zip(part.param_groups, saved["param_groups"], strict=True):
            for key, value in old.items():
                if key != "params" and not _same_shape(group.get(key), value):
                    made[id(group["params"]), key] = copy.deepcopy(value)
            for parameter, index in zip(group["params"], old["params"], strict=True):
                live = part.state.get(parameter, {})
                for key, value in saved["state"].get(index, {}).items():
                    if not isinstance(value, torch.Tensor | UnplacedShard):
                        made[id(parameter), key] = copy.deepcopy(value)
                        continue
                    piece = piece_of(value, parameter)
                    if not _same_shape(live.get(key), piece):
                        made[id(parameter), key] = _moment(key, piece, parameter, group)
        return made

    def _restore_optimizer(self, part: Optimizer, saved: Tree, fresh: Fresh) -> None:
        for group, old in zip(part.param_groups, saved["param_groups"], strict=True):
            for key, value in old.items():
                if key == "params":
                    continue
                if _same_shape(group.get(key), value):
                    self._copy(group[key], value)
                else:
                    place = id(group["params"]), key
                    group[key] = fresh[place] if place in fresh else copy.deepcopy(value)
            for parameter, index in zip(group["params"], old["params"], strict=True):
                moments = saved["state"].get(index)
                if moments is None:
                    part.state.pop(parameter, None)  # taken before this parameter's first step
                    continue
                live = part.state.setdefault(parameter, {})
                for key in [key for key in live if key not in moments]:
                    del live[key]
                for key, value in moments.items():
                    if isinstance(value, torch.Tensor):
                        value = piece_of(value, parameter)
                    place = id(parameter), key
                    if _same_shape(live.get(key), value):
                        self._copy(live[key], value)
                    elif place in fresh:
                        live[key] = fresh[place]
                    elif isinstance(value, torch.Tensor | UnplacedShard):
                        live[key] = _moment(key, value, parameter, group)
                    else:
                        live[key] = copy.deepcopy(value)


@dataclass(frozen=True, slots=True)
class _LoadInPlace:
    """An optimizer's own loading, for what it keeps besides; its moments stay the tensors that
    they are."""

    optimizer: Optimizer

    def __call__(self, saved: Any) -> None:
        before = {parameter: dict(state) for parameter, state in self.optimizer.state.items()}
        self.optimizer.load_state_dict(saved)
        for parameter, state in self.optimizer.state.items():
            for key, tensor in before.get(parameter, {}).items():
                now = state.get(key)
                if _same_shape(tensor, now) and tensor.dtype == now.dtype:
                    with torch.no_grad():
                        tensor.copy_(now)
                    state[key] = tensor


@contextlib.contextmanager
def naming_part(name: str) -> Iterator[None]:
    """Raise what a part's own loading code raises as a StateMismatch that names the part."""
    try:
        yield
    except (StateMismatch, NoMemory):
        raise
    except KeyError as error:
        raise StateMismatch(f"{name}: the saved state lacks {error}") from error
    except Exception as error:
        if is_lack(error):
            raise NoMemory(
                f"no memory to put {name} back ({str(error) or 'MemoryError'})"
            ) from error
        raise StateMismatch(f"{name}: {error}") from error


def _owner(module: nn.Module, key: str) -> tuple[nn.Module, str]:
    prefix, _, name = key.rpartition(".")
    return module.get_submodule(prefix), name


def _same_shape(one: Any, other: Any) -> bool:
    return (
        isinstance(one, torch.Tensor)
        and isinstance(other, torch.Tensor | UnplacedShard)
        and local(one).shape == local(other).shape
    )


def _moment(
    key: str, value: torch.Tensor | UnplacedShard, parameter: torch.Tensor, group: Mapping[str, Any]
) -> torch.Tensor:
    """A moment that the optimizer does not have yet, split as its parameter is."""
    if isinstance(value, UnplacedShard):
        return value.placed(parameter)
    if sharded(parameter) and value.dim() and value.shape == local(parameter).shape:
        return UnplacedShard(value.clone(), tuple(parameter.shape), ()).placed(parameter)
    return value.clone().to(_moment_device(key, parameter, group))


def _moment_device(key: str, parameter: torch.Tensor, group: Mapping[str, Any]) -> torch.device:
    """Where PyTorch keeps a moment: step counters stay on the host except in two variants."""
    if key == "step" and not (group.get("capturable") or group.get("fused")):
        return torch.device("cpu")
    return parameter.device


def _with_dtensors(saved: Any, live: Any) -> Any:
    """A copy of a saved tree, with pieces as DTensors where the live one has such."""
    if isinstance(saved, torch.Tensor | UnplacedShard):
        piece = local(piece_of(saved, live))
        if sharded(live) and piece.shape == local(live).shape:
            return UnplacedShard(piece.clone(), tuple(live.shape), ()).placed(live)
        return piece.clone()
    if isinstance(saved, dict):
        known = live if isinstance(live, Mapping) else {}
        return {key: _with_dtensors(value, known.get(key)) for key, value in saved.items()}
    if isinstance(saved, list):
        there = live if isinstance(live, list) and len(live) == len(saved) else [None] * len(saved)
        return [_with_dtensors(value, other) for value, other in zip(saved, there, strict=True)]
    return copied(saved)

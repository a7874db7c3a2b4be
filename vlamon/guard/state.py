"""Everything that a bit-exact return needs, taken from and put back into the live objects.

Parameters, buffers and optimizer moments are put back in place, so that whoever holds references
(a compiled graph, a fused optimizer, DDP's buckets) keeps them. Nothing about rollbacks themselves
is in here: budget, cooldown, skipped samples and the attempt must outlive a rollback.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard.shards import Piece, piece_of, sharded
from vlamon.guard.tree import local

Tree = dict[str, Any]


@runtime_checkable
class Stateful(Protocol):
    """A scheduler, scaler, sampler, EMA, cache: anything with these two methods."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> Any: ...


class StateMismatch(Exception):
    """A saved state does not fit the live objects; the message says where."""


class TrainingState:
    """The live objects of a training by name, captured and restored together."""

    def __init__(
        self,
        parts: Mapping[str, nn.Module | Optimizer | Stateful],
        generators: Sequence[torch.Generator | np.random.Generator | random.Random] = (),
    ) -> None:
        """`generators` are those that the training made itself; the global ones are included."""
        for name, part in parts.items():
            if not isinstance(part, Stateful):
                raise TypeError(f"{name} is a {type(part).__name__} without state_dict")
        self.parts = {
            name: unwrapped(part) if isinstance(part, nn.Module) else part
            for name, part in parts.items()
        }
        self.generators = tuple(generators)

    def capture(self) -> Tree:
        """References to the live tensors, and copies of the plain values around them."""
        return {
            "parts": {name: _state_of(part) for name, part in self.parts.items()},
            "rng": capture_rng(self.generators),
        }

    def restore(self, tree: Tree, keep: Iterable[str] = ()) -> None:
        """Put a captured state back, but for the parts in `keep`. `tree` is left untouched.

        A tree may itself name parts to leave alone: those that a resume on another number of ranks
        cannot deal out.
        """
        spared = frozenset((*keep, *tree.get("left_alone", ())))
        for lacking, having, names in (
            ("the saved state", "this training", self.parts.keys() - tree["parts"].keys() - spared),
            ("this training", "the saved state", tree["parts"].keys() - self.parts.keys()),
        ):
            if names:
                raise StateMismatch(f"{lacking} lacks {', '.join(sorted(names))}, {having} has it")
        copies, split_up = _Copies(), self.sharded()
        for name, part in self.parts.items():
            if name not in spared:
                _restore(name, part, tree["parts"][name], copies, split_up)
        copies.run()
        if "rng" not in spared:
            restore_rng(tree["rng"], self.generators)

    def sharded(self) -> bool:
        """Whether parameters are DTensors, of which every rank holds a piece."""
        modules = (part for part in self.parts.values() if isinstance(part, nn.Module))
        return any(sharded(parameter) for module in modules for parameter in module.parameters())

    def order(self) -> dict[str, list[str]]:
        """For every optimizer the names of its parameters, in the order of its state."""
        names: dict[int, str] = {}
        for part in self.parts.values():
            if isinstance(part, nn.Module):
                names |= {id(tensor): name for name, tensor in part.named_parameters()}
        return {
            name: [
                names.get(id(parameter), f"parameter.{index}")
                for index, parameter in enumerate(
                    parameter for group in part.param_groups for parameter in group["params"]
                )
            ]
            for name, part in self.parts.items()
            if isinstance(part, Optimizer)
        }


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DDP and torch.compile, so that names do not depend on either."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _state_of(part: nn.Module | Optimizer | Stateful) -> Any:
    if not isinstance(part, nn.Module):
        return part.state_dict()
    # Not Module.state_dict: it leaves out the buffers that are not persistent (caches, EMA).
    tensors: Tree = dict(part.named_parameters())
    tensors.update(part.named_buffers())
    return tensors


class _Copies:
    """Copies into live tensors, gathered to run as one fused call."""

    def __init__(self) -> None:
        self.into: list[torch.Tensor] = []
        self.out_of: list[torch.Tensor] = []

    def add(self, where: str, live: torch.Tensor, saved: torch.Tensor | Piece) -> None:
        live, saved = local(live.detach()), local(piece_of(saved, live))
        if live.shape != saved.shape:
            raise StateMismatch(
                f"{where} is {tuple(live.shape)} here and {tuple(saved.shape)} in the saved state"
            )
        self.into.append(live)
        self.out_of.append(saved)

    @torch.no_grad()
    def run(self) -> None:
        if self.into:
            torch._foreach_copy_(self.into, self.out_of)


def _restore(name: str, part: Any, saved: Any, copies: _Copies, split_up: bool) -> None:
    """One part; what its own loading says of a state that it cannot take is told with its name."""
    try:
        if isinstance(part, nn.Module):
            _restore_module(name, part, saved, copies)
        elif isinstance(part, Optimizer):
            _restore_optimizer(name, part, saved, copies)
        else:
            live = part.state_dict() if split_up else None
            part.load_state_dict(_dressed(saved, live))
    except StateMismatch:
        raise
    except KeyError as error:
        raise StateMismatch(f"{name}: the saved state lacks {error}") from error
    except Exception as error:
        raise StateMismatch(f"{name}: {error}") from error


def _restore_module(name: str, part: nn.Module, saved: Tree, copies: _Copies) -> None:
    live = _state_of(part)
    for lacking, names in (
        ("the saved state", live.keys() - saved.keys()),
        ("this training", saved.keys() - live.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise StateMismatch(f"{lacking} lacks {name}.{min(names)}{more}")
    for key, tensor in live.items():
        copies.add(f"{name}.{key}", tensor, saved[key])


def _restore_optimizer(name: str, part: Optimizer, saved: Tree, copies: _Copies) -> None:
    groups = saved["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in part.param_groups]:
        raise StateMismatch(f"{name}: the saved state has other parameter groups")
    for group, old in zip(part.param_groups, groups, strict=True):
        for key, value in old.items():
            if key == "params":
                continue
            if isinstance(value, torch.Tensor) and isinstance(group.get(key), torch.Tensor):
                copies.add(f"{name}.{key}", group[key], value)
            else:
                group[key] = copy.deepcopy(value)
        for parameter, index in zip(group["params"], old["params"], strict=True):
            moments = saved["state"].get(index)
            if moments is None:
                part.state.pop(parameter, None)  # taken before this parameter's first step
                continue
            live = part.state.setdefault(parameter, {})
            for key in [key for key in live if key not in moments]:
                del live[key]
            for key, value in moments.items():
                have = live.get(key)
                if isinstance(value, torch.Tensor):
                    value = piece_of(value, parameter)
                if not isinstance(value, torch.Tensor | Piece):
                    live[key] = copy.deepcopy(value)
                elif isinstance(have, torch.Tensor) and local(have).shape == local(value).shape:
                    copies.add(f"{name}.{key}", have, value)
                else:
                    live[key] = _moment(key, value, parameter, group)


def _moment(
    key: str, value: torch.Tensor | Piece, parameter: torch.Tensor, group: Mapping[str, Any]
) -> torch.Tensor:
    """A moment that the optimizer does not have yet, split as its parameter is."""
    if isinstance(value, Piece):
        return value.placed(parameter)
    if sharded(parameter) and value.dim() and value.shape == local(parameter).shape:
        return Piece(value.clone(), tuple(parameter.shape), ()).placed(parameter)
    return value.clone().to(_home(key, parameter, group))


def _dressed(saved: Any, live: Any) -> Any:
    """A copy of a saved tree, with pieces as DTensors where the live one has such."""
    if isinstance(saved, torch.Tensor | Piece):
        piece = local(piece_of(saved, live))
        if sharded(live) and piece.shape == local(live).shape:
            return Piece(piece.clone(), tuple(live.shape), ()).placed(live)
        return piece.clone()
    if isinstance(saved, dict):
        known = live if isinstance(live, Mapping) else {}
        return {key: _dressed(value, known.get(key)) for key, value in saved.items()}
    if isinstance(saved, list):
        there = live if isinstance(live, list) and len(live) == len(saved) else [None] * len(saved)
        return [_dressed(value, other) for value, other in zip(saved, there, strict=True)]
    return copy.deepcopy(saved)


def _home(key: str, parameter: torch.Tensor, group: Mapping[str, Any]) -> torch.device:
    """Where PyTorch keeps a moment: step counters stay on the host but for two variants."""
    if key == "step" and not (group.get("capturable") or group.get("fused")):
        return torch.device("cpu")
    return parameter.device


def capture_rng(generators: Sequence[Any] = ()) -> Tree:
    """Every random stream: Python, NumPy, torch, each CUDA device in use, and `generators`."""
    streams: Tree = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda_runs() else [],
        "own": [_stream(generator) for generator in generators],
    }
    return streams


def restore_rng(streams: Tree, generators: Sequence[Any] = ()) -> None:
    """Put the random streams back."""
    random.setstate(streams["python"])
    np.random.set_state(streams["numpy"])
    torch.set_rng_state(streams["torch"])
    if streams["cuda"] and cuda_runs():
        torch.cuda.set_rng_state_all(streams["cuda"])
    for generator, saved in zip(generators, streams["own"], strict=True):
        if isinstance(generator, torch.Generator):
            generator.set_state(saved)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = copy.deepcopy(saved)
        else:
            generator.setstate(saved)


def cuda_runs() -> bool:
    """Whether this process uses CUDA; asking must not be what initialises it."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _stream(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    return generator.getstate()

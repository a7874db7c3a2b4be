"""Finds what only an optimizer holds: fp32 masters of a bf16 model, an optimizer inside a wrapper.

A rollback that leaves the masters alone is undone by the next step, which copies them back over the
restored weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class LiveTensors(ABC):
    """Tensors that are put back in place."""

    __slots__ = ()

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Live tensors by name."""


@dataclass(frozen=True, slots=True)
class OwnedParameters(LiveTensors):
    """The parameters of an optimizer that belong to no module of the training."""

    optimizer: Optimizer
    modules: tuple[nn.Module, ...]
    """Modules whose parameters are saved anyway."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Live tensors by a name that stays the same while the parameter groups do."""
        known = {id(p) for module in self.modules for p in module.parameters()}
        found: dict[str, torch.Tensor] = {}
        for index, tensor in enumerate(_trainable(self.optimizer)):
            if id(tensor) not in known:
                known.add(id(tensor))
                found[str(index)] = tensor
        return found


def _trainable(optimizer: Optimizer) -> Iterator[torch.Tensor]:
    """The parameters of the groups, then those that a wrapper keeps in attributes of its own."""
    for group in optimizer.param_groups:
        yield from group["params"]
    for name, value in vars(optimizer).items():
        if name not in ("param_groups", "state", "defaults"):
            yield from (tensor for tensor in _tensors(value) if tensor.requires_grad)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def is_zero(part: object) -> bool:
    """Whether it is PyTorch's ZeRO-1, which hands out its state only after a gather on one rank."""
    return type(part).__name__ == "ZeroRedundancyOptimizer"


@dataclass(frozen=True, slots=True)
class Groups:
    """The settings of an optimizer's groups, which ZeRO-1 copies to the optimizer that it splits
    up: an lr that stayed would be the next step's."""

    optimizer: Optimizer

    def state_dict(self) -> list[dict[str, Any]]:
        """What there is beside the parameters."""
        return [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Put them back."""
        for group, saved in zip(self.optimizer.param_groups, state, strict=True):
            group.update(saved)


def inner_optimizers(parts: Mapping[str, Any]) -> dict[str, Optimizer]:
    """Optimizers inside the wrappers among these, whose state the wrapper does not share."""
    given = {id(part) for part in parts.values()}
    found: dict[str, Optimizer] = {}
    waiting: list[tuple[str, Any]] = list(parts.items())
    while waiting:
        name, part = waiting.pop(0)
        for attribute, inner in _attributes(part):
            if id(inner) in given or inner.state is getattr(part, "state", None):
                continue
            given.add(id(inner))
            found[f"{name}.{attribute}"] = inner
            waiting.append((f"{name}.{attribute}", inner))
    return found


def _attributes(part: Any) -> Iterable[tuple[str, Optimizer]]:
    if not isinstance(part, Optimizer):
        return ()
    return [item for item in vars(part).items() if isinstance(item[1], Optimizer)]

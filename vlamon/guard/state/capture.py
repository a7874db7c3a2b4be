"""Everything that a bit-exact return needs, taken from and put back into the live objects.

Parameters, buffers and optimizer moments are put back in place, so that whatever holds references
(a compiled graph, a fused optimizer, DDP's buckets) keeps them. Nothing about rollbacks themselves
is in here: budget, cooldown, skipped samples and the attempt must outlive a rollback.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard import collectives
from vlamon.guard.out_of_memory import NoMemory
from vlamon.guard.state.owned import Groups, LiveTensors, OwnedParameters, inner_optimizers, is_zero
from vlamon.guard.state.restore import RestorePlan, extra_states
from vlamon.guard.state.restore import Stateful as Stateful
from vlamon.guard.state.restore import StateMismatch as StateMismatch
from vlamon.guard.state.restore import Tree as Tree
from vlamon.guard.state.sharding import NamedTensor, live_tensors, named, sharded
from vlamon.guard.state.zero import ZeroOptimizer

LADDER = "ladder"
"""The part with the levels of the ladder: a resume with another ladder gains or loses it."""


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
        for name, part in list(self.parts.items()):
            if is_zero(part):
                wrapper: Any = part
                self.parts[name] = wrapper.optim  # this rank's share
                self.parts[f"{name}.groups"] = Groups(wrapper)
        self._zero = any(is_zero(part) for part in parts.values())
        self._engine: ZeroOptimizer | None = None
        for name, part in parts.items():
            if isinstance(part, ZeroOptimizer):
                self._engine = part
                self.parts |= part.parts(name, parts["model"])  # type: ignore[arg-type]
        self.parts |= inner_optimizers(self.parts)
        self.generators = tuple(generators)

    def add(self, name: str, part: Stateful) -> None:
        """One more part, before the first state is taken."""
        self.parts[name] = part

    def everything(self) -> dict[str, nn.Module | Optimizer | Stateful | LiveTensors]:
        """The parts, and for every optimizer that owns parameters of its own those parameters."""
        found: dict[str, nn.Module | Optimizer | Stateful | LiveTensors] = dict(self.parts)
        modules = tuple(part for part in self.parts.values() if isinstance(part, nn.Module))
        for name, part in self.parts.items():
            if isinstance(part, Optimizer):
                owned = OwnedParameters(part, modules)
                if owned.tensors():
                    found[f"{name}.parameters"] = owned
        return found

    def capture(self) -> Tree:
        """References to the live tensors, and copies of the plain values around them."""
        return {
            "parts": {name: _state_of(part) for name, part in self.everything().items()},
            "rng": capture_rng(self.generators),
        }

    def for_disk(self, rank: int) -> tuple[Tree, list[NamedTensor]]:
        """A state in which every tensor has a name and a box, and those; asked of all ranks."""
        tree = self.capture()
        if self.flat():
            from vlamon.guard.state.fsdp1 import by_name

            found = by_name(tree, self.parts, rank)
            return found.state, list(found.named)
        return tree, list(named(tree, self.order(), rank))

    def live(self, rank: int) -> dict[str, torch.Tensor | NamedTensor]:
        """What a checkpoint is cut for: live tensors, or their boxes, by name."""
        if self.flat():
            return {each.name: each for each in self.for_disk(rank)[1]}
        return dict(live_tensors(self.capture(), self.order(), rank))

    def flat(self) -> bool:
        """Whether parameters are FSDP1's, whose cuts have no names."""
        return flat_shards(self.parts.get("model"))

    def restore(self, tree: Tree, keep: Iterable[str] = ()) -> None:
        """Put a captured state back, except for the parts in `keep`. `tree` is left untouched.

        All of it, or nothing and a `StateMismatch`, or `NoMemory` where that lacks. Called by all
        ranks.
        """
        if self._engine is None:
            self._put_back(tree, keep)
            return
        failure, lack = self._engine.misfit(tree["parts"]), False
        try:
            if not failure:
                self._put_back(tree, keep)
        except (StateMismatch, NoMemory) as error:
            failure, lack = str(error), isinstance(error, NoMemory)
        # The engine gathers the weights: no rank may begin that alone.
        for said, lacks in collectives.everyone((failure, lack)):
            if said:
                raise NoMemory(said) if lacks else StateMismatch(said)
        self._engine.renew_weights()

    def _put_back(self, tree: Tree, keep: Iterable[str]) -> None:
        """The same without what an engine makes of it.

        A tree may itself name parts to leave alone: those that a resume on another number of ranks
        cannot deal out.
        """
        spared = {*keep, *tree.get("left_alone", ())}
        if (LADDER in self.parts) != (LADDER in tree["parts"]):
            spared.add(LADDER)
        parts = self.everything()
        for lacking, having, names in (
            (
                "the saved state",
                "this training",
                self.parts.keys() - tree["parts"].keys() - spared,
            ),
            ("this training", "the saved state", tree["parts"].keys() - parts.keys() - spared),
        ):
            if names:
                raise StateMismatch(f"{lacking} lacks {', '.join(sorted(names))}, {having} has it")
        streams = self.generators if "rng" in spared else tree["rng"]["own"]
        if len(streams) != len(self.generators):
            having = f"this training has {len(self.generators)}"
            raise StateMismatch(f"the saved state has {len(streams)} generators, {having}")
        plan, split_up = RestorePlan(), self.sharded()
        of_names = bool(tree.get("by_name")) and self.flat()
        for name, part in parts.items():
            if name in spared or (of_names and (name == "model" or isinstance(part, Optimizer))):
                continue
            if name not in tree["parts"]:
                raise StateMismatch(f"the saved state lacks {name}, this training has it")
            plan.add(name, part, tree["parts"][name], split_up)
        if of_names:
            from vlamon.guard.state import fsdp1

            fsdp1.restore(tree, self.parts)
        plan.apply()
        if "rng" not in spared:
            restore_rng(tree["rng"], self.generators)

    def sharded(self) -> bool:
        """Whether every rank holds a piece of the parameters, or of the optimizer's state."""
        if self.flat() or self._zero or self._engine is not None:
            return True
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


def flat_shards(module: Any) -> bool:
    """Whether a module or one inside it is FSDP1's."""
    return isinstance(module, nn.Module) and any(
        type(each).__name__ == "FullyShardedDataParallel" for each in module.modules()
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DDP and torch.compile, so that names do not depend on either."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _state_of(part: nn.Module | Optimizer | Stateful | LiveTensors) -> Any:
    if isinstance(part, LiveTensors):
        return part.tensors()
    if not isinstance(part, nn.Module):
        return part.state_dict()
    # Not Module.state_dict: it leaves out the buffers that are not persistent (caches, EMA).
    state: Tree = dict(part.named_parameters())
    state.update(part.named_buffers())
    state.update({key: owner.get_extra_state() for key, owner in extra_states(part).items()})
    return state


def capture_rng(generators: Sequence[Any] = ()) -> Tree:
    """Every random stream: Python, NumPy, torch, each CUDA device in use, and `generators`."""
    streams: Tree = {
        **capture_host_rng(),
        "cuda": torch.cuda.get_rng_state_all() if cuda_runs() else [],
        "own": [_stream(generator) for generator in generators],
    }
    return streams


def capture_host_rng() -> Tree:
    """The global random streams that a loader draws from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }


def restore_host_rng(streams: Tree) -> None:
    """Put those back."""
    random.setstate(streams["python"])
    np.random.set_state(streams["numpy"])
    torch.set_rng_state(streams["torch"])


def restore_rng(streams: Tree, generators: Sequence[Any] = ()) -> None:
    """Put the random streams back."""
    restore_host_rng(streams)
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

"""Ranks: torchrun, DDP, and metrics that are reduced by their name.

The reference project all-reduces meters in each rank's own order of insertion, so a rank whose
first batch had no action adds its numbers to another metric's. Here every rank lays its values out
over the same sorted names, in one reduction a step.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class DeviceError(ValueError):
    """A device that is not there; the sentence is for the user."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its peers."""

    rank: int
    """Number of this process, 0 serves the socket and writes the logs."""
    size: int
    """Number of processes."""
    device: torch.device
    """Where this rank computes."""

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as it is called in training."""
        if self.size == 1:
            return model
        # A batch without actions gives the ActionHead no gradient on that rank.
        return DistributedDataParallel(model, find_unused_parameters=True)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()

    def agree(self, decision: int) -> int:
        """Rank 0's decision, on every rank."""
        if self.size == 1:
            return decision
        box = torch.tensor([decision], device=self.device)
        dist.broadcast(box, 0)
        return int(box.item())

    def any(self, here: bool) -> bool:
        """Whether it holds on any rank."""
        if self.size == 1:
            return here
        box = torch.tensor([float(here)], device=self.device)
        dist.all_reduce(box)
        return bool(box.item())

    def share(self, value: object) -> object:
        """Rank 0's object, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]


def join(device: str = "auto") -> Ranks:
    """Take the place that torchrun gave this process, or be alone."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", device) is None:
        raise DeviceError(f"--device must be auto, cpu or cuda, not {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(f"--device {device}: PyTorch finds no CUDA device on this machine")
    rank = int(os.environ.get("RANK", "0"))
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device, local) if device == "cuda" else torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Ranks(rank, size, place)


def leave() -> None:
    """Give the process group back."""
    if dist.is_initialized():
        dist.destroy_process_group()


def depart(ranks: Ranks) -> None:
    """End one process of several as soon as all is said.

    What still names the group (DDP, functions that torch defined after it was made) keeps gloo's
    threads beyond `leave`. Taken down with the interpreter they abort now and then, and torchrun
    would report a finished training as failed.
    """
    if ranks.size > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@dataclass(frozen=True, slots=True)
class Reduced:
    """The metrics of a step over all ranks."""

    values: dict[str, Tensor]
    """Means, and each further rank's own value of one metric."""
    shares: Mapping[str, float]
    """Share of the step's micro-batches, over all ranks, that had a metric."""


class Reducer:
    """Means over ranks of the metrics that each has, and every rank's own value of one of them."""

    def __init__(self, ranks: Ranks, names: Sequence[str], of_each: str = "closs") -> None:
        """`names` is every metric that any rank may have; `of_each` also travels unreduced."""
        self._ranks = ranks
        self._names = sorted(names)
        self._of_each = of_each

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values as rank 0 reports them: `closs_rank1` is what rank 1 had."""
        return self.pool(values, {}, 1).values

    def pool(self, values: Mapping[str, Tensor], counts: Mapping[str, int], of: int) -> Reduced:
        """The same where a rank took its step in `of` micro-batches.

        `counts` says how many of them had a value, where not all: each value is the mean over
        those, and the mean over the ranks is one over the micro-batches of all that had it.
        """
        if self._ranks.size == 1:
            return Reduced(dict(values), {name: counts.get(name, of) / of for name in values})
        unknown = set(values) - set(self._names)
        if unknown:
            raise KeyError(f"metrics that no rank expects: {', '.join(sorted(unknown))}")
        zero = torch.zeros((), device=self._ranks.device)
        own = torch.zeros((2, self._ranks.size), device=self._ranks.device)
        if self._of_each in values:
            own[0, self._ranks.rank] = values[self._of_each].detach()
            own[1, self._ranks.rank] = 1.0
        number = [counts.get(name, of) if name in values else 0 for name in self._names]
        has = torch.tensor(number, dtype=torch.float32, device=own.device)
        means = torch.stack([values.get(name, zero).detach().float() for name in self._names])
        packed = torch.cat((means * has, has, own.flatten()))
        dist.all_reduce(packed)
        count = len(self._names)
        sums, has, own = packed[:count], packed[count : 2 * count], packed[2 * count :]
        # Which ranks had it is known on the host only after the reduction; on a GPU this is the
        # one place where a step of several ranks waits for the device.
        host, size = torch.cat((has, own)).tolist(), self._ranks.size
        shared = {name: c for name, c in zip(self._names, host, strict=False) if c}
        mean = dict(zip(self._names, sums / has.clamp(min=1), strict=True))
        order = [name for name in values if name in shared]
        reduced = {name: mean[name] for name in [*order, *(n for n in shared if n not in values)]}
        for rank in range(1, size):
            if host[count + size + rank]:
                reduced[f"{self._of_each}_rank{rank}"] = own[rank]
        return Reduced(reduced, {n: c / (of * size) for n, c in shared.items()})

"""Ranks: torchrun, DDP, and metrics that are reduced by their name.

The reference project all-reduces meters in each rank's own order of insertion, so a rank whose
first batch had no action adds its numbers to another metric's. Here every rank lays its values out
over the same sorted names, in one reduction a step.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


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

    def share(self, value: object) -> object:
        """Rank 0's object, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]


def join(device: str = "auto") -> Ranks:
    """Take the place that torchrun gave this process, or be alone."""
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


class Reducer:
    """Means over ranks of the metrics that each has, and every rank's own value of one of them."""

    def __init__(self, ranks: Ranks, names: Sequence[str], of_each: str = "closs") -> None:
        """`names` is every metric that any rank may have; `of_each` also travels unreduced."""
        self._ranks = ranks
        self._names = sorted(names)
        self._of_each = of_each

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values as rank 0 reports them: `closs_rank1` is what rank 1 had."""
        if self._ranks.size == 1:
            return dict(values)
        unknown = set(values) - set(self._names)
        if unknown:
            raise KeyError(f"no rank was told to reduce {', '.join(sorted(unknown))}")
        zero = torch.zeros((), device=self._ranks.device)
        own = torch.zeros(self._ranks.size, device=self._ranks.device)
        if self._of_each in values:
            own[self._ranks.rank] = values[self._of_each].detach()
        sums = torch.stack([values.get(name, zero).detach().float() for name in self._names])
        has = torch.tensor([float(name in values) for name in self._names], device=own.device)
        packed = torch.cat((sums, has, own))
        dist.all_reduce(packed)
        count = len(self._names)
        sums, has, own = packed[:count], packed[count : 2 * count], packed[2 * count :]
        # Which ranks had it is known on the host only after the reduction; on a GPU this is the
        # one place where a step of several ranks waits for the device.
        shared = [name for name, n in zip(self._names, has.tolist(), strict=True) if n]
        mean = dict(zip(self._names, sums / has.clamp(min=1), strict=True))
        order = [name for name in values if name in shared]
        reduced = {name: mean[name] for name in [*order, *(n for n in shared if n not in values)]}
        for rank in range(1, self._ranks.size):
            reduced[f"{self._of_each}_rank{rank}"] = own[rank]
        return reduced

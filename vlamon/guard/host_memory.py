"""Host memory: what snapshots will take, what there is, and what several of them can share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard import collectives
from vlamon.guard.sizes import size_text
from vlamon.guard.state.capture import TrainingState, Tree
from vlamon.guard.state.tree import local, tensors_of

MOST = 0.9
"""Share of the free memory beyond which slots are given up: a job that takes more is killed."""
AUTO = 0.25
"""Share that `slots="auto"` takes."""
AUTO_SLOTS = 8
USUAL_SLOTS = 4
"""Slots that `auto` fills before the near ones get any."""
WORTH_TELLING = 1 << 30
"""Bytes from which on the size of the snapshots is reported."""
WORTH_SHARING = 4096
"""Bytes from which on a frozen tensor is shared: sums over fewer may agree though they differ."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A limit on this process's memory, in the files of one version of cgroups."""

    folder: Path
    limit: str
    used: str
    cache: str
    """Line of `memory.stat` with the bytes of files that were read and are not in use."""

    def free(self) -> int:
        """Bytes below the limit. Raises OSError or ValueError where there is none.

        Cached files count as used and are dropped when memory is needed: a job that has read its
        data set would have none left.
        """
        limit, used = (int((self.folder / name).read_text()) for name in (self.limit, self.used))
        return limit - max(0, used - self._cached())

    def _cached(self) -> int:
        try:
            lines = (self.folder / "memory.stat").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(self.cache)), 0)


CGROUPS = (
    Cgroup(Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file "),
    Cgroup(
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file ",
    ),
)


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What snapshots of a state take."""

    changing: int
    """Bytes of each."""
    frozen: int
    """Bytes that all of them share."""

    def of(self, slots: int) -> int:
        """Bytes of so many snapshots."""
        return self.changing * slots + self.frozen if slots else 0

    def fitting(self, free: float) -> int:
        """How many snapshots fit into so many bytes."""
        return max(0, int((free - self.frozen) // max(1, self.changing)))


@dataclass(frozen=True, slots=True)
class RingPlan:
    """How many snapshots there will be."""

    slots: int
    near: int = 0
    """Those from right before, besides the slots."""
    text: str = ""
    """A sentence for the user; empty where it is not worth one."""
    lowered: bool = False
    """Whether there are fewer than the settings ask for."""


def plan(asked: int | str, near: int, needed: MemoryNeed, free: int) -> RingPlan:
    """Snapshots for this much free memory, no more than were asked for.

    The near ones go first: without them a fault costs more steps, without slots it costs the run.
    Fewer than two slots are none.
    """
    automatic = isinstance(asked, str)
    most = AUTO_SLOTS if isinstance(asked, str) else asked
    fitting = needed.fitting((AUTO if automatic else MOST) * free)
    spared = max(0, min(near, fitting - USUAL_SLOTS)) if automatic else 0
    slots = min(most, fitting - spared)
    slots = slots if slots > 1 else 0
    held = min(near, fitting - slots) if slots else 0
    takes = f"{slots + held} snapshots in memory take {size_text(needed.of(slots + held))}"
    if not automatic and slots + held < most + near:
        text = (
            f"{takes}: {most + near} would take {size_text(needed.of(most + near))} of the "
            f"{size_text(free)} that are free on this host"
        )
        return RingPlan(slots, held, text, lowered=True)
    if automatic or needed.of(slots + held) >= WORTH_TELLING:
        return RingPlan(slots, held, f"{takes} of the {size_text(free)} that are free on this host")
    return RingPlan(slots, held)


def planned(asked: int | str, near: int, state: TrainingState) -> RingPlan:
    """The same on all ranks: the fewest that any of them has memory for."""
    mine = plan(asked, near, needed(state), free_bytes()) if asked else RingPlan(0)
    plans: list[RingPlan] = collectives.everyone(mine)
    return min(plans, key=lambda each: (each.slots, each.near))


def needed(state: TrainingState) -> MemoryNeed:
    """What a snapshot will take once every optimizer has made its moments."""
    tree = state.capture()
    frozen = sum(_bytes(tensor) for tensor in frozen_tensors(tree).values())
    everything = sum(_bytes(tensor) for _, tensor in tensors_of(tree))
    for part in state.parts.values():
        if isinstance(part, Optimizer):
            everything += sum(
                _moments(group) * _bytes(parameter)
                for group in part.param_groups
                for parameter in group["params"]
                if parameter.requires_grad and parameter not in part.state
            )
    return MemoryNeed(everything - frozen, frozen)


def _moments(group: Mapping[str, Any]) -> int:
    if "betas" in group:
        return 3 if group.get("amsgrad") else 2
    return 1 if group.get("momentum") else 0


def free_bytes() -> int:
    """Memory that this rank can take: the host's or the container's, by the ranks of the host."""
    free = _available()
    for group in CGROUPS:
        try:
            free = min(free, group.free())
        except (OSError, ValueError):
            continue  # no such limit
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(0, free) // (int(ranks) if ranks.isdigit() and int(ranks) else 1)


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))
    except (OSError, ValueError, StopIteration):
        return 1 << 62  # not known: nothing is given up for it


def frozen_tensors(tree: Tree) -> dict[tuple[Any, ...], torch.Tensor]:
    """Parameters of modules that no gradient changes, by their place in a captured state."""
    return {
        path: tensor
        for path, tensor in tensors_of(tree)
        if isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    }


@dataclass(slots=True)
class Unchanged:
    """Copies of frozen tensors that all snapshots share, as long as nothing writes to them.

    An EMA is frozen too and changes with every step; what has changed once is copied each time.
    """

    held: dict[tuple[Any, ...], tuple[list[int], torch.Tensor]] = field(default_factory=dict)
    changing: set[tuple[Any, ...]] = field(default_factory=set)

    @torch.no_grad()
    def share(self, tree: Tree) -> dict[tuple[Any, ...], torch.Tensor]:
        """For every frozen tensor that is as it was the copy to share."""
        frozen = {
            path: local(tensor.detach())
            for path, tensor in frozen_tensors(tree).items()
            if path not in self.changing and worth_sharing(tensor)
        }
        if not frozen:
            return {}
        # One wait for the device, however many there are.
        sums = torch.stack([_sums(tensor) for tensor in frozen.values()]).tolist()
        found = {}
        for (path, tensor), fingerprint in zip(frozen.items(), sums, strict=True):
            known = self.held.get(path)
            if known is None:
                known = self.held[path] = fingerprint, tensor.to("cpu", copy=True)
            if known[0] == fingerprint and known[1].shape == tensor.shape:
                found[path] = known[1]
            else:
                self.changing.add(path)
                del self.held[path]
        return found


def worth_sharing(tensor: torch.Tensor) -> bool:
    """Whether snapshots hold a frozen tensor once: it is large, and its bits can be summed."""
    return _bytes(tensor) >= WORTH_SHARING and local(tensor).is_contiguous()


def _sums(tensor: torch.Tensor) -> torch.Tensor:
    """The bits of a tensor in sixteen sums, so that what moves within it shows as well."""
    flat = tensor.reshape(-1).view(torch.uint8)
    word = torch.int32 if flat.numel() % 64 == 0 and flat.data_ptr() % 4 == 0 else torch.uint8
    words = flat.view(word)
    even = words[: words.numel() // 16 * 16].view(16, -1).sum(1, dtype=torch.int64)
    even[0] += words[words.numel() // 16 * 16 :].sum(dtype=torch.int64)
    return even


def _bytes(tensor: torch.Tensor) -> int:
    piece = local(tensor)
    return piece.numel() * piece.element_size()


def total(tensors: Iterable[torch.Tensor]) -> str:
    """The size of some tensors, for people."""
    return size_text(sum(_bytes(tensor) for tensor in tensors))

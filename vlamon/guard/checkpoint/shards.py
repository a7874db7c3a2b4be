"""Which piece of which whole tensor a rank holds, by a name that does not depend on the rank.

A sharded tensor (DTensor, as `fully_shard` makes them) is a box of a whole. Names and boxes of all
ranks together are enough to put a state on another number of ranks. Nothing here talks to other
ranks: a DTensor knows its own place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vlamon.guard.state.tree import tensors_of

Order = Mapping[str, Sequence[str]]
"""Names of an optimizer's parameters in the order in which its state numbers them."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a tensor."""

    offset: tuple[int, ...]
    """Its first element in the whole."""
    sizes: tuple[int, ...]
    """Its shape."""

    @property
    def volume(self) -> int:
        """Elements in it."""
        return math.prod(self.sizes)

    def meets(self, other: Box) -> Box | None:
        """What two boxes of the same whole have in common."""
        low = tuple(map(max, self.offset, other.offset))
        high = [
            min(a + n, b + m)
            for a, n, b, m in zip(self.offset, self.sizes, other.offset, other.sizes, strict=True)
        ]
        sizes = tuple(end - begin for begin, end in zip(low, high, strict=True))
        return Box(low, sizes) if all(size > 0 for size in sizes) else None

    def within(self, outer: Box) -> tuple[slice, ...]:
        """Where it lies in a tensor that holds `outer`."""
        return tuple(
            slice(a - b, a - b + n)
            for a, b, n in zip(self.offset, outer.offset, self.sizes, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """This rank's piece of a tensor that all ranks share."""

    shape: tuple[int, ...]
    """Shape of the whole."""
    box: Box
    """The piece."""
    placements: tuple[int | None, ...] | None
    """For each dimension of the mesh the dimension that is split, None for copies; None as a whole
    where it is no DTensor."""
    like: str
    """Name of the parameter that it belongs to: a moment is split as its parameter is."""
    written: bool
    """Whether this rank writes it; of equal copies only one is written."""


@dataclass(frozen=True, slots=True)
class Named:
    """A tensor of a state."""

    name: str
    """The same on all ranks that share it: `optimizer.0.state.layers.0.weight.exp_avg`."""
    tensor: torch.Tensor
    shard: Shard | None
    """None for what is this rank's own: random streams, buffers, step counters."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a sharded tensor that was read and has no mesh yet."""

    local: torch.Tensor
    shape: tuple[int, ...]
    placements: tuple[int | None, ...]

    def to_local(self) -> torch.Tensor:
        """As DTensor has it."""
        return self.local

    def placed(self, parameter: torch.Tensor) -> torch.Tensor:
        """A DTensor on the mesh of the parameter that it belongs to."""
        from torch.distributed.tensor import DTensor

        assert isinstance(parameter, DTensor)
        placements = placements_for(self.shape, self.placements, parameter)
        return DTensor.from_local(
            self.local.to(parameter.to_local().device),
            parameter.device_mesh,
            placements,
            run_check=False,
            shape=torch.Size(self.shape),
            stride=torch.empty(self.shape, device="meta").stride(),
        )


def sharded(tensor: Any) -> bool:
    """Whether it is a DTensor."""
    return isinstance(tensor, torch.Tensor) and hasattr(tensor, "__create_chunk_list__")


def named(state: Any, order: Order, rank: int) -> Iterator[Named]:
    """Every tensor of a captured state, in the order in which `tree.split` lists them."""
    for path, tensor in tensors_of(state):
        name, like = _name(path, order)
        if sharded(tensor):
            yield Named(name, tensor, _of_dtensor(tensor, like))
        elif path[:2] == ("parts", "model") and isinstance(tensor, nn.Parameter):
            shape = tuple(tensor.shape)
            whole = Box((0,) * len(shape), shape)
            yield Named(name, tensor, Shard(shape, whole, None, like, written=rank == 0))
        else:
            yield Named(name, tensor, None)


def _name(path: Sequence[Any], order: Order) -> tuple[str, str]:
    steps = [str(step) for step in path]
    if steps[0] == "parts":
        steps = steps[1:]
        names = order.get(steps[0])
        if names and len(path) == 5 and path[2] == "state" and isinstance(path[3], int):
            steps[2] = names[path[3]]
            return ".".join(steps), f"model.{steps[2]}"
    return ".".join(steps), ".".join(steps)


def _of_dtensor(tensor: Any, like: str) -> Shard:
    box = box_of(tensor)
    place = tensor.device_mesh.get_coordinate()
    copies = [i for i, each in enumerate(tensor.placements) if not each.is_shard()]
    first = place is not None and all(place[i] == 0 for i in copies)
    placements = tuple(getattr(each, "dim", None) for each in tensor.placements)
    return Shard(tuple(tensor.shape), box, placements, like, written=first)


def box_of(tensor: Any) -> Box:
    """The piece of a DTensor that this rank holds."""
    (chunk,) = tensor.__create_chunk_list__()
    return Box(tuple(chunk.offsets), tuple(chunk.sizes))


def piece_of(saved: Any, live: Any) -> Any:
    """What is saved, or, where that is a whole tensor and the live one is sharded, its piece."""
    if isinstance(saved, Piece) or not sharded(live) or saved.shape != live.shape:
        return saved
    whole = Box((0,) * saved.dim(), tuple(saved.shape))
    return saved[box_of(live).within(whole)]


def box_for(
    name: str, shard: Shard, live: Mapping[str, torch.Tensor]
) -> tuple[Box, tuple[int | None, ...] | None]:
    """Which piece of a saved tensor is wanted here, and how it is split over the mesh."""
    whole = Box((0,) * len(shard.shape), shard.shape)
    tensor: Any = live.get(name, live.get(shard.like))
    if not sharded(tensor):
        return whole, None
    if tuple(tensor.shape) == shard.shape:
        return box_of(tensor), tuple(getattr(each, "dim", None) for each in tensor.placements)
    if name in live:
        return whole, None  # of another size: whoever restores it says so
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    placements = placements_for(shard.shape, shard.placements or (), tensor)
    sizes, offset = compute_local_shape_and_global_offset(
        shard.shape, tensor.device_mesh, placements
    )
    dims = tuple(getattr(each, "dim", None) for each in placements)
    return Box(tuple(offset), tuple(sizes)), dims


def placements_for(
    shape: Sequence[int], saved: Sequence[int | None], parameter: Any
) -> tuple[Any, ...]:
    """How a moment is split: as its parameter where it has its shape, else as it was saved."""
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor import Shard as Split

    if tuple(shape) == tuple(parameter.shape):
        return tuple(parameter.placements)
    if len(saved) != parameter.device_mesh.ndim:
        return tuple(Replicate() for _ in range(parameter.device_mesh.ndim))
    return tuple(Replicate() if dim is None else Split(dim) for dim in saved)

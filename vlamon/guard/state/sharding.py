"""Names the piece of a whole tensor that a rank holds, independently of the rank.

A sharded tensor (DTensor, as `fully_shard` makes them) is a box of a whole. Names and boxes are
what torch.distributed.checkpoint plans with. Nothing here talks to other ranks: a DTensor knows its
own box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vlamon.guard.state.tree import local, tensors_of

Order = Mapping[str, Sequence[str]]
"""Names of an optimizer's parameters in the order in which its state numbers them."""
Key = tuple[str | int, ...]
"""The place of a tensor in a nested state dict."""


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

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where it lies in the whole."""
        return tuple(slice(a, a + n) for a, n in zip(self.offset, self.sizes, strict=True))

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """All of a tensor."""
        return cls((0,) * len(shape), tuple(shape))


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """A tensor of a state, and which piece of it this rank holds."""

    key: Key
    """The same on all ranks that share it: `("optimizer.0", "state", "0.weight", "exp_avg")`."""
    shape: tuple[int, ...]
    """Shape of the whole."""
    box: Box
    """The piece."""
    placements: tuple[int | None, ...] | None = None
    """For each dimension of the mesh the dimension that is split, None for copies; None as a whole
    where it is no DTensor."""
    like: str = ""
    """Name of the parameter that it belongs to: a moment is split as its parameter is."""

    @property
    def name(self) -> str:
        """The key in one string, as torch.distributed.checkpoint flattens it."""
        return ".".join(map(str, self.key))


@dataclass(frozen=True, slots=True)
class UnplacedShard:
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


def named(state: Any, order: Order, rank: int) -> Iterator[NamedTensor]:
    """Every tensor of a captured state, in the order in which `tree.split` lists them.

    Parameters and the optimizer's state of them are shared by the ranks: in pieces, or as replicas.
    Everything else (random streams, buffers) is a rank's own.
    """
    parameters = state.get("parts", {}).get("model", {})
    for path, tensor in tensors_of(state):
        key, like = _key(path, order)
        if sharded(tensor):
            yield NamedTensor(key, tuple(tensor.shape), box_of(tensor), splits_of(tensor), like)
            continue
        shape = tuple(local(tensor).shape)
        if like:  # a moment: one without a mesh of a parameter that is sharded is a rank's own
            parameter = parameters.get(like.removeprefix("model."))
            shared = parameter is not None and (key[-1] == "step" or not sharded(parameter))
        else:
            shared = path[:2] == ("parts", "model") and isinstance(tensor, nn.Parameter)
        place = key if shared else ("ranks", str(rank), *key)
        yield NamedTensor(place, shape, Box.whole(shape), like=like)


def live_tensors(state: Any, order: Order, rank: int) -> dict[str, torch.Tensor]:
    """The live tensors of a captured state by name: what a checkpoint is cut for."""
    tensors = (tensor for _, tensor in tensors_of(state))
    return {
        each.name: tensor for each, tensor in zip(named(state, order, rank), tensors, strict=True)
    }


def _key(path: Key, order: Order) -> tuple[Key, str]:
    """The place of a tensor, an optimizer's numbers as names, and the name of its parameter."""
    if path[0] != "parts":
        return path, ""
    names = order.get(str(path[1]))
    if names and len(path) == 5 and path[2] == "state" and isinstance(path[3], int):
        name = names[path[3]]
        return (path[1], "state", name, *path[4:]), f"model.{name}"
    return path[1:], ""


def box_of(tensor: Any) -> Box:
    """The piece of a DTensor that this rank holds."""
    (chunk,) = tensor.__create_chunk_list__()
    return Box(tuple(chunk.offsets), tuple(chunk.sizes))


def splits_of(tensor: Any) -> tuple[int | None, ...]:
    """For each dimension of a DTensor's mesh the dimension that is split, None for copies."""
    return tuple(getattr(each, "dim", None) for each in tensor.placements)


def piece_of(saved: Any, live: Any) -> Any:
    """What is saved, or, where that is a whole tensor and the live one is sharded, its piece."""
    if isinstance(saved, UnplacedShard) or not sharded(live) or saved.shape != live.shape:
        return saved
    return saved[box_of(live).slices]


def box_for(
    saved: NamedTensor, live: Mapping[str, torch.Tensor | NamedTensor]
) -> tuple[Box, tuple[int | None, ...] | None]:
    """Which piece of a saved tensor this rank needs, and how it is split over the mesh."""
    whole = Box.whole(saved.shape)
    tensor: Any = live.get(saved.name, live.get(saved.like))
    if isinstance(tensor, NamedTensor):  # of FSDP1, which places the piece itself
        cut = tensor.shape == saved.shape and tensor.box != whole
        return (tensor.box, ()) if cut else (whole, None)
    if not sharded(tensor):
        return whole, None
    if tuple(tensor.shape) == saved.shape:
        return box_of(tensor), splits_of(tensor)
    if saved.name in live:
        return whole, None  # of another size: the restore says so
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    placements = placements_for(saved.shape, saved.placements or (), tensor)
    sizes, offset = compute_local_shape_and_global_offset(
        saved.shape, tensor.device_mesh, placements
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

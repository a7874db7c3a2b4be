"""A checkpoint that every rank wrote its own part of, read by any number of ranks.

    rank-00000.bin    the bytes of every tensor that rank 0 wrote, one after the other
    rank-00000.json   its state without the tensors; of each tensor name, type, shape, first byte,
                      and for a piece of a sharded one which box of the whole it is
    manifest.json     number of ranks, size and sha256 of every file

A rank reads the files that hold what it wants, whole, so that every byte of them is checked. On as
many ranks as wrote it that is its own file; on others those whose boxes meet its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vlamon.guard.checkpoint.disk import DurableError, Expected, Want, read_checked, take
from vlamon.guard.checkpoint.shards import Box, Named, Piece, Shard, box_for
from vlamon.guard.state.tree import from_json, join, local

FORMAT = 2


def part_name(rank: int) -> str:
    """The name of a rank's two files, without the ending."""
    return f"rank-{rank:05d}"


@dataclass(frozen=True, slots=True)
class Row:
    """A tensor as a rank's part describes it."""

    name: str
    dtype: torch.dtype
    sizes: tuple[int, ...]
    """Shape of the rank's piece."""
    at: int | None
    """First byte in the rank's file; None where another rank wrote the same."""
    shard: Shard | None
    """None for what is the rank's own."""

    def told(self) -> list[Any]:
        """As it stands in the part's file."""
        shard, dtype = self.shard, str(self.dtype).removeprefix("torch.")
        rest = None
        if shard is not None:
            rest = [shard.shape, shard.box.offset, shard.placements, shard.like]
        return [self.name, dtype, self.sizes, self.at, rest]

    @classmethod
    def read(cls, told: Sequence[Any]) -> Row:
        """The inverse of `told`."""
        name, dtype, sizes, at, rest = told
        shard = None
        if rest is not None:
            shape, offset, placements, like = rest
            split = None if placements is None else tuple(placements)
            box = Box(tuple(offset), tuple(sizes))
            shard = Shard(tuple(shape), box, split, like, at is not None)
        return cls(name, getattr(torch, dtype), tuple(sizes), at, shard)


def describe(tensors: Iterable[Named]) -> list[Row]:
    """What a rank's part will say about its tensors, written one after the other."""
    rows, at = [], 0
    for each in tensors:
        shard, piece = each.shard, local(each.tensor)
        written = shard is None or shard.written
        place = at if written else None
        rows.append(Row(each.name, piece.dtype, tuple(piece.shape), place, shard))
        at += piece.nbytes if written else 0
    return rows


class Parts:
    """The parts of one checkpoint."""

    def __init__(self, path: Path, ranks: int, files: Mapping[str, Expected]) -> None:
        """Reads what the parts say of themselves; the tensors are left where they are."""
        self.path = path
        self.ranks = ranks
        self._files = files
        heads = []
        for rank in range(ranks):
            name = f"{part_name(rank)}.json"
            heads.append(json.loads(read_checked(path / name, files[name])))
        self._heads = heads
        self.step = int(heads[0]["step"])
        self.tensors = [[Row.read(row) for row in head["tensors"]] for head in heads]
        """For every rank what it has."""
        self._chunks: dict[str, list[tuple[int, Row]]] = {}
        for rank, stored in enumerate(self.tensors):
            for each in stored:
                if each.shard is not None and each.at is not None:
                    self._chunks.setdefault(each.name, []).append((rank, each))

    def alike(self, part: str) -> bool:
        """Whether a part without tensors is the same on all ranks."""
        said = {json.dumps(head["state"].get("parts", {}).get(part)) for head in self._heads}
        return len(said) == 1 and '"$tensor"' not in said.pop()

    def chunks(self) -> Iterator[tuple[str, list[tuple[int, Row]]]]:
        """Every tensor that the ranks share, with its pieces and who wrote them."""
        yield from self._chunks.items()

    def read(self, rank: int, live: Mapping[str, torch.Tensor]) -> tuple[Any, Mapping[str, Any]]:
        """State and meta of a rank (of rank 0 where there was none of that number), with those
        pieces of the shared tensors that `live` has."""
        source = rank if rank < self.ranks else 0
        head, stored = self._heads[source], self.tensors[source]
        found: dict[int, Any] = {}
        wants: dict[int, list[Want]] = {}
        for index, each in enumerate(stored):
            if each.shard is None:
                give = partial(found.__setitem__, index)
                wants.setdefault(source, []).append(_want(each, give))
            else:
                box, split = box_for(each.name, each.shard, live)
                piece = torch.empty(box.sizes, dtype=each.dtype)
                found[index] = piece if split is None else Piece(piece, each.shard.shape, split)
                self._gather(each, box, piece, wants)
        self.take(wants)
        state = join(from_json(head["state"]), [found[index] for index in range(len(stored))])
        return state, from_json(head["meta"])

    def _gather(
        self, wanted: Row, box: Box, piece: torch.Tensor, wants: dict[int, list[Want]]
    ) -> None:
        lacking = box.volume
        for rank, each in self._chunks.get(wanted.name, ()):
            assert each.shard is not None
            common = each.shard.box.meets(box)
            if common is None:
                continue
            give = partial(_copy, piece, common.within(box), common.within(each.shard.box))
            wants.setdefault(rank, []).append(_want(each, give))
            lacking -= common.volume
        if lacking:
            raise DurableError(f"{self.path}: no part holds all of {wanted.name}")

    def take(self, wants: Mapping[int, Sequence[Want]]) -> None:
        """Read these tensors of these ranks' files; every byte of the files is checked."""
        for rank, of_rank in wants.items():
            name = f"{part_name(rank)}.bin"
            take(self.path / name, self._files[name], of_rank)


def _want(stored: Row, give: Any) -> Want:
    assert stored.at is not None
    return Want(stored.at, stored.dtype, stored.sizes, give)


def _copy(
    target: torch.Tensor,
    there: tuple[slice, ...],
    here: tuple[slice, ...],
    chunk: torch.Tensor,
) -> None:
    target[there].copy_(chunk[here])

"""A guard's checkpoint of shards, read through torch.distributed.checkpoint.

    from torch.distributed import checkpoint as dcp
    from vlamon.guard.checkpoint.dcp import CheckpointReader

    state = {"model": model.state_dict()}          # on any mesh, or on none
    dcp.load(state, storage_reader=CheckpointReader("runs/a/checkpoints/step-000000300"))

Names are those of the state that the guard keeps: `model.<parameter>`,
`optimizer.0.state.<parameter>.exp_avg`. Digests are checked; nothing is unpickled.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from vlamon.guard.checkpoint.disk import DurableError, Want
from vlamon.guard.checkpoint.parts import Parts, Row
from vlamon.guard.checkpoint.writer import open_parts


class CheckpointReader(StorageReader):
    """What `dcp.load` reads a checkpoint of shards with."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """`path` is one checkpoint: a directory `step-…`."""
        self.path = Path(path)
        self._parts: Parts | None = None
        self._places: dict[MetadataIndex, tuple[int, Row]] = {}

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Another checkpoint, or the same from its beginning."""
        if checkpoint_id:
            self.path = Path(checkpoint_id)
        self._parts, self._places = None, {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Names, shapes and pieces of all tensors that the ranks share, and of rank 0's own."""
        self._parts = open_parts(self.path)
        described: dict[str, Any] = {}
        for name, chunks in self._parts.chunks():
            first = chunks[0][1]
            assert first.shard is not None
            boxes = []
            for rank, row in chunks:
                assert row.shard is not None
                box = row.shard.box
                boxes.append(ChunkStorageMetadata(torch.Size(box.offset), torch.Size(box.sizes)))
                self._places[MetadataIndex(name, box.offset)] = (rank, row)
            described[name] = _described(first.dtype, first.shard.shape, boxes)
        for row in self._parts.tensors[0]:
            if row.shard is None:
                whole = torch.Size((0,) * len(row.sizes))
                own = ChunkStorageMetadata(whole, torch.Size(row.sizes))
                described[row.name] = _described(row.dtype, row.sizes, [own])
                self._places[MetadataIndex(row.name, whole)] = (0, row)
        return Metadata(described, storage_meta=StorageMeta(self.path))

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: `read_metadata` runs on every rank that reads."""
        if self._parts is None:
            self.read_metadata()

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy what the plan asks for into the planner's tensors."""
        if self._parts is None:
            raise DurableError(f"{self.path} was not opened: call dcp.load, which does it")
        wants: dict[int, list[Want]] = {}
        for item in plan.items:
            if item.type == LoadItemType.BYTE_IO:
                raise DurableError(f"{self.path}: {item.storage_index.fqn} is no tensor in it")
            rank, row = self._places[item.storage_index]
            assert row.at is not None
            give = partial(_hand_over, planner, item)
            wants.setdefault(rank, []).append(Want(row.at, row.dtype, row.sizes, give))
        self._parts.take(wants)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Any directory may be tried."""
        return Path(checkpoint_id).is_dir()


def _described(
    dtype: torch.dtype, shape: tuple[int, ...], boxes: list[ChunkStorageMetadata]
) -> TensorStorageMetadata:
    return TensorStorageMetadata(TensorProperties(dtype=dtype), torch.Size(shape), boxes)


def _hand_over(planner: LoadPlanner, item: ReadItem, chunk: torch.Tensor) -> None:
    for axis, (begin, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
        chunk = chunk.narrow(axis, begin, length)
    target = planner.resolve_tensor(item).detach()
    target.copy_(chunk)
    planner.commit_tensor(item, target)

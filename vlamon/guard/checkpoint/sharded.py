"""A checkpoint that every rank writes its own pieces of, through torch.distributed.checkpoint.

    __0_0.distcp      the pieces that rank 0 writes; a tensor that ranks share is written once
    .metadata         which piece of which tensor is where
    rank-00000.json   rank 0's state without the tensors, and the names of those
    manifest.json     number of ranks, size and sha256 of every file

Planner, files and resharding are PyTorch's, so any tool for its checkpoints reads this one:
`dcp.load`, `dcp_to_torch_save`. Ours are the digests, taken while the bytes go out and checked
before a byte is used, and that nothing is unpickled but `.metadata`, and there only its own types.
"""

from __future__ import annotations

import io
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import (
    FileSystem,
    FileSystemReader,
    FileSystemWriter,
)
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from vlamon.guard.checkpoint.disk import (
    DurableError,
    Expected,
    OutFile,
    check_file,
    hidden_directory,
    make_room,
    read_checked,
    sync_directory,
    write_bytes,
)
from vlamon.guard.checkpoint.metadata import read_metadata
from vlamon.guard.state.sharding import Box, NamedTensor, UnplacedShard, box_for
from vlamon.guard.state.tree import from_json, join, split, to_json

FORMAT = 3
METADATA = ".metadata"


@dataclass(frozen=True, slots=True)
class Shards:
    """What a rank brings to a checkpoint."""

    rank: int
    ranks: int
    named: Sequence[NamedTensor]
    """What the tensors of the state are, in order."""
    group: dist.ProcessGroup | None = None
    """The ranks that write together; a group of its own, since a thread beside the training uses
    it. None where there is one."""


def head_name(rank: int) -> str:
    """The file of a rank's state without its tensors."""
    return f"rank-{rank:05d}.json"


def write(
    folder: Path,
    shards: Shards,
    step: int,
    state: Any,
    meta: Mapping[str, Any],
    prepare: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Write this rank's pieces and, on rank 0, return what the manifest says of all files.

    Returns when all ranks have written; where one of them cannot, or cannot `prepare`, all raise.
    """
    skeleton, tensors = split(state)
    head = {
        "format": FORMAT,
        "step": step,
        "rank": shards.rank,
        "time": time.time(),
        "meta": to_json(dict(meta), "meta"),
        "tensors": [[each.key, each.placements, each.like] for each in shards.named],
        "state": to_json(skeleton),
    }
    files = _Files(folder, head_name(shards.rank), json.dumps(head).encode(), prepare)
    planner = _PiecePlanner(shards.named, tensors)
    with _errors_as_sentences(), _without_solo_warning() if shards.group is None else nullcontext():
        dcp_save({}, storage_writer=files, planner=planner, process_group=shards.group)
    return files.manifest


@contextmanager
def write_first(
    folder: Path, shards: Shards, step: int, state: Any, meta: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The same on rank 0, which makes the folder and removes it again if it is not renamed."""
    with ExitStack() as stack:

        def prepare() -> None:
            stack.enter_context(hidden_directory(folder))
            make_room(folder.parent, _size_of_all(shards, split(state)[1]))

        yield write(folder, shards, step, state, meta, prepare)


def _size_of_all(shards: Shards, tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of all ranks, which hold about as much as this one; what they share counts once."""
    size = 0
    for each, tensor in zip(shards.named, tensors, strict=True):
        own = each.box.sizes != each.shape or each.key[0] == "ranks"
        size += tensor.nbytes * (shards.ranks if own else 1)
    return size


class _PiecePlanner(DefaultSavePlanner):
    """Plans the pieces of this rank; copies of one piece are written by one rank."""

    def __init__(self, named: Sequence[NamedTensor], tensors: Sequence[torch.Tensor]) -> None:
        super().__init__(flatten_state_dict=True, flatten_sharded_tensors=False)
        self._named = list(zip(named, tensors, strict=True))
        self._by_name = {each.name: tensor for each, tensor in self._named}

    def set_up_planner(
        self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False
    ) -> None:
        self.state_dict, self.is_coordinator = {}, is_coordinator
        self.mappings = {each.name: each.key for each, _ in self._named}

    def create_local_plan(self) -> SavePlan:
        items = [
            _write_item(each, tensor)
            for each, tensor in self._named
            if each.box.volume or not Box.whole(each.shape).volume
        ]
        self.plan = SavePlan(items, planner_data=self.mappings)
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> torch.Tensor:
        return self._by_name[index.fqn]


def _write_item(named: NamedTensor, tensor: torch.Tensor) -> WriteItem:
    offset, sizes = torch.Size(named.box.offset), torch.Size(named.box.sizes)
    whole = named.box.sizes == named.shape
    return WriteItem(
        MetadataIndex(named.name, offset),
        WriteItemType.TENSOR if whole else WriteItemType.SHARD,
        tensor_data=TensorWriteData(
            ChunkStorageMetadata(offset, sizes),
            TensorProperties(dtype=tensor.dtype),
            torch.Size(named.shape),
        ),
    )


class _Files(FileSystemWriter):
    """DCP's files, each synced and with its digest, and the rank's head beside them."""

    def __init__(
        self, folder: Path, head: str, text: bytes, prepare: Callable[[], None] | None
    ) -> None:
        super().__init__(folder)
        self._prepare = prepare
        self.fs = self._hashing = _HashingFiles()
        self._folder = folder
        self._head, self._text = head, text
        self.manifest: dict[str, Any] = {}
        """Filled on rank 0."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        if self._prepare is not None:  # here, where a failure is told to all ranks
            self._prepare()
        return super().prepare_local_plan(plan)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results = super().write_data(plan, planner).wait()
        head = write_bytes(self._folder / self._head, self._text)
        written = {**self._hashing.written, self._head: head}
        sync_directory(self._folder)
        # The digests travel with the results that DCP gathers on rank 0 anyway.
        results += [
            WriteResult(MetadataIndex(name), entry["bytes"], entry)
            for name, entry in written.items()
        ]
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        pieces = []
        for of_rank in results:
            pieces.append([each for each in of_rank if not isinstance(each.storage_data, dict)])
            self.manifest |= {
                each.index.fqn: each.storage_data
                for each in of_rank
                if isinstance(each.storage_data, dict)
            }
        super().finish(metadata, pieces)
        self.manifest[METADATA] = self._hashing.written[f"{METADATA}.tmp"]


class _HashingFiles(FileSystem):
    """A digest of every file that is written."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[io.IOBase]:
        if mode != "wb":
            with super().create_stream(path, mode) as stream:
                yield stream
            return
        with ThreadPoolExecutor(1, "vlamon-digest") as digest, OutFile(Path(path), digest) as file:
            try:
                yield file
            except Exception as error:
                raise file.failure or error from None
            self.written[Path(path).name] = file.entry()


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """What any rank says of its disk, instead of a traceback of every rank."""
    try:
        yield
    except CheckpointException as error:
        failures = {rank: failure for rank, (failure, _) in error.failures.items()}
        alone = set(failures) == {0}
        why = "; ".join(
            _sentence(failure) if alone else f"rank {rank}: {_sentence(failure)}"
            for rank, failure in sorted(failures.items())
        )
        raise DurableError(why) from error
    except RuntimeError as error:  # of the process group
        raise DurableError(f"a rank is gone, or did not answer in time ({_line(error)})") from error


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return _line(error)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def _without_solo_warning() -> Iterator[None]:
    """DCP warns of a process that reads or writes by itself, which is what is meant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


class Sharded:
    """A sealed checkpoint of shards."""

    def __init__(self, path: Path, ranks: int, files: Mapping[str, Expected]) -> None:
        """Reads what the ranks say of their states; the tensors are left where they are."""
        self.path = path
        self.ranks = ranks
        self._files = files
        self._heads = [
            json.loads(read_checked(path / head_name(rank), files[head_name(rank)]))
            for rank in range(ranks)
        ]
        self._metadata = read_metadata(
            read_checked(path / METADATA, files[METADATA]), path / METADATA
        )
        self.step = int(self._heads[0]["step"])

    def alike(self, part: str) -> bool:
        """Whether a part without tensors is the same on all ranks."""
        said = {json.dumps(head["state"].get("parts", {}).get(part)) for head in self._heads}
        return len(said) == 1 and '"$tensor"' not in said.pop()

    def read(
        self, rank: int, live: Mapping[str, torch.Tensor | NamedTensor]
    ) -> tuple[Any, Mapping[str, Any]]:
        """State and meta of a rank (of rank 0 where there was none of that number), with those
        pieces of the shared tensors that `live` has."""
        head = self._heads[rank if rank < self.ranks else 0]
        found: list[torch.Tensor | UnplacedShard] = []
        boxes: dict[str, tuple[Box, torch.Tensor]] = {}
        for key, placements, like in head["tensors"]:
            described = self._described(".".join(map(str, key)))
            shape = tuple(described.size)
            splits = None if placements is None else tuple(placements)
            named = NamedTensor(tuple(key), shape, Box.whole(shape), splits, like)
            box, cut = box_for(named, live)
            piece = torch.empty(box.sizes, dtype=described.properties.dtype)
            boxes[named.name] = box, piece
            found.append(piece if cut is None else UnplacedShard(piece, shape, cut))
        reader = _Reader(self.path, self._metadata, self._files)
        with _errors_as_sentences(), _without_solo_warning():
            dcp_load({}, storage_reader=reader, planner=_BoxPlanner(boxes), no_dist=True)
        return join(from_json(head["state"]), found), from_json(head["meta"])  # type: ignore[arg-type]

    def _described(self, name: str) -> TensorStorageMetadata:
        described = self._metadata.state_dict_metadata.get(name)
        if not isinstance(described, TensorStorageMetadata):
            raise DurableError(f"{self.path}: {METADATA} does not know {name}")
        return described


class _BoxPlanner(DefaultLoadPlanner):
    """Reads these boxes of these tensors."""

    def __init__(self, boxes: Mapping[str, tuple[Box, torch.Tensor]]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._boxes = boxes

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        items = []
        for name, (box, _) in self._boxes.items():
            described: Any = self.metadata.state_dict_metadata[name]
            chunk = ChunkStorageMetadata(torch.Size(box.offset), torch.Size(box.sizes))
            reads = create_read_items_for_chunk_list(name, described, [chunk])
            if sum(Box.whole(read.lengths).volume for read in reads) != box.volume:
                raise DurableError(f"no file holds all of {name}")
            items += [read for read in reads if box.volume]
        return LoadPlan(items)

    def lookup_tensor(self, index: MetadataIndex) -> torch.Tensor:
        return self._boxes[index.fqn][1]


class _Reader(FileSystemReader):
    """Reads of the files whose digests are right, and unpickles nothing that names code."""

    def __init__(self, path: Path, metadata: Metadata, files: Mapping[str, Expected]) -> None:
        super().__init__(path)
        self._path, self._metadata, self._files = path, metadata, files

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return self._metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        names = {self.storage_data[item.storage_index].relative_path for item in plan.items}
        for name in sorted(names):
            if name not in self._files:
                raise DurableError(f"{self._path}: the manifest does not know {name}")
            check_file(self._path / name, self._files[name])
        return super().read_data(plan, planner)

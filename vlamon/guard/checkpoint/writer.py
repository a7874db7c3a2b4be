"""Checkpoints on disk that survive being killed at any moment, and say so when they did not.

A checkpoint is a directory `step-000000300`:

    tensors.bin     the bytes of every tensor, one after the other
    state.json      the skeleton that refers to them, with dtype, shape and offset of each
    manifest.json   size and sha256 of the two, and the number of the checkpoint

or, of a training whose parameters are sharded, what `sharded.py` says.

It is written under a hidden name, every file is synced, then renamed, and only then does the file
`latest` name it: a process killed in between leaves the checkpoint before it in force. The digest
is computed by a second thread while the bytes go out; in series it would cost as much as the write.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vlamon.guard.checkpoint.disk import DurableError as DurableError
from vlamon.guard.checkpoint.disk import (
    Expected,
    TensorRequest,
    clear_left_over,
    hidden_directory,
    make_room,
    read_checked,
    remove,
    sync_directory,
    take,
    write_bytes,
    write_tensors,
)
from vlamon.guard.state.sharding import NamedTensor
from vlamon.guard.state.tree import from_json, join, split, to_json

if TYPE_CHECKING:
    from vlamon.guard.checkpoint.sharded import Shards

FORMAT = 1
SHARDED = 3
"""The format of `sharded.py`, which is imported only where there are shards."""
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that is well-formed and still none of ours."""
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that is on disk."""

    step: int
    """Last finished step that it holds."""
    path: Path
    """Its directory."""
    seconds: float
    """Time from the first byte to `latest`."""
    bytes: int
    """Size of its files."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint read back, every byte of it checked."""

    step: int
    path: Path
    state: Any
    """The tree as it was given to `write`, tensors on the CPU."""
    meta: Mapping[str, Any]
    """What the writer said about it."""
    passed_over: tuple[str, ...] = ()
    """One sentence for every newer checkpoint that was not fit to load."""
    ranks: int = 1
    """Ranks that wrote it, each its own pieces."""
    samplers_alike: bool = True
    """Whether the samplers of all those ranks stood at the same place."""


@dataclass(frozen=True, slots=True)
class Durable:
    """A directory of checkpoints: one training writes, any process may read."""

    root: Path
    """Directory that holds the checkpoints."""
    keep: int = 3
    """Newest checkpoints that retention leaves."""
    spared: set[str] = field(default_factory=set)
    """Names of older ones that it leaves besides; changed only while nothing is being written."""

    def write(self, step: int, state: Any, meta: Mapping[str, Any] | None = None) -> Written:
        """Write one checkpoint. `state` must not change until this returns."""
        begun = time.monotonic()
        skeleton, tensors = split(state)
        name = f".writing-{step:09d}-{os.getpid()}-{threading.get_native_id()}"
        with self._naming_step(step), hidden_directory(self.root / name) as hidden:
            make_room(self.root, sum(tensor.nbytes for tensor in tensors))
            files = {"tensors.bin": write_tensors(hidden / "tensors.bin", tensors)}
            text = json.dumps(
                {
                    "format": FORMAT,
                    "step": step,
                    "time": time.time(),
                    "meta": to_json(dict(meta or {}), "meta"),
                    "tensors": _layout(tensors),
                    "state": to_json(skeleton),
                }
            )
            files["state.json"] = write_bytes(hidden / "state.json", text.encode())
            return self._seal(hidden, step, {"format": FORMAT, "files": files}, begun)

    def write_shards(
        self, step: int, state: Any, shards: Shards, session: str, meta: Mapping[str, Any]
    ) -> Written | None:
        """Write this rank's part of a checkpoint, together with all ranks; rank 0 puts it in force.

        `session` names the writing ranks, and is another one for every checkpoint. `state` must not
        change until this returns; it returns something on rank 0 alone.
        """
        from vlamon.guard.checkpoint import sharded

        begun, path = time.monotonic(), self.root / f".writing-{step:09d}-{session}"
        with self._naming_step(step):
            if shards.rank:
                sharded.write(path, shards, step, state, meta)
                return None
            with sharded.write_first(path, shards, step, state, meta) as files:
                manifest = {"format": sharded.FORMAT, "ranks": shards.ranks, "files": files}
                return self._seal(path, step, manifest, begun)

    @contextmanager
    def _naming_step(self, step: int) -> Iterator[None]:
        """Raise what goes wrong as a DurableError that names the step and what is in force."""
        try:
            yield
        except (OSError, DurableError, MemoryError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise self._failed(step, why or "no memory is left") from error

    def _seal(self, hidden: Path, step: int, manifest: Mapping[str, Any], begun: float) -> Written:
        """The files of a checkpoint are on disk: put it in force, and retire what is too old."""
        found = self.candidates()
        number = 1 + max((_number(path) for path in found), default=0)
        encoded = json.dumps({**manifest, "number": number}, indent=1)
        write_bytes(hidden / "manifest.json", encoded.encode())
        final = self._publish(hidden, step)
        if not found:  # the first: the directories above it may be as new as it is
            sync_directory(self.root.parent)
            sync_directory(self.root.parent.parent)
        self._retire(final)
        size = sum(int(entry["bytes"]) for entry in manifest["files"].values())
        return Written(step, final, time.monotonic() - begun, size)

    def _failed(self, step: int, why: str) -> DurableError:
        """The sentence about a checkpoint that was not written."""
        newest = next(iter(self.candidates()), None)
        rest = f"{newest.name} is still in force" if newest else "there is no earlier one"
        return DurableError(
            f"checkpoint of step {step} was not written to {self.root}: {why}; {rest}"
        )

    def _publish(self, hidden: Path, step: int) -> Path:
        final, again = self.root / f"step-{step:09d}", 0
        while final.exists():  # a step reached once more, after a rollback
            again += 1
            final = self.root / f"step-{step:09d}.{again}"
        # The pointer is moved with the directory, so that a kill leaves no file beside it.
        write_bytes(hidden / LATEST, final.name.encode() + b"\n")
        sync_directory(hidden)
        os.rename(hidden, final)
        sync_directory(self.root)
        os.rename(final / LATEST, self.root / LATEST)
        sync_directory(self.root)
        return final

    def _retire(self, newest: Path) -> None:
        """Delete what retention does not keep."""
        kept = [newest, *(path for path in self.candidates() if path != newest)]
        for path in kept[max(1, self.keep) :]:
            if path.name not in self.spared:
                remove(path)

    def clear(self) -> None:
        """Delete what killed processes left behind, on a disk that may be full of it."""
        clear_left_over(self.root)

    def candidates(self) -> list[Path]:
        """Complete checkpoints, the one to load first at the front.

        In the order in which they were written, which neither their steps (a rollback repeats some)
        nor their times (a clock may be set back) tell.
        """
        try:
            found = [path for path in self.root.iterdir() if path.name.startswith("step-")]
        except OSError:
            return []
        found.sort(key=lambda path: (_number(path), path.name), reverse=True)
        try:
            name = (self.root / LATEST).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return found
        return sorted(found, key=lambda path: path.name != name)

    def load(
        self,
        path: Path | None = None,
        rank: int = 0,
        live: Mapping[str, torch.Tensor | NamedTensor] | None = None,
    ) -> Loaded | None:
        """The newest checkpoint whose every byte is right; None where there is none at all.

        A corrupt one is passed over and named. With `path`, that one or an error. Of a checkpoint
        that several ranks wrote: the state of `rank`, with those pieces of the sharded tensors that
        `live` has by name, and whole ones where it has none.
        """
        passed_over: list[str] = []
        for candidate in [path] if path else self.candidates():
            try:
                loaded = _read(candidate, rank, live or {})
            except DurableError as error:
                if path:
                    raise
                passed_over.append(str(error))
            else:
                return replace(loaded, passed_over=tuple(passed_over))
        if passed_over:
            raise DurableError("no checkpoint can be loaded: " + "; ".join(passed_over))
        return None


class Writer:
    """Writes checkpoints on a low-priority thread of its own, one at a time."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self._thread: threading.Thread | None = None
        self._outcomes: queue.SimpleQueue[tuple[Any, Written | DurableError]] = queue.SimpleQueue()

    @property
    def busy(self) -> bool:
        """Whether a write is under way; what it writes must not change until it is done."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, step: int, state: Any, meta: Mapping[str, Any], token: Any = None) -> None:
        """Begin a write; `token` comes back with its outcome. Waits for the one before."""
        self.begin(step, partial(self.durable.write, step, state, dict(meta)), token)

    def begin(self, step: int, write: Callable[[], Written | None], token: Any = None) -> None:
        """The same for any way to write; one that returns None has no outcome to tell."""
        self.wait()
        thread = threading.Thread(
            target=self._run, args=(step, write, token), name="vlamon-checkpoint"
        )
        try:
            thread.start()
        except RuntimeError as error:  # no memory for another thread, or too many of them
            outcome = DurableError(f"checkpoint of step {step} was not written: {error}")
            self._outcomes.put((token, outcome))
        else:
            self._thread = thread

    def _run(self, step: int, write: Callable[[], Written | None], token: Any) -> None:
        _yield_to_training()
        try:
            outcome: Written | DurableError | None = write()
        except DurableError as error:
            outcome = error
        except Exception as error:  # whatever a user's state holds: the training goes on
            outcome = DurableError(f"checkpoint of step {step} was not written: {error}")
        if outcome is not None:
            self._outcomes.put((token, outcome))

    def outcomes(self) -> Iterator[tuple[Any, Written | DurableError]]:
        """What has ended since the last call."""
        while not self._outcomes.empty():
            yield self._outcomes.get()

    def wait(self, timeout: float | None = None) -> None:
        """Return when no write is under way."""
        if self._thread is not None:
            self._thread.join(timeout)


def _yield_to_training() -> None:
    """Linux: this thread gets the processor when the training leaves it."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    except OSError:
        return


def _layout(tensors: Sequence[torch.Tensor]) -> list[list[Any]]:
    return [[str(t.dtype).removeprefix("torch."), list(t.shape)] for t in tensors]


def _number(path: Path) -> int:
    """Which checkpoint of its directory this was; 0 where the manifest does not say."""
    try:
        return int(json.loads((path / "manifest.json").read_bytes())["number"])
    except (OSError, *MALFORMED):
        return 0


def _manifest(path: Path) -> tuple[Mapping[str, Any], dict[str, Expected]]:
    manifest = json.loads((path / "manifest.json").read_bytes())
    files = {
        name: Expected(int(entry["bytes"]), str(entry["sha256"]))
        for name, entry in manifest["files"].items()
    }
    return manifest, files


def _read(path: Path, rank: int, live: Mapping[str, torch.Tensor | NamedTensor]) -> Loaded:
    try:
        manifest, files = _manifest(path)
        if manifest["format"] == SHARDED:
            from vlamon.guard.checkpoint.sharded import Sharded

            of_ranks = Sharded(path, int(manifest["ranks"]), files)
            state, meta = of_ranks.read(rank, live)
            step, ranks, alike = of_ranks.step, of_ranks.ranks, of_ranks.alike("sampler")
            return Loaded(step, path, state, meta, ranks=ranks, samplers_alike=alike)
        head = json.loads(read_checked(path / "state.json", files["state.json"]))
        if head["format"] != FORMAT:
            raise DurableError(
                f"{path} is a checkpoint of format {head['format']}, this version reads "
                f"{FORMAT} and {SHARDED}"
            )
        tensors = _read_tensors(path / "tensors.bin", head["tensors"], files["tensors.bin"])
        state = join(from_json(head["state"]), tensors)
        return Loaded(int(head["step"]), path, state, from_json(head["meta"]))
    except OSError as error:
        raise DurableError(f"{error.filename or path}: {error.strerror or error}") from error
    except MALFORMED as error:
        raise DurableError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _read_tensors(path: Path, layout: list[list[Any]], expected: Expected) -> list[torch.Tensor]:
    found: dict[int, torch.Tensor] = {}
    wants, at = [], 0
    for index, (name, shape) in enumerate(layout):
        dtype = getattr(torch, name)
        if not isinstance(dtype, torch.dtype) or any(size < 0 for size in shape):
            raise ValueError(f"no tensor is {name} of {shape}")
        wants.append(TensorRequest(at, dtype, tuple(shape), partial(found.__setitem__, index)))
        at += math.prod(shape) * dtype.itemsize
    if at != expected.bytes:  # before memory is taken for what cannot be there
        raise ValueError(f"{path.name} holds {expected.bytes} bytes of {at}")
    take(path, expected, wants)
    return [found[index] for index in range(len(layout))]

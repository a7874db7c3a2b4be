"""Checkpoints on disk that survive being killed at any moment, and say so when they did not.

A checkpoint is a directory `step-000000300`:

    tensors.bin     the bytes of every tensor, one after the other
    state.json      the skeleton that refers to them, with dtype, shape and offset of each
    manifest.json   size and sha256 of the two

It is written under a hidden name, every file is synced, then renamed, and only then does the file
`latest` name it: whoever is killed in between leaves the checkpoint before it in force. The digest
is computed by a second thread while the bytes go out; in series it would cost as much as the write.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vlamon.guard.tree import from_json, join, split, to_json

FORMAT = 1
CHUNK = 8 << 20
"""Bytes written and hashed at a time."""
LATEST = "latest"


class DurableError(Exception):
    """A checkpoint could not be written or read; the message is the sentence for the user."""


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


@dataclass(frozen=True, slots=True)
class Durable:
    """A directory of checkpoints. One process writes; anyone may read."""

    root: Path
    """Directory that holds the checkpoints."""
    keep: int = 3
    """Newest checkpoints that retention leaves."""
    owned: set[str] = field(default_factory=set)
    """Half-written directories of this process, so that a cleanup spares them."""

    def write(self, step: int, state: Any, meta: Mapping[str, Any] | None = None) -> Written:
        """Write one checkpoint. `state` must not change until this returns."""
        begun = time.monotonic()
        skeleton, tensors = split(state)
        partial = self.root / f".writing-{step:09d}-{os.getpid()}-{threading.get_native_id()}"
        self.owned.add(partial.name)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            os.mkdir(partial)
            files = {"tensors.bin": _write_tensors(partial / "tensors.bin", tensors)}
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
            files["state.json"] = _write_bytes(partial / "state.json", text.encode())
            manifest = {"format": FORMAT, "files": files}
            _write_bytes(partial / "manifest.json", json.dumps(manifest, indent=1).encode())
            _sync_directory(partial)
            final = self._publish(partial, step)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise DurableError(
                f"checkpoint of step {step} was not written to {self.root}: "
                f"{error.strerror or error}; {self._still_in_force()}"
            ) from error
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            self.owned.discard(partial.name)
        self._retire(final)
        size = sum(int(entry["bytes"]) for entry in files.values())
        return Written(step, final, time.monotonic() - begun, size)

    def _publish(self, partial: Path, step: int) -> Path:
        final, again = self.root / f"step-{step:09d}", 0
        while final.exists():  # a step reached once more, after a rollback
            again += 1
            final = self.root / f"step-{step:09d}.{again}"
        os.rename(partial, final)
        _sync_directory(self.root)
        pointer = self.root / f".latest-{os.getpid()}"
        _write_bytes(pointer, final.name.encode() + b"\n")
        os.rename(pointer, self.root / LATEST)
        _sync_directory(self.root)
        return final

    def _still_in_force(self) -> str:
        newest = next(iter(self.candidates()), None)
        return f"{newest.name} is still in force" if newest else "there is no earlier one"

    def _retire(self, newest: Path) -> None:
        """Delete what retention no longer wants, and what killed writers left behind."""
        kept = [newest, *(path for path in self.candidates() if path != newest)]
        for path in kept[max(1, self.keep) :]:
            doomed = path.with_name(f".writing-retired-{path.name}")
            try:
                os.rename(path, doomed)  # so that nobody finds it half deleted
            except OSError:
                doomed = path
            shutil.rmtree(doomed, ignore_errors=True)
        for path in self.root.glob(".writing-*"):
            if path.name not in self.owned and not _owner_lives(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def candidates(self) -> list[Path]:
        """Complete checkpoints, the one to load first at the front."""
        try:
            found = [path for path in self.root.iterdir() if path.name.startswith("step-")]
        except OSError:
            return []
        found.sort(key=_age, reverse=True)
        try:
            name = (self.root / LATEST).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return found
        return sorted(found, key=lambda path: path.name != name)

    def load(self, path: Path | None = None) -> Loaded | None:
        """The newest checkpoint whose every byte is right; None where there is none at all.

        A corrupt one is passed over and named. With `path`, that one or an error.
        """
        passed_over: list[str] = []
        for candidate in [path] if path else self.candidates():
            try:
                step, state, meta = _read(candidate)
            except DurableError as error:
                if path:
                    raise
                passed_over.append(str(error))
            else:
                return Loaded(step, candidate, state, meta, tuple(passed_over))
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
        self.wait()
        self._thread = threading.Thread(
            target=self._run, args=(step, state, dict(meta), token), name="vlamon-checkpoint"
        )
        self._thread.start()

    def _run(self, step: int, state: Any, meta: Mapping[str, Any], token: Any) -> None:
        _yield_to_training()
        try:
            outcome: Written | DurableError = self.durable.write(step, state, meta)
        except DurableError as error:
            outcome = error
        except Exception as error:  # whatever a user's state holds: the training goes on
            outcome = DurableError(f"checkpoint of step {step} was not written: {error}")
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


def _raw(tensor: torch.Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())  # type: ignore[arg-type]  # NumPy's stubs before 3.12 hide the buffer


def _pieces(tensors: Sequence[torch.Tensor]) -> Iterator[memoryview]:
    """The bytes of all tensors in pieces of about CHUNK; small tensors share one."""
    gathered = bytearray()
    for tensor in tensors:
        if tensor.numel() == 0:
            continue
        raw = _raw(tensor)
        if len(raw) < CHUNK // 8:
            gathered += raw
            if len(gathered) < CHUNK:
                continue
            raw = memoryview(b"")
        if gathered:
            yield memoryview(gathered)
            gathered = bytearray()
        for start in range(0, len(raw), CHUNK):
            yield raw[start : start + CHUNK]
    if gathered:
        yield memoryview(gathered)


class _Digest:
    """sha256 on a thread of its own; hashing lets go of the GIL."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        # Views of memory that stands still: a long queue costs nothing, and the writer never waits.
        self._queue: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vlamon-digest", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._sha.update(piece)

    def update(self, piece: memoryview) -> None:
        self._queue.put(piece)

    def hexdigest(self) -> str:
        self._queue.put(None)
        self._thread.join()
        return self._sha.hexdigest()


def _write_tensors(path: Path, tensors: Sequence[torch.Tensor]) -> dict[str, Any]:
    digest, size = _Digest(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for piece in _pieces(tensors):
            digest.update(piece)
            _write_all(handle, piece)
            size += len(piece)
        os.fsync(handle)
    finally:
        checked = digest.hexdigest()
        os.close(handle)
    return {"bytes": size, "sha256": checked}


def _write_bytes(path: Path, data: bytes) -> dict[str, Any]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write_all(handle, memoryview(data))
        os.fsync(handle)
    finally:
        os.close(handle)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write_all(handle: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(handle, piece) :]


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _owner_lives(name: str) -> bool:
    parts = name.split("-")
    if len(parts) < 3 or not parts[2].isdigit():
        return False
    return Path(f"/proc/{parts[2]}").exists() and int(parts[2]) != os.getpid()


def _age(path: Path) -> tuple[float, str]:
    try:
        return (path / "manifest.json").stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _read(path: Path) -> tuple[int, Any, Mapping[str, Any]]:
    try:
        files = json.loads((path / "manifest.json").read_bytes())["files"]
        expected = {name: (int(e["bytes"]), str(e["sha256"])) for name, e in files.items()}
        text = (path / "state.json").read_bytes()
        _check(path / "state.json", expected["state.json"], len(text), hashlib.sha256(text))
        head = json.loads(text)
        if head["format"] != FORMAT:
            raise DurableError(
                f"{path} is a checkpoint of format {head['format']}, this version reads {FORMAT}"
            )
        tensors = _read_tensors(path / "tensors.bin", head["tensors"], expected["tensors.bin"])
        return int(head["step"]), join(from_json(head["state"]), tensors), from_json(head["meta"])
    except OSError as error:
        raise DurableError(f"{error.filename or path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DurableError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _check(path: Path, expected: tuple[int, str], size: int, digest: Any) -> None:
    if size != expected[0]:
        raise DurableError(f"{path} has {size} bytes where its manifest says {expected[0]}")
    found = digest.hexdigest()
    if found != expected[1]:
        raise DurableError(
            f"{path} is corrupt: its sha256 is {found[:16]}…, the manifest says {expected[1][:16]}…"
        )


def _read_tensors(
    path: Path, layout: list[list[Any]], expected: tuple[int, str]
) -> list[torch.Tensor]:
    tensors, digest, size = [], hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        for name, shape in layout:
            tensor = torch.empty(shape, dtype=getattr(torch, name))
            tensors.append(tensor)
            if tensor.numel() == 0:
                continue
            target = _raw(tensor)
            while target:
                count = file.readinto(target)
                if not count:
                    _check(path, expected, size, digest)
                    raise DurableError(f"{path} ends before its last tensor")
                digest.update(target[:count])
                target, size = target[count:], size + count
        size += len(file.read())
    _check(path, expected, size, digest)
    return tensors

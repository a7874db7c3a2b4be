"""Bytes to and from disk: synced when written, and with a digest that is checked when read.

The digest is computed by a second thread while the bytes go out; in series it would cost as much as
the write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vlamon.guard.sizes import size_text

CHUNK = 8 << 20
"""Bytes written and hashed at a time."""
RESERVE = 16 << 20
"""Bytes that a checkpoint leaves free."""


class DurableError(Exception):
    """A checkpoint could not be written or read; the message is the sentence for the user."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the manifest says about a file."""

    bytes: int
    """Its size."""
    sha256: str
    """Its digest."""


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


def write_tensors(path: Path, tensors: Sequence[torch.Tensor]) -> dict[str, Any]:
    """A new file of all tensors, one after the other, and its entry for the manifest."""
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


class OutFile(io.RawIOBase):
    """A new file, written in order, whose digest a thread computes while the bytes go out."""

    SMALL = 1 << 20
    """Bytes up to which pieces are gathered: torch.save writes some dozens a tensor."""

    def __init__(self, path: Path, digest: ThreadPoolExecutor) -> None:
        super().__init__()
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._digest = digest
        self._sha = hashlib.sha256()
        self._gathered = bytearray()
        self._size = 0
        self.failure: OSError | None = None
        """What the disk said; torch.save reports its own state instead."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """All of it, or an OSError."""
        piece = memoryview(data).cast("B")
        self._size += len(piece)
        if len(piece) < self.SMALL:
            self._gathered += piece
            if len(self._gathered) < self.SMALL:
                return len(piece)
            self._drain()
        else:
            self._drain()
            self._put(piece)
        return len(piece)

    def _drain(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        if gathered:
            self._put(memoryview(gathered))

    def _put(self, piece: memoryview) -> None:
        hashed = self._digest.submit(self._sha.update, piece)
        try:
            _write_all(self._handle, piece)
        except OSError as error:
            self.failure = error
            raise
        finally:
            hashed.result()  # the caller may reuse its memory as soon as this returns

    def tell(self) -> int:
        return self._size

    def fileno(self) -> int:
        """To sync the file; what was gathered goes out first."""
        self._drain()
        return self._handle

    def close(self) -> None:
        if not self.closed:
            try:
                self._drain()
            finally:
                super().close()
                os.close(self._handle)

    def entry(self) -> dict[str, Any]:
        """For the manifest."""
        return {"bytes": self._size, "sha256": self._sha.hexdigest()}


def write_bytes(path: Path, data: bytes) -> dict[str, Any]:
    """A small file, and its entry for the manifest."""
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


def sync_directory(path: Path) -> None:
    """Make sure that the names in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose directories need no sync
            raise
    finally:
        os.close(handle)


@contextmanager
def hidden_directory(path: Path) -> Iterator[Path]:
    """A new directory under a hidden name, for its files to be renamed into force with it.

    It is locked, so that no process takes it for the left-over of a killed one. What is not renamed
    is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_left_over(path.parent, path.name)
    path.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: the name has to do
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        with contextlib.suppress(OSError):  # all that counts is synced: this is only a lock
            os.close(handle)
        _delete(path)


def clear_left_over(root: Path, but: str = "") -> None:
    """Delete what killed processes left in a directory of checkpoints, except for this name."""
    for path in (*root.glob(".writing-*"), *root.glob(".latest-*")):
        if path.name == but or _owner_lives(path):
            continue
        if path.is_dir():
            _delete(path)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def remove(path: Path) -> None:
    """Delete a checkpoint, which no reader finds half deleted."""
    doomed = path.with_name(f".writing-retired-{path.name}")
    try:
        os.rename(path, doomed)
    except OSError:
        doomed = path
    _delete(doomed)


def _delete(path: Path) -> None:
    """As much of a directory as can be deleted; what is left goes before the next write."""
    with contextlib.suppress(OSError):  # `ignore_errors` lets a failing `close` through
        shutil.rmtree(path, ignore_errors=True)


def _owner_lives(path: Path) -> bool:
    """Whether a process writes there; the kernel takes the lock of one that was killed."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system
        number = path.name.split("-")[-2] if path.name.count("-") > 2 else ""
        return number.isdigit() and int(number) != os.getpid() and Path(f"/proc/{number}").exists()
    finally:
        os.close(handle)
    return False


def make_room(root: Path, size: int) -> None:
    """OSError where so many bytes do not fit: a write that fails half-way would leave journal and
    logs on the same disk without space until it is cleared."""
    found = os.statvfs(root)
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and free < size + RESERVE:
        raise OSError(
            errno.ENOSPC,
            f"No space left on device: it takes {size_text(size)}, {size_text(free)} are free, "
            f"and {size_text(RESERVE)} stay free for logs",
        )


@dataclass(frozen=True, slots=True)
class TensorRequest:
    """One tensor of a file that is to be read."""

    at: int
    """Its first byte."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    give: Callable[[torch.Tensor], None]
    """Called with the tensor; what it holds counts only when the whole file was right."""


def take(path: Path, expected: Expected, wants: Iterable[TensorRequest]) -> None:
    """Read these tensors, and check every byte of the file on the way."""
    digest, place = hashlib.sha256(), 0
    before: tuple[int, torch.Tensor] | None = None
    with open(path, "rb", buffering=0) as file:
        for want in sorted(wants, key=lambda want: want.at):
            if before is not None and before[0] == want.at and before[1].shape == want.shape:
                want.give(before[1])
                continue
            place += _pass_over(file, digest, want.at - place)
            tensor = torch.empty(want.shape, dtype=want.dtype)
            read = _fill(file, digest, tensor)
            place += read
            if read < tensor.nbytes:
                check(path, expected, place, digest)
                raise DurableError(f"{path} ends before its last tensor")
            want.give(tensor)
            before = (want.at, tensor)
        place += _pass_over(file, digest, None)
    check(path, expected, place, digest)


def check(path: Path, expected: Expected, size: int, digest: Any) -> None:
    """Whether size and digest are what the manifest says."""
    if size != expected.bytes:
        raise DurableError(f"{path} has {size} bytes where its manifest says {expected.bytes}")
    found = digest.hexdigest()
    if found != expected.sha256:
        raise DurableError(
            f"{path} is corrupt: its sha256 is {found[:16]}…, "
            f"the manifest says {expected.sha256[:16]}…"
        )


def check_file(path: Path, expected: Expected) -> None:
    """Read a file and check every byte of it."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = _pass_over(file, digest, None)
    check(path, expected, size, digest)


def read_checked(path: Path, expected: Expected) -> bytes:
    """A small file."""
    data = path.read_bytes()
    check(path, expected, len(data), hashlib.sha256(data))
    return data


def _fill(file: io.FileIO, digest: Any, tensor: torch.Tensor) -> int:
    if tensor.numel() == 0:
        return 0
    target, read = _raw(tensor), 0
    while target:
        count = file.readinto(target)
        if not count:
            break
        digest.update(target[:count])
        target, read = target[count:], read + count
    return read


def _pass_over(file: io.FileIO, digest: Any, count: int | None) -> int:
    """Hash so many bytes, or all that are left."""
    passed = 0
    while count is None or passed < count:
        piece = file.read(CHUNK if count is None else min(CHUNK, count - passed))
        if not piece:
            break
        digest.update(piece)
        passed += len(piece)
    return passed

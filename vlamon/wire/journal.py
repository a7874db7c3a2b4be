"""`run.vlaj`: the frames of a run on disk, each with a mark to find it by and a crc to trust it by.

A file is `MAGIC`, then records: mark (4 bytes), length (u32), crc32 of the payload (u32), payload.
A torn tail or a flipped bit costs the frames that it touches: the reader looks for the next mark
whose crc holds, and says what it skipped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
import zlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlamon.records import MetricSpec
from vlamon.wire import block as blocks
from vlamon.wire.block import Block
from vlamon.wire.blocklog import Piece
from vlamon.wire.history import Fetch
from vlamon.wire.messages import read_specs
from vlamon.wire.protocol import FROM_TRAINER, HEADER, Message, ProtocolError, pack, unpack

MAGIC = b"VLAJ\x00\x01\r\n"
MARK = b"\xf7vJ\xfe"
NAME = "run.vlaj"
FLUSH = 1.0
"""Seconds between two writes."""
QUEUE = 64 << 20
"""Bytes that may wait for a disk that hangs, before the journal is given up."""
_HEAD = struct.Struct(">4sII")
_CHUNK = 1 << 20
_INDEX_ROWS = 4096
_FETCH_BYTES = 4 << 20
_WASTE = 64
"""Bytes of crc that a byte of file may cost; a file made to be slow is given up, not served."""


class JournalError(Exception):
    """A journal cannot be used; the message says why."""


def seal(frame: bytes) -> bytes:
    """A wire frame as the journal holds it."""
    payload = frame[HEADER.size :]
    return _HEAD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


# ---- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sealed:
    """One good frame."""

    offset: int
    payload: bytes

    @property
    def end(self) -> int:
        """Offset of the byte after it."""
        return self.offset + _HEAD.size + len(self.payload)


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes that are no good frame."""

    offset: int
    bytes: int
    frames: int
    """Damaged frames in there, as far as their marks are left; at least 1."""


class Scanner:
    """Cuts a journal's bytes into frames, however damaged; holds about one frame at most."""

    def __init__(self, offset: int = 0) -> None:
        self._buffer = bytearray()
        self._base = offset
        """File offset of the buffer's first byte."""
        self._torn_from: int | None = None
        self._torn_marks = 0
        self._waste = 0
        self._fed = 0

    @property
    def offset(self) -> int:
        """File offset of the first byte that is neither delivered nor given up."""
        return self._base

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Sealed | Torn]:
        """What is complete with these bytes. Raises JournalError where it is not worth reading."""
        self._buffer += data
        self._fed += len(data)
        yield from self._cut(last=False)

    def finish(self) -> Iterator[Sealed | Torn]:
        """What is left when no more bytes come: nothing, or a torn tail."""
        yield from self._cut(last=True)

    def _cut(self, last: bool) -> Iterator[Sealed | Torn]:
        buffer = self._buffer
        at = 0
        if self._base == 0 and buffer.startswith(MAGIC[: len(buffer)]):
            if len(buffer) < len(MAGIC) and not last:
                return
            at = min(len(MAGIC), len(buffer))
        while True:
            mark = buffer.find(MARK, at)
            if mark < 0:
                # A mark may be cut in two by the end of what was read.
                keep = len(buffer) if last else max(at, len(buffer) - len(MARK) + 1)
                at = self._skip(at, keep)
                break
            at = self._skip(at, mark)
            length = self._length_at(mark)
            if length is None and not last:
                break  # the header has not come whole
            end = mark + _HEAD.size + (length or 0)
            if length is not None and length <= FROM_TRAINER and end > len(buffer) and not last:
                break
            payload = self._good_payload(mark, end, length)
            if payload is None:
                self._torn_marks += 1
                at = self._skip(mark, mark + len(MARK))
                continue
            yield from self._torn_before(mark)
            yield Sealed(self._base + mark, payload)
            at = end
        self._base += at
        del buffer[:at]
        if last:
            yield from self._torn_before(0)

    def _length_at(self, mark: int) -> int | None:
        if len(self._buffer) < mark + _HEAD.size:
            return None
        length: int = _HEAD.unpack_from(self._buffer, mark)[1]
        return length

    def _good_payload(self, mark: int, end: int, length: int | None) -> bytes | None:
        if length is None or length > FROM_TRAINER or end > len(self._buffer):
            return None
        payload = bytes(self._buffer[mark + _HEAD.size : end])
        if zlib.crc32(payload) == _HEAD.unpack_from(self._buffer, mark)[2]:
            return payload
        self._waste += length
        if self._waste > _WASTE * (self._fed + _CHUNK):
            raise JournalError("the file is damaged nearly everywhere; giving up on it")
        return None

    def _skip(self, first: int, end: int) -> int:
        """Count bytes `first` … `end` of the buffer as damaged."""
        if end > first and self._torn_from is None:
            self._torn_from = self._base + first
        return max(first, end)

    def _torn_before(self, at: int) -> Iterator[Torn]:
        if self._torn_from is not None:
            start, self._torn_from = self._torn_from, None
            marks, self._torn_marks = self._torn_marks, 0
            yield Torn(start, self._base + at - start, max(1, marks))


def scan(descriptor: int, offset: int = 0, end: int | None = None) -> Iterator[Sealed | Torn]:
    """Everything in the file from `offset` to `end`, to its last byte."""
    scanner = Scanner(offset)
    while end is None or offset < end:
        size = _CHUNK if end is None else min(_CHUNK, end - offset)
        data = os.pread(descriptor, size, offset)
        if not data:
            break
        offset += len(data)
        yield from scanner.feed(data)
    yield from scanner.finish()


# ---- what a restart finds ----------------------------------------------------------------------


@dataclass(slots=True)
class Past:
    """What earlier boots wrote: where to go on, and what late joiners are still to be told."""

    run_id: str = ""
    next_seq: int = 0
    last_attempt: int = -1
    notes: list[tuple[int, Message]] = field(default_factory=list)
    """Events, epoch rows and announcements with the row at which they happened."""
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    """Every metric announced, by name."""
    good_end: int = 0
    """Offset after the last good frame."""
    torn: list[Torn] = field(default_factory=list)
    index_seq: array[int] = field(default_factory=lambda: array("q"))
    index_offset: array[int] = field(default_factory=lambda: array("q"))

    def take(self, found: Sealed | Torn) -> None:
        """Remember what matters of one frame; a frame that makes no sense is skipped."""
        if isinstance(found, Torn):
            self.torn.append(found)
            return
        self.good_end = found.end
        try:
            message = unpack(found.payload)
            self._remember(message, found.offset)
        except (ProtocolError, TypeError, ValueError, LookupError):
            return  # written by a newer minor version, or by nobody we know

    def _remember(self, message: Message, offset: int) -> None:
        name = message["t"]
        if name == "batch":
            seq, rows, attempt = (int(message[key]) for key in ("seq", "n", "attempt"))
            self.index(seq, offset)
            self.next_seq = max(self.next_seq, seq + rows)
            self.last_attempt = max(self.last_attempt, attempt)
        elif name == "hello":
            self.run_id = self.run_id or str(message.get("run_id", ""))
        elif name in ("event", "epoch"):
            self.last_attempt = max(self.last_attempt, int(message.get("attempt", 0)))
        if name in ("hello", "metrics"):
            self.metrics |= {spec.name: spec for spec in read_specs(message["metrics"])}
        if name in ("event", "epoch", "metrics"):
            self.notes.append((self.next_seq, message))

    def index(self, seq: int, offset: int) -> None:
        """Remember where about every 4096th row begins."""
        if not self.index_seq or seq >= self.index_seq[-1] + _INDEX_ROWS:
            self.index_seq.append(seq)
            self.index_offset.append(offset)

    def offset_of(self, seq: int) -> int:
        """Where to begin to read for row `seq`."""
        place = bisect_right(self.index_seq, seq) - 1
        return self.index_offset[place] if place >= 0 else 0


# ---- writing ----------------------------------------------------------------------------------


class Journal:
    """Appends a run's frames. The sidecar calls in; a thread of its own touches the disk.

    Opening reads the file once, in the constructor, so that attempts and row numbers go on.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create; raises JournalError."""
        self.path = os.fspath(path)
        self.past = Past()
        self.failure = ""
        """Why nothing is written any more; empty while all is well."""
        self.flushed_seq = 0
        """Rows before this one can be read back."""
        self.wake: Callable[[], None] = _nobody
        """Called on the journal's thread when a fetch is done."""
        self._descriptor = self._open()
        try:
            self._read_past()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._size = self.past.good_end
        self.flushed_seq = self.past.next_seq
        self._group: list[Block] = []
        self._group_weights: dict[str, float] = {}
        self._group_size = 0
        self._flush_at = time.monotonic()
        self._queue: deque[tuple[bytes, int, int]] = deque()
        self._queued = 0
        self._fetches: deque[Fetch] = deque()
        self._signal = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="vlamon-journal", daemon=True)
        self._thread.start()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise JournalError(f"cannot write {self.path}: {error.strerror}") from error
        for _ in range(20):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    return descriptor  # a file system without locks
                time.sleep(0.05)  # a reader that asks whether we live holds it for a moment
        os.close(descriptor)
        raise JournalError(f"{self.path} is written by another live training; use another run_dir")

    def _read_past(self) -> None:
        size = os.fstat(self._descriptor).st_size
        for found in scan(self._descriptor):
            self.past.take(found)
        if size and not self.past.good_end:
            whole = os.pread(self._descriptor, len(MAGIC), 0)
            if not MAGIC.startswith(whole[: len(MAGIC)]):
                raise JournalError(f"{self.path} is no vlamon journal; move it out of the way")
        if self.past.good_end < size:
            # What is behind the last good frame can never be read; new frames go in its place,
            # so that no reader waits for a frame that will not be completed.
            os.ftruncate(self._descriptor, self.past.good_end)
        if not self.past.good_end:
            os.pwrite(self._descriptor, MAGIC, 0)
            self.past.good_end = len(MAGIC)

    # ---- called by the sidecar ----

    def add_block(self, block: Block, weights: dict[str, float]) -> None:
        """Take the next rows; they are written within a second, joined to fewer frames."""
        group = self._group
        fits = not group or (
            group[-1].fits_with(block)
            and block.end - group[0].seq <= blocks.ROWS
            and self._group_size + block.size <= blocks.MAX_BYTES
        )
        if not fits:
            self._close_group()
        if not self._group:
            self._group_weights = weights
        self._group.append(block)
        self._group_size += block.size

    def add_frame(self, frame: bytes) -> None:
        """Take any other frame, behind the rows so far."""
        self._close_group()
        self._put(seal(frame), 0, 0)

    @property
    def tick_due(self) -> bool:
        """Whether the next `tick` writes."""
        return time.monotonic() - self._flush_at >= FLUSH

    def tick(self) -> None:
        """Hand over what has come, once a second."""
        if self.tick_due:
            self._flush_at = time.monotonic()
            self._close_group()
            self._signal.set()

    def fetch(self, seq: int) -> Fetch:
        """Ask for rows from `seq` on; the answer comes on the journal's thread."""
        fetch = Fetch(seq)
        if not self._thread.is_alive():
            fetch.done.set()
            return fetch
        self._fetches.append(fetch)
        self._signal.set()
        return fetch

    def close(self, timeout: float) -> None:
        """Write what is left, waiting at most `timeout` seconds for the disk."""
        self._close_group()
        self._stopping = True
        self._signal.set()
        self._thread.join(timeout)

    def abandon(self) -> None:
        """In a forked child: let go of the descriptor; the parent goes on writing."""
        os.close(self._descriptor)

    def _close_group(self) -> None:
        if self._group:
            joined = replace(blocks.join(self._group), weights=self._group_weights)
            self._group = []
            self._group_size = 0
            self._put(seal(pack(blocks.to_message(joined))), joined.seq, joined.end)

    def _put(self, data: bytes, seq: int, end: int) -> None:
        if self.failure:
            return
        if self._queued > QUEUE:
            self.failure = "the disk takes nothing any more"
            self._queue.clear()
            return
        self._queued += len(data)
        self._queue.append((data, seq, end))

    # ---- the journal's thread ----

    def _run(self) -> None:
        while True:
            self._signal.wait()
            self._signal.clear()
            stopping = self._stopping
            try:
                self._write()
            except Exception as error:  # whatever it is: the training goes on without a journal
                self._give_up(error)
            while self._fetches:
                self._answer(self._fetches.popleft())
            if stopping:
                os.close(self._descriptor)
                return

    def _write(self) -> None:
        while self._queue and not self.failure:
            taken = self._take_some()
            data = memoryview(b"".join(item[0] for item in taken))
            at = self._size
            while len(data):
                written = os.pwrite(self._descriptor, data, at)
                at += written
                data = data[written:]
            for item, seq, end in taken:
                if end:
                    self.past.index(seq, self._size)
                    self.flushed_seq = end
                self._size += len(item)
                self._queued -= len(item)

    def _take_some(self) -> list[tuple[bytes, int, int]]:
        taken: list[tuple[bytes, int, int]] = []
        with contextlib.suppress(IndexError):  # the sidecar empties it when it gives up
            while len(taken) < 256:
                taken.append(self._queue.popleft())
        return taken

    def _give_up(self, error: Exception) -> None:
        """A full disk, or worse: leave a journal that ends in a whole frame, and stop."""
        self.failure = getattr(error, "strerror", None) or type(error).__name__
        self._queue.clear()
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return  # the reader copes with a torn tail

    def _answer(self, fetch: Fetch) -> None:
        try:
            self._read_back(fetch)
        except (OSError, ProtocolError, JournalError):
            fetch.pieces.clear()  # the subscriber gets a gap
        fetch.done.set()
        self.wake()

    def _read_back(self, fetch: Fetch) -> None:
        group: list[Block] = []
        size = total = 0
        seq = fetch.seq
        for found in scan(self._descriptor, self.past.offset_of(fetch.seq), self._size):
            if isinstance(found, Torn) or not is_batch(found.payload):
                continue
            block = blocks.from_message(unpack(found.payload))
            if block.end <= seq:
                continue
            if block.seq < seq:
                block = blocks.cut(block, seq - block.seq, block.rows)
            if group and not blocks.can_join(group, size, block):
                fetch.pieces.append(_piece(group))
                group, size = [], 0
            group.append(block)
            seq = block.end
            size += block.size
            total += block.size
            if total > _FETCH_BYTES:
                break
        if group:
            fetch.pieces.append(_piece(group))


def is_batch(payload: bytes) -> bool:
    """Whether the payload is a `batch`, without decoding it; the writer puts `t` first."""
    return payload[1:9] == b"\xa1t\xa5batch"


def _piece(group: list[Block]) -> Piece:
    joined = blocks.join(group)
    return Piece(joined.end, pack(blocks.to_message(joined)), joined.seq, joined.first_step)


def _nobody() -> None:
    """Nobody waits to be woken."""

"""Writes a run's journal on a thread of its own: a disk may hang or fill, the training continues.

A full disk is waited for, in memory that is bounded; a journal that is removed or whose directory
is removed while it is written is written again, with all that was in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vlamon.emitter.blocklog import NextFrame
from vlamon.emitter.history import Fetch
from vlamon.emitter.journal_index import JournalIndex
from vlamon.protocol import block as blocks
from vlamon.protocol.address import trusted
from vlamon.protocol.block import Block
from vlamon.protocol.frames import ProtocolError, pack, unpack
from vlamon.protocol.journal import MAGIC, JournalError, TornBytes, scan, seal

FLUSH = 1.0
"""Seconds between two writes."""
QUEUE = 64 << 20
"""Bytes that may wait for a disk that hangs, before the journal is given up."""
RETRY = 2.0
"""Seconds between two tries on a full disk."""
FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "use another run_dir"
_PIECE = 1 << 20
"""Bytes written at once."""
_FETCH_BYTES = 1 << 20
"""Bytes read back at once: what a stuck reader of old rows may cost in memory."""


class Journal:
    """Appends a run's frames. The sidecar calls in; a thread of its own touches the disk.

    Opening reads the file once, in the constructor, so that attempts and row numbers go on.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create; raises JournalError."""
        self.path = os.fspath(path)
        self.past = JournalIndex()
        self.failure = ""
        """Why nothing is written any more; empty while all is well."""
        self.trouble = ""
        """Why nothing is written at the moment; it is tried again."""
        self.news: deque[str] = deque()
        """What happened to the file, one sentence each, for the sidecar to report."""
        self.tries = 0
        """How often it was written, or tried to."""
        self.flushed_seq = 0
        """Rows before this one can be read back."""
        self.wake: Callable[[], None] = _nobody
        """Called on the journal's thread when a fetch is done."""
        self._descriptor = self._open()
        try:
            self._read_index()
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
        self._handed = 0
        self.written = 0
        """Bytes on disk; this one is counted by the journal's thread, `_handed` by the sidecar's:
        one number that both changed would drift."""
        if not self._size:
            self._put(MAGIC, 0, 0)
        self._fetches: deque[Fetch] = deque()
        self._signal = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="vlamon-journal", daemon=True)
        self._thread.start()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Nobody else may read what the socket refuses to tell, nor hold up a restart by a lock.
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise JournalError(f"cannot write {self.path}: {error.strerror}") from error
        try:
            self._check_file(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        for _ in range(20):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    return descriptor  # a file system without locks
                time.sleep(0.05)  # a reader that asks whether we live holds it for a moment
        os.close(descriptor)
        raise JournalError(f"{self.path} is written by another live training", _ELSEWHERE)

    def _check_file(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"{self.path} is not a regular file", "move it out of the way")
        folder = os.stat(os.path.dirname(os.path.abspath(self.path)))
        if folder.st_mode & stat.S_IWOTH and not trusted(found.st_uid):
            raise JournalError(
                f"{self.path} belongs to uid {found.st_uid}, in a directory where anyone may "
                "create it",
                "use another run_dir",
            )
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)

    def _read_index(self) -> None:
        size = os.fstat(self._descriptor).st_size
        for found in scan(self._descriptor):
            self.past.take(found)
        if size and not self.past.good_end:
            whole = os.pread(self._descriptor, len(MAGIC), 0)
            if not MAGIC.startswith(whole[: len(MAGIC)]):
                raise JournalError(f"{self.path} is not a vlamon journal", "move it out of the way")
        if self.past.good_end < size:
            # What is behind the last good frame can never be read; new frames go in its place,
            # so that no reader waits for a frame that will not be completed.
            os.ftruncate(self._descriptor, self.past.good_end)
        if not self.past.good_end:
            self._put_magic()

    def _put_magic(self) -> None:
        try:
            if os.pwrite(self._descriptor, MAGIC, 0) == len(MAGIC):
                self.past.good_end = len(MAGIC)
        except OSError as error:
            if error.errno not in FULL:  # else it waits for room, before the first frame
                raise JournalError(f"cannot write {self.path}: {error.strerror}") from error

    # ---- called by the sidecar ----

    def add_block(self, block: Block, weights: dict[str, float]) -> None:
        """Take the next rows; they are written within a second, joined to fewer frames."""
        group, size = self._group, block.size
        fits = not group or (
            group[-1].fits_with(block)
            and block.end - group[0].seq <= blocks.ROWS
            and self._group_size + size <= blocks.MAX_BYTES
        )
        if not fits:
            self._close_group()
        if not self._group:
            self._group_weights = weights
        self._group.append(block)
        self._group_size += size

    def add_frame(self, frame: bytes) -> None:
        """Take any other frame, behind the rows so far."""
        self._close_group()
        self._put(seal(frame), 0, 0)

    def tick(self) -> None:
        """Hand over what has come, once a second."""
        if time.monotonic() - self._flush_at >= FLUSH:
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

    @property
    def waiting(self) -> int:
        """Bytes that are not on disk yet."""
        return 0 if self.failure else self._handed - self.written + self._group_size

    def push(self) -> None:
        """Hand over what has come, now."""
        self._close_group()
        self._signal.set()

    def give_up(self, reason: str) -> None:
        """Nothing more is written; what waits is lost."""
        self.failure = reason
        self._queue.clear()

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
            joined = replace(blocks.narrow(blocks.join(self._group)), weights=self._group_weights)
            self._put(seal(pack(blocks.to_message(joined))), joined.seq, joined.end)
            self._group.clear()  # only now: a lack of memory until here must not cost the rows
            self._group_size = 0

    def _put(self, data: bytes, seq: int, end: int) -> None:
        if self.failure:
            return
        if self.waiting > QUEUE:
            self.give_up(self.trouble or "the disk takes nothing any more")
            return
        self._handed += len(data)
        try:
            self._queue.append((data, seq, end))
        except MemoryError:
            self._handed -= len(data)
            raise

    # ---- the journal's thread ----

    def _run(self) -> None:
        while True:
            self._signal.wait(RETRY if self.trouble else None)
            self._signal.clear()
            stopping = self._stopping
            try:
                if self._stays_in_place():
                    self._write()
            except Exception as error:  # whatever it is: the training continues without a journal
                self._end_whole(error)
            self.tries += 1
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
            try:
                while len(data):
                    written = os.pwrite(self._descriptor, data, at)
                    at += written
                    self.written += written
                    data = data[written:]
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self._wait_for_room(error, taken, at)
                return
            if self.trouble:
                self.trouble = ""
                self.news.append(f"the journal {self.path} is written again")
            for item, seq, end in taken:
                if end:
                    self.past.index(seq, self._size)
                    self.flushed_seq = end
                self._size += len(item)

    def _wait_for_room(
        self, error: OSError, taken: list[tuple[bytes, int, int]], reached: int
    ) -> None:
        """Keep what a full disk did not take, behind a journal that ends in a whole frame."""
        self._queue.extendleft(reversed(taken))
        self.written -= reached - self._size
        with contextlib.suppress(OSError):  # the reader copes with a torn tail
            os.ftruncate(self._descriptor, self._size)
        self._begin_to_wait("waits for room on its disk", error)

    def _begin_to_wait(self, why: str, error: OSError) -> None:
        if not self.trouble:
            self.trouble = error.strerror or type(error).__name__
            self.news.append(
                f"the journal {self.path} {why} ({self.trouble}); the training continues"
            )

    def _stays_in_place(self) -> bool:
        """Write the file again where it was removed; its content is still in our descriptor.

        False where that is not possible at the moment: what comes meanwhile waits.
        """
        if self.failure or not self._queue:
            return True
        try:
            moved = not os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):  # gone, or a file where a directory was
            try:
                self._rewrite()
            except OSError as error:
                self._begin_to_wait("was removed and cannot be written again", error)
                return False
            return True
        except OSError:
            return True  # its directory cannot be searched; our descriptor is as good as before
        if moved:
            raise JournalError("another file was put in its place")
        return True

    def _rewrite(self) -> None:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fresh = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
            at = 0
            while at < self._size:
                data = os.pread(self._descriptor, min(_PIECE, self._size - at), at)
                if not data:
                    raise OSError(errno.EIO, "the removed file cannot be read")
                at += os.pwrite(fresh, data, at)
        except BaseException:
            os.unlink(self.path)
            os.close(fresh)
            raise
        os.close(self._descriptor)
        self._descriptor = fresh
        self.news.append(f"the journal {self.path} was removed while it is written; it is back")

    def _take_some(self) -> list[tuple[bytes, int, int]]:
        """About a megabyte: a slow disk shows by such pieces that it is not a stuck one."""
        taken: list[tuple[bytes, int, int]] = []
        size = 0
        with contextlib.suppress(IndexError):  # the sidecar empties it when it gives up
            while size < _PIECE:
                taken.append(self._queue.popleft())
                size += len(taken[-1][0])
        return taken

    def _end_whole(self, error: Exception) -> None:
        """Stop after a full disk or worse, leaving a journal that ends in a whole frame."""
        said = str(error) if isinstance(error, JournalError) else ""
        self.give_up(said or getattr(error, "strerror", None) or type(error).__name__)
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return  # the reader copes with a torn tail

    def _answer(self, fetch: Fetch) -> None:
        try:
            self._read_back(fetch)
        except (OSError, ProtocolError, JournalError):
            fetch.frames.clear()  # the subscriber gets a gap
        fetch.done.set()
        self.wake()

    def _read_back(self, fetch: Fetch) -> None:
        group: list[Block] = []
        size = total = 0
        seq = fetch.seq
        for found in scan(self._descriptor, self.past.offset_of(fetch.seq), self._size):
            if isinstance(found, TornBytes) or not is_batch(found.payload):
                continue
            block = blocks.from_message(unpack(found.payload))
            if block.end <= seq:
                continue
            if block.seq < seq:
                block = blocks.cut(block, seq - block.seq, block.rows)
            if group and not blocks.can_join(group, size, block):
                fetch.frames.append(_next_frame(group))
                group, size = [], 0
            group.append(block)
            seq = block.end
            size += block.size
            total += block.size
            if total > _FETCH_BYTES:
                break
        if group:
            fetch.frames.append(_next_frame(group))


def is_batch(payload: bytes) -> bool:
    """Whether the payload is a `batch`, without decoding it; the writer puts `t` first."""
    return payload[1:9] == b"\xa1t\xa5batch"


def _next_frame(group: list[Block]) -> NextFrame:
    joined = blocks.join(group)
    return NextFrame(joined.end, pack(blocks.to_message(joined)), joined.seq, joined.first_step)


def _nobody() -> None:
    """Nobody waits to be woken."""

"""A run's journal, `run.vlaj`: opened whole, then followed for as long as a training writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vlamon.hardware import GpuSample
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.block import Block
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import Message, ProtocolError, unpack
from vlamon.protocol.journal import JournalError, Scanner, Sealed, TornBytes
from vlamon.protocol.limits import RunLimits
from vlamon.protocol.messages import Bye
from vlamon.records import Event, Gap, Link, LinkState, Record, RunInfo, Status
from vlamon.sources import SourceError

_CHUNK = 1 << 20
_TAKE = 4 << 20
_POLL = 0.25


class JournalSource:
    """See vlamon/sources/__init__.py. Ends when the file does, unless it is followed and written.

    With `whole`, blocks are joined across the samples between them, so that a long run opens at
    once; without, every record keeps its place, as a replay needs it.
    """

    def __init__(
        self, path: str | os.PathLike[str], follow: bool = True, whole: bool = True
    ) -> None:
        self.path = os.fspath(path)
        self.follow = follow
        self.whole = whole
        self._descriptor = -1
        self._offset = 0
        self._scanner = Scanner()
        self._limits = RunLimits()
        self._group: list[Block] = []
        self._group_size = 0
        self._weights: dict[str, float] = {}
        self._status: Status | None = None
        self._torn: TornBytes | None = None
        self._info: RunInfo | None = None
        self._next_seq = 0
        self._last_step: int | None = None
        self._end: Event | None = None
        """An `end` that is held back: where another boot follows, it was not the run's."""
        self._link: Link | None = None
        self._finished = False
        self._closed = False

    # ---- the face of a source ----

    @property
    def finished(self) -> bool:
        """True when the file is read and no training writes it."""
        return self._finished or self._closed

    def send(self, command: Command) -> None:
        """Refuse: a file takes no commands."""
        raise SourceError(f"{self.path} is a journal; only a live training takes commands")

    def close(self) -> None:
        """Stop; the descriptor goes with the next `read`, or with this object."""
        self._closed = True

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def read(self, timeout: float) -> Sequence[Record]:
        """The next stretch of the file, or what was appended since."""
        if self._closed or self._finished:
            return []
        if self._descriptor < 0 and not self._open():
            time.sleep(min(timeout, _POLL))
            return self._tell("waiting", f"waiting for {self.path}: no such file yet")
        try:
            found = list(self._read_on())
        except (JournalError, ProtocolError) as error:
            raise SourceError(f"{self.path}: {error}") from error
        if not found and not self._finished:
            time.sleep(min(timeout, _POLL))
        return found

    def _open(self) -> bool:
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO would hold us for ever
            self._descriptor = os.open(self.path, flags)
        except OSError as error:
            if error.errno == errno.ENOENT and self.follow:
                return False
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise SourceError(f"{self.path} is not a regular file, so it is not a journal")
        return True

    # ---- the file ----

    def _read_on(self) -> Iterator[Record]:
        taken = 0
        while taken < _TAKE:
            try:
                data = os.pread(self._descriptor, _CHUNK, self._offset)
            except OSError as error:
                raise SourceError(f"cannot read {self.path}: {error.strerror}") from error
            if not data:
                yield from self._at_end()
                return
            taken += len(data)
            self._offset += len(data)
            for found in self._scanner.feed(data):
                yield from self._take(found)
        yield from self._flush()

    def _at_end(self) -> Iterator[Record]:
        """All is read: hand over what was held back, and see whether more can come."""
        if self.follow and self._written():
            yield from self._release_end()
            yield from self._flush()
            yield from self._tell("live", f"following {self.path}")
            if self._scanner.pending:
                # A training that restarts cuts a torn tail off: read the rest again from its start.
                self._offset = self._scanner.offset
                self._scanner = Scanner(self._offset)
            return
        for found in self._scanner.finish():
            yield from self._take(found)
        yield from self._flush()
        if self._torn is not None:
            yield self._gap(0, None)
        if self._info is None:
            raise SourceError(f"{self.path} holds no run: not one frame of it can be read")
        where = "" if self._last_step is None else f" after step {self._last_step}"
        text = f"the journal stops{where}; no process is writing it"
        if self._end is not None:
            text = self._end.text or "the training ended"
        yield from self._release_end()
        yield from self._tell("ended", text)
        self._finished = True

    def _written(self) -> bool:
        """Whether a live training holds the journal's lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def _tell(self, state: LinkState, text: str) -> list[Record]:
        link = Link(state, text)
        if link == self._link:
            return []
        self._link = link
        return [link]

    # ---- frames to records ----

    def _take(self, found: Sealed | TornBytes) -> Iterator[Record]:
        if isinstance(found, TornBytes):
            if self._torn is not None:
                yield self._gap(0, None)
            self._torn = found
            return
        try:
            message = unpack(found.payload)
            if message["t"] == "batch":
                yield from self._take_block(blocks.from_message(message))
            else:
                yield from self._take_other(message)
        except ProtocolError as error:
            raise JournalError(f"the frame at byte {found.offset} is wrong: {error}") from error

    def _take_block(self, block: Block) -> Iterator[Record]:
        self._limits.check_block(block)
        missing = block.seq - self._next_seq
        if missing > 0 or self._torn is not None:
            yield from self._flush()
            yield self._gap(max(0, missing), block.first_step)
        if block.end <= self._next_seq:
            return
        if missing < 0:
            block = blocks.cut(block, -missing, block.rows)
        self._next_seq = block.end
        self._last_step = block.last_step
        if self._group and not blocks.can_join(self._group, self._group_size, block):
            yield from self._flush()
        self._group.append(block)
        self._group_size += block.size
        if not self.whole:
            yield from self._flush()

    def _take_other(self, message: Message) -> Iterator[Record]:
        record = messages.decode(message)
        if isinstance(record, Bye):
            return
        self._limits.check(record)
        if isinstance(record, Status) and self.whole:
            self._status = record  # only the newest of a stretch counts
            return
        if not isinstance(record, GpuSample):
            yield from self._flush()
        if isinstance(record, RunInfo):
            self._info = replace(record, source=self.path, control=False)
            if self._end is not None:
                self._end = replace(self._end, kind="note")
            yield from self._release_end()
            yield self._info
        elif isinstance(record, Event) and record.kind == "end":
            self._end = record
        elif record is not None:
            yield record

    def _release_end(self) -> Iterator[Record]:
        if self._end is not None:
            end, self._end = self._end, None
            yield end

    def _flush(self) -> Iterator[Record]:
        if self._group:
            joined = blocks.join(self._group)
            self._group, self._group_size = [], 0
            weights = dict(joined.weights)
            if weights == self._weights:
                joined = replace(joined, weights={})
            elif weights:
                self._weights = weights
            yield blocks.record(joined)
        if self._status is not None:
            status, self._status = self._status, None
            yield status

    def _gap(self, rows: int, next_step: int | None) -> Gap:
        torn, self._torn = self._torn, None
        reason = f"{self.path} does not have them"
        if torn is not None:
            reason = (
                f"{torn.bytes} bytes at {torn.offset} of {self.path} cannot be read: "
                f"{torn.frames} frame{'s' if torn.frames > 1 else ''} lost"
            )
        first = None if self._last_step is None or not rows else self._last_step + 1
        last = None if next_step is None or not rows else next_step - 1
        return Gap(rows, first, last, reason)

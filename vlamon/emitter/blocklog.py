"""The one log that live readers, late joiners, slow readers and reconnecting ones are cursors in.

Rows are numbered through; fresh ones are in small blocks as they came, older ones are packed to
about 4096 rows, and what memory allows no more is forgotten here (the journal still has it).
Notes (events, epoch rows, newly announced metrics) have a list of their own and are never dropped;
each remembers the row number at which it happened, so that a reader gets both in order.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block
from vlamon.protocol.frames import HEADER, Message, pack, unpack

MEMORY = 64 << 20
"""Bytes of blocks held by default: about half a million batches of 12 metrics."""
_COLUMN = 240
"""Bytes of Python objects that a column costs besides its values, until it is packed."""


@dataclass(slots=True)
class LoggedBlock:
    """One block of the log, as columns while it is fresh and as a frame once it is sent."""

    seq: int
    end: int
    first_step: int
    last_step: int
    attempt: int
    weights: Mapping[str, float]
    """Weights in force from the first row on, repeated here so that a reader can start anywhere."""
    block: Block | None
    opens: bool = False
    """Never joined to what is before it: a metric was announced in between."""
    frame: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds in memory."""
        held = 0 if self.block is None else self.block.size + _COLUMN * len(self.block.columns)
        return held + (0 if self.frame is None else len(self.frame))


@dataclass(frozen=True, slots=True)
class NextFrame:
    """What a cursor gets next: a frame with rows `seq` … `end - 1`."""

    end: int
    frame: bytes
    seq: int
    first_step: int


@dataclass(frozen=True, slots=True)
class RowsForgotten:
    """The rows at the cursor are no longer in memory; the log goes on at `resume`."""

    resume: int
    resume_step: int | None
    left_out: bool = False
    """Whether they were never packed: no journal has them."""


class BlockLog:
    """Rows `start` … `end - 1` of a run, packed as they age."""

    def __init__(self, start: int = 0, memory: int = MEMORY) -> None:
        self.end = start
        self.memory = memory
        self.held = 0
        """Bytes of all blocks in memory."""
        self.weights: Mapping[str, float] = {}
        self._entries: list[LoggedBlock] = []
        self._packed = 0
        """Entries before this one are packed."""
        self._fresh_rows = 0
        self._fresh_held = 0
        """Bytes of the blocks that are not packed."""

    @property
    def start(self) -> int:
        """First row that is still in memory."""
        return self._entries[0].seq if self._entries else self.end

    def append(self, block: Block, opens: bool = False) -> None:
        """Take the next rows; between those before and them some may have been left out.

        `opens` keeps them from ever being joined to those before.
        """
        if block.weights:
            self.weights = block.weights
        entry = LoggedBlock(
            block.seq,
            block.end,
            block.first_step,
            block.last_step,
            block.attempt,
            self.weights,
            block,
            opens,
        )
        size = entry.size  # before the entry is there: a lack of memory leaves none half counted
        self._entries.append(entry)
        self.end = block.end
        self.held += size
        self._fresh_rows += block.rows
        self._fresh_held += size
        with contextlib.suppress(MemoryError):  # packed with what comes next
            self._pack()

    def _pack(self) -> None:
        """Join what is old; and sooner what is large, as rows of a thousand metrics are."""
        while self._fresh_rows >= 2 * blocks.ROWS or (
            self._fresh_held > self.memory // 4 and self._packed < len(self._entries) - 1
        ):
            self._pack_oldest()

    def _pack_oldest(self) -> None:
        """Join the oldest fresh blocks to one of about 4096 rows."""
        first = self._packed
        group: list[Block] = []
        rows, size = 0, 0
        for entry in self._entries[first:]:
            block = entry.block
            assert block is not None
            joins = not group or (
                not entry.opens
                and group[-1].fits_with(block)
                and rows + block.rows <= blocks.ROWS
                and size + block.size <= blocks.MAX_BYTES
            )
            if not joins:
                break
            group.append(block)
            rows, size = rows + block.rows, size + block.size
        old = self._entries[first : first + len(group)]
        joined = replace(blocks.narrow(blocks.join(group)), weights=old[0].weights)
        packed = replace(
            old[0], end=joined.end, last_step=joined.last_step, block=None, frame=_frame(joined)
        )
        self._entries[first : first + len(group)] = [packed]
        self.held += packed.size - sum(entry.size for entry in old)
        self._fresh_held = sum(entry.size for entry in self._entries[self._packed + 1 :])
        self._packed += 1
        self._fresh_rows -= rows

    def forget(self, kept_elsewhere: int | None) -> None:
        """Drop the oldest blocks until memory is within its bound.

        `kept_elsewhere` is the row up to which the journal can give them back; None where there is
        no journal, and what is dropped is lost to readers who come late.
        """
        while self.held > self.memory and len(self._entries) > 1:
            oldest = self._entries[0]
            if kept_elsewhere is not None and oldest.end > kept_elsewhere:
                return
            self.held -= oldest.size
            if self._packed:
                self._packed -= 1
            else:
                self._fresh_rows -= oldest.end - oldest.seq
                self._fresh_held -= oldest.size
            del self._entries[0]

    def read(self, seq: int) -> NextFrame | RowsForgotten | None:
        """What follows at row `seq`: a frame, the news that it is forgotten, or nothing yet."""
        if seq >= self.end:
            return None
        if seq < self.start:
            oldest = self._entries[0] if self._entries else None
            return RowsForgotten(self.start, oldest.first_step if oldest else None)
        entry = self._entries[bisect_right(self._entries, seq, key=_seq_of) - 1]
        if seq >= entry.end:  # a hole: more rows came than could be packed
            entry = self._entries[bisect_right(self._entries, seq, key=_seq_of)]
            return RowsForgotten(entry.seq, entry.first_step, left_out=True)
        if seq == entry.seq:
            if entry.frame is None:
                assert entry.block is not None
                entry.frame = _frame(entry.block)
                self.held += len(entry.frame)
            return NextFrame(entry.end, entry.frame, seq, entry.first_step)
        tail = self._tail(entry, seq)
        return NextFrame(entry.end, _frame(tail), seq, tail.first_step)

    def _tail(self, entry: LoggedBlock, seq: int) -> Block:
        """The rows of an entry from `seq` on: a reader's cursor stands inside a packed block."""
        block = entry.block
        if block is None:
            assert entry.frame is not None
            block = blocks.from_message(unpack(memoryview(entry.frame)[HEADER.size :]))
        tail = blocks.cut(block, seq - entry.seq, block.rows)
        return replace(tail, weights=entry.weights)

    def newest(self) -> Block | None:
        """The last block, for `status`."""
        return self._entries[-1].block if self._entries else None


def _seq_of(entry: LoggedBlock) -> int:
    return entry.seq


def _frame(block: Block) -> bytes:
    return pack(blocks.to_message(block))


@dataclass(frozen=True, slots=True)
class LogNote:
    """One event, epoch row or announcement, and the row number at which it happened."""

    at: int
    frame: bytes


class NoteLog:
    """Every note of the run, in order; a note's number is its place."""

    def __init__(self) -> None:
        self._notes: list[LogNote] = []

    def __len__(self) -> int:
        return len(self._notes)

    def append(self, message: Message, at: int) -> bytes:
        """Number the note, keep it, and return its frame."""
        frame = pack(message | {"k": len(self._notes)})
        self._notes.append(LogNote(at, frame))
        return frame

    def due(self, number: int, seq: int) -> bytes | None:
        """Note `number`, where it exists and a reader at row `seq` has all rows before it."""
        if number < len(self._notes) and self._notes[number].at <= seq:
            return self._notes[number].frame
        return None

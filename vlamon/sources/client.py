"""The reading side of a connection: bytes in, records out, and where to go on after a break.

No I/O in here. `Conversation` is one connection, `Cursor` is what outlives it, so that a monitor
that reconnects neither misses a row nor sees one twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.block import Block
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import FrameReader, Message, ProtocolError, pack
from vlamon.protocol.limits import RunLimits
from vlamon.protocol.messages import Bye, Start, Subscription
from vlamon.records import (
    EpochRow,
    Event,
    Gap,
    MetricsAnnounced,
    Record,
    Reply,
    RunInfo,
    Status,
)
from vlamon.sources.older_rows import Backlog


@dataclass(slots=True)
class Cursor:
    """How far a monitor has read a run; kept over connections and restarts of the trainer."""

    run_id: str = ""
    boot: str = ""
    seq: int = 0
    """Next row to ask for."""
    note: int = 0
    """Next note to ask for."""
    shift: int = 0
    """Added to the trainer's attempt numbers, where a restart without journal began at 0 again."""
    last_attempt: int = -1
    """Highest attempt seen, after the shift."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights received last, so that a repetition is ignored."""
    backlog: Backlog | None = None
    """Rows from before those that came first, where the newest were to come first."""
    limits: RunLimits = field(default_factory=RunLimits)
    """What the run may claim, over all its connections."""


class Conversation:
    """One connection to a trainer, after `hello` subscribed at the cursor.

    Of a run that it sees for the first time, the `newest` rows come first and the others as
    Backfill records; with 0 all come in order.
    """

    def __init__(
        self,
        cursor: Cursor,
        source: str,
        rows: bool = True,
        newest: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cursor = cursor
        self.source = source
        self.rows = rows
        self.newest = newest
        self._clock = clock
        self.info: RunInfo | None = None
        """The greeting, once it came."""
        self.bye: Bye | None = None
        self.restarted = False
        """True where the greeting came from another boot than the one before."""
        self.latest: dict[str, float] = {}
        """Newest value by metric, for a conversation without rows."""
        self._reader = FrameReader()
        self._outgoing: list[bytes] = []
        self._group: list[Block] = []
        """Rows that came with the same read, joined before anybody sees them."""
        self._group_size = 0

    def feed(self, data: bytes) -> list[Record]:
        """The records in what was read. Raises ProtocolError; the connection is useless then."""
        self._reader.feed(data)
        found: list[Record] = []
        for message in self._reader.messages():
            found.extend(self._take(message))
        found.extend(self._flush())
        return found

    def outgoing(self) -> bytes:
        """Bytes to send, once."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def ask(self, command: Command) -> None:
        """Queue a command."""
        self._outgoing.append(pack(messages.encode(command)))

    def _take(self, message: Message) -> Iterator[Record]:
        name = message["t"]
        if name == "hello":
            yield from self._flush()
            yield from self._greet(message)
        elif self.info is None and name != "bye":
            raise ProtocolError(f"`{name}` came before the greeting")
        elif name == "batch":
            yield from self._take_rows(message)
        else:
            number = messages.note_number(message)
            if number is not None:
                if number < self.cursor.note:
                    return
                self.cursor.note = number + 1
            record = messages.decode(message)
            self.cursor.limits.check(record)
            if isinstance(record, Bye):
                self.bye = record
                yield from self._lose_backlog("the training ended before they came")
            elif isinstance(record, Gap) and self._of_backlog(message):
                yield from self._backlog_records(record)
            elif record is not None:
                yield from self._flush()
                yield from self._take_record(record)

    def _greet(self, message: Message) -> Iterator[Record]:
        record = messages.decode(message)
        assert isinstance(record, RunInfo)
        self.cursor.limits.check(record)
        first = self.info is None
        self.info = replace(record, source=self.source)
        yield self.info
        if first:
            cursor, start = self.cursor, messages.start_of(message)
            unseen = not cursor.boot
            yield from self._resume(start)
            if unseen and self.rows and start.end_seq - cursor.seq > self.newest > 0:
                oldest = start.end_seq - self.newest
                size = 2 * self.newest
                cursor.backlog = Backlog(cursor.seq, oldest, size, cursor.shift)
                cursor.seq = oldest
            request = Subscription(cursor.seq, cursor.note, cursor.boot, self.rows)
            self._outgoing.append(pack(messages.encode(request)))
            self._ask_backlog()

    def _resume(self, start: Start) -> Iterator[Record]:
        """Set the cursor to where this trainer goes on for us."""
        assert self.info is not None
        cursor, info = self.cursor, self.info
        if cursor.boot == info.boot:
            return
        self.restarted = bool(cursor.boot)
        same_run = cursor.run_id == info.run_id
        if not same_run:
            cursor.limits = RunLimits()
        cursor.seq = min(cursor.seq, start.start_seq) if same_run else 0
        cursor.note = min(cursor.note, start.start_note) if same_run else 0
        # A trainer without journal counts its attempts from 0 again, while steps may only fall
        # between attempts: so they go on from the last one seen.
        history = same_run and start.start_seq > 0
        cursor.shift = 0 if history else max(0, cursor.last_attempt + 1 - start.attempt)
        cursor.run_id, cursor.boot = info.run_id, info.boot
        cursor.weights = {}
        if cursor.backlog is not None and cursor.seq < cursor.backlog.end:
            yield from self._lose_backlog("the training started again without them")

    def _take_rows(self, message: Message) -> Iterator[Record]:
        block = blocks.from_message(message)
        self.cursor.limits.check_block(block)
        if not self.rows:
            self.latest.update(blocks.last_values(block))
            return
        cursor = self.cursor
        if cursor.backlog is not None and cursor.backlog.expects(block.seq):
            yield from self._backlog_records(block)
            return
        if block.end <= cursor.seq:
            return
        if block.seq < cursor.seq:
            block = blocks.cut(block, cursor.seq - block.seq, block.rows)
        elif block.seq > cursor.seq:
            yield from self._flush()
            yield Gap(block.seq - cursor.seq, None, None, "rows are missing in the stream")
        cursor.seq = block.end
        block = self._shifted(block)
        if self._group and not blocks.can_join(self._group, self._group_size, block):
            yield from self._flush()
        self._group.append(block)
        self._group_size += block.size

    def _ask_backlog(self) -> None:
        backlog = self.cursor.backlog
        request = None if backlog is None else backlog.request(self._clock())
        if request is None:
            self.cursor.backlog = None
        else:
            self._outgoing.append(pack(messages.encode(request)))

    def _of_backlog(self, message: Message) -> bool:
        backlog, seq = self.cursor.backlog, message.get("seq")
        return backlog is not None and type(seq) is int and backlog.expects(seq)

    def _backlog_records(self, found: Block | Gap) -> Iterator[Record]:
        backlog = self.cursor.backlog
        assert backlog is not None
        yield from backlog.skip(found) if isinstance(found, Gap) else backlog.take(found)
        if backlog.due(self._clock()):
            self._ask_backlog()

    def _lose_backlog(self, why: str) -> Iterator[Record]:
        backlog, self.cursor.backlog = self.cursor.backlog, None
        if backlog is not None:
            yield Gap(backlog.left, None, None, f"older rows are missing: {why}")

    def _flush(self) -> Iterator[Record]:
        """The rows so far as one record: small blocks would cost the store 20 times as much."""
        if self._group:
            group, self._group, self._group_size = self._group, [], 0
            yield blocks.record(blocks.join(group))

    def _shifted(self, block: Block) -> Block:
        cursor = self.cursor
        attempt = block.attempt + cursor.shift
        cursor.last_attempt = max(cursor.last_attempt, attempt)
        weights = dict(block.weights)
        if weights == cursor.weights:
            weights = {}
        elif weights:
            cursor.weights = weights
        return replace(block, attempt=attempt, weights=weights)

    def _take_record(self, record: Record) -> Iterator[Record]:
        if isinstance(record, Event | EpochRow | Status):
            record = replace(record, attempt=record.attempt + self.cursor.shift)
        elif isinstance(record, Gap):
            self.cursor.seq += record.rows
        elif isinstance(record, MetricsAnnounced) and self.info is not None:
            known = {spec.name for spec in self.info.metrics}
            new = tuple(spec for spec in record.metrics if spec.name not in known)
            self.info = replace(self.info, metrics=self.info.metrics + new)
        yield record


def unanswered(commands: list[Command]) -> list[Reply]:
    """The replies to commands whose trainer is gone."""
    reason = "the trainer went away before it answered; look whether it was executed"
    return [Reply(command.id, False, error=reason) for command in commands]

"""One monitor's connection: what it has been sent, what is on its way, and what comes next."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from dataclasses import dataclass, field

from vlamon.emitter.allowance import Allowance
from vlamon.emitter.history import History
from vlamon.emitter.row_cursor import RowCursor
from vlamon.protocol import messages
from vlamon.protocol.commands import Peer
from vlamon.protocol.frames import FROM_MONITOR, FrameReader, pack
from vlamon.records import Reply

MESSAGES = (20.0, 100.0)
"""Messages a second, and at once, that are read from one monitor."""


@dataclass(eq=False, slots=True)
class Subscriber:
    """One connection: what it has been sent, and what is on its way."""

    sock: socket.socket
    peer: Peer
    progress: float
    """When bytes last went out or came in, monotonic."""
    reader: FrameReader = field(default_factory=lambda: FrameReader(FROM_MONITOR))
    outbox: deque[bytes] = field(default_factory=deque)
    """Frames for this one alone: greeting, replies, gaps, last words."""
    allowance: Allowance = field(default_factory=lambda: Allowance(*MESSAGES))
    events: int = selectors.EVENT_READ
    """What the selector watches for."""
    sending: memoryview | None = None
    subscribed: bool = False
    rows: bool = True
    live: RowCursor = field(default_factory=RowCursor)
    """Follows the run."""
    older: RowCursor | None = None
    """In rows from before those that follow the run, where the monitor asked for some."""
    note: int = 0
    gpu: int = 0
    status: int = 0
    greeting: int = 0
    blocked: bool = False
    """The kernel takes no more at the moment."""
    closing: bool = False
    """Close when the outbox is empty."""

    def deliver(self, reply: Reply) -> None:
        """Send the answer to a command."""
        self.outbox.append(pack(messages.encode(reply)))

    def up_to_date(self, history: History) -> bool:
        """Whether it has been sent everything there is."""
        if self.sending is not None or self.outbox:
            return False
        if not self.subscribed:
            return True
        rows = not self.rows or (self.live.seq >= history.log.end and self.older is None)
        return rows and self.note >= len(history.notes)

    def next_frame(self, history: History) -> bytes | None:
        """The next frame for this subscriber, in the order in which things happened."""
        refused = self.closing and not self.subscribed
        if self.greeting != history.greetings and not refused:
            self.greeting = history.greetings
            return history.greeting
        if self.outbox and not self.closing:
            return self.outbox.popleft()
        if self.subscribed:
            if self.status != history.statuses:
                self.status = history.statuses
                return history.status_frame
            frame = self._next_of_history(history)
            if frame is not None:
                return frame
        return self.outbox.popleft() if self.outbox else None

    def _next_of_history(self, history: History) -> bytes | None:
        note = history.notes.due(self.note, self.live.seq if self.rows else history.log.end)
        if note is not None:
            self.note += 1
            return note
        if self.rows:
            rows = self.live.next_frame(history)
            if rows is not None:
                return rows
        sample = history.gpu_after(self.gpu)
        if sample is not None:
            self.gpu, frame = sample
            return frame
        return self._next_older(history)

    def _next_older(self, history: History) -> bytes | None:
        """Rows of long ago, when there is nothing newer to send."""
        if self.older is None:
            return None
        frame = self.older.next_frame(history)
        if self.older.done:
            self.older = None
        return frame

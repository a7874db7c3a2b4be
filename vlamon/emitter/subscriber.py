"""One monitor's connection: what it has been sent, what is on its way, and what comes next."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from dataclasses import dataclass, field

from vlamon.emitter.allowance import Allowance
from vlamon.emitter.blocklog import RowsForgotten
from vlamon.emitter.history import Fetch, History
from vlamon.protocol import messages
from vlamon.protocol.commands import Peer
from vlamon.protocol.frames import FROM_MONITOR, FrameReader, pack
from vlamon.records import Gap, Reply

MESSAGES = (20.0, 100.0)
"""Messages a second, and at once, that are read from one monitor."""
_FORGOTTEN = "older than the trainer's memory, and there is no journal to read it from"
_DAMAGED = "the journal has lost them"


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
    seq: int = 0
    note: int = 0
    gpu: int = 0
    status: int = 0
    greeting: int = 0
    fetch: Fetch | None = None
    blocked: bool = False
    """The kernel takes no more at the moment."""
    closing: bool = False
    """Close when the outbox is empty."""

    def hear(self, reply: Reply) -> None:
        """Send the answer to a command."""
        self.outbox.append(pack(messages.encode(reply)))

    def up_to_date(self, history: History) -> bool:
        """Whether it has been sent everything there is."""
        if self.sending is not None or self.outbox:
            return False
        if not self.subscribed:
            return True
        rows = not self.rows or self.seq >= history.log.end
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
        note = history.notes.due(self.note, self.seq if self.rows else history.log.end)
        if note is not None:
            self.note += 1
            return note
        if self.rows:
            rows = self._next_rows(history)
            if rows is not None:
                return rows
        sample = history.gpu_after(self.gpu)
        if sample is not None:
            self.gpu, frame = sample
            return frame
        return None

    def _next_rows(self, history: History) -> bytes | None:
        if self.fetch is not None:
            return self._next_fetched(history)
        following = history.log.read(self.seq)
        if following is None:
            return None
        if not isinstance(following, RowsForgotten):
            self.seq = following.end
            return following.frame
        if history.fetch is not None:
            self.fetch = history.fetch(self.seq)
            return None
        return self._skip(following.resume, following.resume_step, _FORGOTTEN)

    def _next_fetched(self, history: History) -> bytes | None:
        """Rows that the journal's thread has read back; None while it is at it."""
        fetch = self.fetch
        assert fetch is not None
        if not fetch.done.is_set():
            return None
        if fetch.frames:
            following = fetch.frames[0]
            if following.seq > self.seq:
                return self._skip(following.seq, following.first_step, _DAMAGED)
            self.seq = following.end
            fetch.frames.popleft()
            if not fetch.frames:
                self.fetch = None
            return following.frame
        self.fetch = None
        gone = history.log.read(self.seq)
        if isinstance(gone, RowsForgotten):
            return self._skip(gone.resume, gone.resume_step, _DAMAGED)
        return None

    def _skip(self, resume: int, resume_step: int | None, reason: str) -> bytes:
        """Move the cursor forward and say what was lost."""
        rows = resume - self.seq
        self.seq = resume
        last = None if resume_step is None else resume_step - 1
        return pack(messages.encode(Gap(rows, None, last, reason)))

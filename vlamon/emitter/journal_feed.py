"""Feeds a run's journal: messages and rows, and besides them greeting, status and failure.

The sidecar hands over frames and blocks as it makes them; a journal's own thread writes them. A run
without a journal has a feed too, which keeps nothing and lets the log forget by its size alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from vlamon.emitter.history import History
from vlamon.emitter.journal_writer import QUEUE, Journal
from vlamon.emitter.places import say
from vlamon.emitter.progress_timeout import ProgressTimeout
from vlamon.protocol.block import Block
from vlamon.records import Status

STUCK = 10.0
"""Seconds at the end in which a disk that takes anything at all takes something."""
_STATUS_EVERY = 10.0
"""Seconds between two statuses in the journal while the state stays the same."""


class JournalFeed:
    """On the sidecar's thread; `warn` tells the monitors."""

    def __init__(
        self, journal: Journal | None, history: History, warn: Callable[[str], None]
    ) -> None:
        self.journal = journal
        self._history = history
        self._warn = warn
        self._greeting_written = -1
        """The greeting and the status that the journal has, and when it got the status."""
        self._status_written: Status | None = None
        self._status_written_at = -math.inf
        self._failure_reported = False

    def add_frame(self, frame: bytes) -> None:
        """A message as it was sent."""
        if self.journal is not None:
            self.journal.add_frame(frame)

    def add_block(self, block: Block) -> None:
        """Rows as they were sent, with the weights in force."""
        if self.journal is not None:
            self.journal.add_block(block, dict(self._history.log.weights))

    def greet(self) -> None:
        """Write the greeting again where it has changed; before the rows that need it."""
        if self.journal is not None and self._greeting_written != self._history.greetings:
            self._greeting_written = self._history.greetings
            self.journal.add_frame(self._history.greeting)

    def tend(self) -> None:
        """Status into the journal, and its failure, once, to everybody."""
        log, journal = self._history.log, self.journal
        if journal is None:
            log.forget(None)
            return
        self._write_status(journal)
        journal.tick()
        while journal.news:
            self._warn(journal.news.popleft())
        if journal.failure and not self._failure_reported:
            self._failure_reported = True
            self._warn(f"the journal {journal.path} stopped ({journal.failure}); training goes on")
        log.forget(None if journal.failure else journal.flushed_seq)

    def _write_status(self, journal: Journal) -> None:
        """At each change of state, else rarely: its snapshots would be half of the journal."""
        status, before, now = self._history.status, self._status_written, time.monotonic()
        if status is None or status is before:
            return
        same = before is not None and before.state == status.state
        if not same or now - self._status_written_at >= _STATUS_EVERY:
            journal.add_frame(self._history.status_frame)
            self._status_written, self._status_written_at = status, now

    # ---- at the end ----

    def await_room(self, turn: Callable[[float], None]) -> None:
        """Wait until half of the queue is free: at the end a slow disk holds nothing up."""
        self._await_disk(QUEUE // 2, turn)

    def await_all(self, turn: Callable[[float], None]) -> None:
        """Wait until the disk has everything, or takes nothing any more."""
        self._await_disk(0, turn)

    def _await_disk(self, most: int, turn: Callable[[float], None]) -> None:
        """Until at most so many bytes wait for the disk; a stuck disk ends the journal."""
        journal = self.journal
        if journal is None or (most and journal.waiting <= most):
            return
        timeout = ProgressTimeout(STUCK)
        full_since = journal.tries
        while journal.waiting > most and not journal.failure:
            journal.push()
            turn(0.02)
            if not most and journal.trouble and journal.tries > full_since + 1:
                journal.give_up(journal.trouble)  # the run ends: there is no later to wait for
            elif not timeout.left(journal.written):
                journal.give_up(f"the disk took nothing for {STUCK:g} s")

    def close(self, timeout: float) -> None:
        """Close, and say what the journal lacks where somebody may still read it: on stderr."""
        journal = self.journal
        if journal is None:
            return
        journal.close(timeout)
        lost = self._history.log.end - journal.flushed_seq
        if journal.failure:
            rows = f"the last {lost} rows are not in it" if lost else "every row is in it"
            say(f"the journal {journal.path} stopped ({journal.failure}): {rows}")

    def abandon(self) -> None:
        """In a forked child: let go of the descriptor."""
        if self.journal is not None:
            self.journal.abandon()

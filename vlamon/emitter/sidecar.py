"""The sidecar: one thread of the training process that turns what was logged into frames.

The training thread only appends to `inbox`; this thread looks every 50 ms, and every 40 while
somebody watches. It is never woken: waking it was measured to cost the training 76–125 µs a step,
looking costs nothing measurable.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlamon.emitter.backlog import Backlog
from vlamon.emitter.commands import CommandInbox
from vlamon.emitter.history import History
from vlamon.emitter.journal_feed import JournalFeed
from vlamon.emitter.journal_writer import Journal
from vlamon.emitter.progress_timeout import ProgressTimeout
from vlamon.emitter.queue import Item, Listener, NewAttempt, NewWeights, Owner, RankColumns
from vlamon.emitter.rank_tally import RankTally
from vlamon.emitter.server import Server
from vlamon.emitter.status import StatusBoard
from vlamon.emitter.values import PendingValues, name_problem
from vlamon.hardware import GpuSample
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.block import Block, Row
from vlamon.protocol.frames import HEADER, Message, ProtocolError, pack, unpack
from vlamon.records import EpochRow, Event, Kind, MetricsAnnounced, MetricSpec, Record, Reply

if TYPE_CHECKING:
    from vlamon.emitter.watching import Watching

TICK = 0.05
"""Seconds between two looks at the inbox."""
WATCHED = 0.04
"""The same while somebody watches: most of the way from a batch to a screen is this wait."""
HUNG = 1.0
"""Seconds at the end for a copy from the GPU that the next row waits for."""
DRAIN = 2.0
"""Seconds at the end that a subscriber may take nothing of what is left."""
LONGEST = 10.0
"""Seconds at the end for subscribers that take what is left, but slowly."""
_FLUSH_EVERY = 0.5
"""Seconds between two blocks while nobody watches; then every look makes one."""
_BATCH = 20_000
"""Items taken at one look; a script that logs faster than that is caught up with over several."""
_CELLS = 200_000
"""Values taken at one look: about a tenth of a second."""


class Sidecar:
    """Owns everything that is not the training thread's; `run` is the thread's body."""

    def __init__(
        self,
        inbox: deque[Item],
        history: History,
        commands: CommandInbox,
        server: Server | None,
        journal: Journal | None,
        owner: Owner,
        listeners: Sequence[Listener] = (),
        tally: RankTally | None = None,
    ) -> None:
        self.inbox = inbox
        self.history = history
        self.commands = commands
        self.server = server
        if server is not None:
            server.flush = self._flush_rows
        self.journal = JournalFeed(journal, history, owner.warn)
        self.owner = owner
        self.listeners = listeners
        self.tally = tally
        self.watching: Watching | None = None
        """Reports explosions where the run asked for it."""
        self._ranks: Mapping[str, float] = {}
        self.attempt = history.attempt
        self.last_step: int | None = None
        """Step of the last row of this attempt."""
        self.stopping = threading.Event()
        self.turns = 0
        """Grows as long as this thread is not stuck in a call."""
        self._taken = 0
        """Items taken out of the inbox."""
        self._backlog = Backlog(inbox, owner)
        self._behind = False
        """Whether the last look left something that it could have taken."""
        self._rows: list[Row] = []
        self._flushed_at = -math.inf
        self._weights: Mapping[str, float] = {}
        self._new_weights = True
        self._known = {spec.name for spec in history.info.metrics}
        self._announced = True
        self._board = StatusBoard(history.info.total_steps)

    def abandon(self) -> None:
        """In a forked child: let go of every descriptor."""
        if self.server is not None:
            self.server.abandon()
        self.journal.abandon()

    # ---- the thread ----

    def run(self) -> None:
        """Look, pack and serve until stopped; then let readers take what is left."""
        while not self.stopping.is_set():
            self._turn(WATCHED if self._watched else TICK)
        self._take_rest()
        self._finish()

    def _turn(self, wait: float) -> None:
        """One look. A fault in here is counted; it never reaches the training."""
        self.turns += 1
        try:
            self._look()
        except Exception as error:
            self.owner.swallow(f"the sidecar failed: {type(error).__name__}: {error}"[:200])
        server = self.server
        if server is None:
            time.sleep(0.0 if self._behind else wait)
            return
        try:
            server.serve(0.0 if self._behind else wait)
        except Exception as error:
            self.owner.swallow(f"the server failed: {type(error).__name__}: {error}"[:200])
            self.stopping.wait(wait)  # a fault that comes back must not spin

    @property
    def _watched(self) -> bool:
        return self.server is not None and bool(self.server.subscribers)

    def _look(self) -> None:
        self.journal.greet()
        self._take()
        if self._watched or self._behind or time.monotonic() - self._flushed_at >= _FLUSH_EVERY:
            self._flush_rows()
        self.history.tell_control(self.commands.serving)
        if self._board.due(time.monotonic()):
            status = self._board.status(time.time(), self.attempt)
            self.history.set_status(status)
            self._tell(status)
        self.journal.tend()
        self._backlog.tell()

    def _take_rest(self) -> None:
        """What the script logged last, however much it is; only a GPU that hangs ends it early."""
        timeout = ProgressTimeout(HUNG)
        while True:
            self._turn(0.005)
            if not self.inbox:
                return
            self.journal.await_room(self._turn)
            if not timeout.left(self._taken):
                lost = len(self.inbox)
                self.inbox.clear()
                self.owner.swallow(f"{lost} batches and events behind a GPU that hangs")
                return

    def _finish(self) -> None:
        self.commands.close()
        self._flush_rows()
        self._backlog.tell(at_once=True)
        self.inbox.extend(self.owner.last_words())
        self._board.hurry()
        self._turn(0.0)
        try:
            self.journal.await_all(self._turn)
            self._say_goodbye()
        finally:
            self.journal.close(DRAIN)
            if self.server is not None:
                self.server.close()

    def _say_goodbye(self) -> None:
        """Let every subscriber take what is left."""
        server = self.server
        if server is None:
            return
        self._turn(0.0)  # the news that the journal stopped is news for them
        self._turn(0.0)
        server.say_goodbye("the training ended")
        timeout = ProgressTimeout(DRAIN, LONGEST)
        while server.subscribers and timeout.left(server.sent):
            self.turns += 1
            server.serve(0.02)

    # ---- from the training thread ----

    def _take(self) -> None:
        late = 0 if self.stopping.is_set() else self._backlog.excess()  # at the end no more come
        cells, self._behind = 0, False
        for _ in range(min(len(self.inbox), _BATCH)):
            item = self.inbox[0]
            if late and isinstance(item, tuple):
                late -= 1
                self._leave_out(item[0])
                self.inbox.popleft()
                continue
            try:
                if (
                    isinstance(item, tuple)
                    and isinstance(item[3], PendingValues)
                    and not item[3].ready()
                ):
                    return  # everything stays in order behind the GPU's copy
            except Exception as error:  # a CUDA context that broke fails for ever
                self.owner.swallow(f"a value from the GPU: {type(error).__name__}: {error}"[:200])
                self.inbox.popleft()
                self._taken += 1
                continue
            self.inbox.popleft()
            self._taken += 1
            try:
                self._take_one(item)
            except ProtocolError as error:
                self.owner.swallow(f"could not be sent: {error}"[:200])
            except MemoryError:
                if isinstance(item, tuple):  # a row is taken as the last thing, so not yet
                    self.inbox.appendleft(item)
                raise
            cells += len(item[3]) if isinstance(item, tuple) else 0
            if cells > _CELLS:
                break
        self._behind = len(self.inbox) >= (1 if cells > _CELLS else _BATCH)

    def _leave_out(self, step: Any) -> None:
        """Leave a row out, and still take the attempt from its step."""
        self._flush_rows()
        self._taken += 1
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = int(step)
            if self.last_step is not None and number < self.last_step:
                self._start_attempt(self.attempt + 1)
            self.last_step = number
        self._backlog.leave_out(self.last_step or 0)

    def _take_one(self, item: Item) -> None:
        if isinstance(item, tuple):
            self._take_row(*item)
        elif isinstance(item, Event):
            self._take_event(self._placed(item))
        elif isinstance(item, EpochRow):
            self._note(messages.encode(replace(item, attempt=self.attempt)))
        elif isinstance(item, GpuSample):
            self._take_gpu(item)
        elif isinstance(item, Reply):
            self.commands.settle(item)
        elif isinstance(item, NewWeights):
            self._flush_rows()
            self._weights = item.weights
            self._new_weights = True
        elif isinstance(item, NewAttempt):
            self._start_attempt(item.attempt)
        elif isinstance(item, RankColumns):
            self._ranks = item.values
        else:
            self._board.set(item.fields)
            if self.tally is not None and "phase" in item.fields:
                self.tally.phase(item.time, item.fields["phase"])

    def _tell(self, record: Record | Block) -> None:
        for listener in self.listeners:
            listener.observe(record)

    def _take_event(self, event: Event) -> None:
        """No event is ever dropped; data that no frame can carry is."""
        self._tell(event)
        try:
            self._note(messages.encode(event))
        except ProtocolError as error:
            self.owner.swallow(f"the data of an event: {error}"[:200])
            self._note(messages.encode(replace(event, data={})))

    def _take_gpu(self, sample: GpuSample) -> None:
        names = tuple(device.name for device in sample.devices)
        if names != self.history.info.devices:
            self.history.change_info(devices=names)
        frame = self.history.add_gpu(sample)
        self.journal.add_frame(frame)

    def _placed(self, event: Event) -> Event:
        """The event with the attempt, and where the script named none the step, it happened at."""
        step = event.step if event.step >= 0 else self.last_step or 0
        return replace(event, step=step, attempt=self.attempt)

    def _take_row(
        self, step: Any, epoch: Any, when: float, metrics: dict[str, float] | PendingValues
    ) -> None:
        try:
            step = int(step)
            number = math.nan if epoch is None else float(epoch)
            if math.isinf(number):
                self.owner.swallow("an infinite epoch")
                number = math.nan  # unknown; the row itself is good
        except (TypeError, ValueError, OverflowError) as error:
            self.owner.swallow(f"step or epoch is not a number: {error}"[:200])
            return
        if not -blocks.MAX_STEP < step < blocks.MAX_STEP:
            self.owner.swallow("step does not fit 53 bits")
            return
        if isinstance(metrics, PendingValues):
            metrics = metrics.take()
        if self.last_step is not None and step < self.last_step:
            self._start_attempt(self.attempt + 1)
        if self.tally is not None:
            self.tally.row(when, step, metrics)
            metrics, self._ranks = {**metrics, **self._ranks}, {}
        if not metrics.keys() <= self._known:
            metrics = self._announce(metrics)
        self._board.row(when, step, None if math.isnan(number) else number)
        self.last_step = step
        self._rows.append((step, number, when, metrics))

    def _start_attempt(self, attempt: int) -> None:
        self._flush_rows()
        self.attempt = attempt
        self.last_step = None
        self._board.new_attempt()

    def _announce(self, metrics: dict[str, float]) -> dict[str, float]:
        """Tell the names that are new, before the first row that uses them."""
        self._flush_rows()
        specs = []
        for name in metrics:
            if name in self._known:
                continue
            problem = name_problem(name, len(self._known))
            if problem:
                self.owner.swallow(problem)
                continue
            weight = self._weights.get(name)
            kind: Kind = "watched" if weight is None else "trained"
            specs.append(MetricSpec(name, kind, weight))
            self._known.add(name)
        if specs:
            self._note(messages.encode(MetricsAnnounced(tuple(specs))))
            self.history.announce(tuple(specs))
            self._announced = True
        return {name: value for name, value in metrics.items() if name in self._known}

    # ---- to the log ----

    def _note(self, message: Message) -> None:
        self._flush_rows()
        # Read as a monitor will: a note that it would refuse must never be sent.
        messages.decode(unpack(pack(message)[HEADER.size :]))
        frame = self.history.notes.append(message, self.history.log.end)
        self.journal.add_frame(frame)

    def _flush_rows(self) -> None:
        """The rows so far become a block; what comes next stands behind it."""
        self._flushed_at = time.monotonic()
        if not self._rows:
            return
        first, per_block = 0, blocks.rows_per_block(len(self._known))
        rows, self._rows = self._rows, []
        try:
            while first < len(rows):
                weights = self._weights if self._new_weights else None
                some = rows[first : first + per_block]
                seq = self.history.log.end + self._backlog.hole
                block = blocks.from_rows(seq, self.attempt, some, weights)
                self.history.log.append(block, opens=self._announced)
                self._backlog.hole = 0
                first += block.rows
                self._new_weights = self._announced = False
                self._hand_over(block)
        except MemoryError:
            self._rows = rows[first:]
            raise

    def _hand_over(self, block: Block) -> None:
        """Hand a block that is in the log to the journal, the listeners and the detectors."""
        try:
            self.journal.add_block(block)
        except MemoryError:
            self.journal.add_block(block)  # what was in the making is free again
        self._tell(block)
        self._watch(block)

    def _watch(self, block: Block) -> None:
        if self.watching is None:
            return
        try:
            self.inbox.extend(self.watching.observe(block))
        except Exception as error:
            self.watching = None
            self.owner.swallow(f"watching ended: {type(error).__name__}: {error}"[:200])

"""The training side's handle: three lines in a script, and nothing of it slows the training down.

`log` only appends to a deque. A thread of its own (vlamon/emitter/sidecar.py) packs, stores and
sends. After construction nothing here raises into the caller: what could not be kept is counted
in `swallowed` and reported to the monitors as an event.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from vlamon.emitter import lifecycle
from vlamon.emitter.alerting import command_line
from vlamon.emitter.arguments import EmitterError as EmitterError
from vlamon.emitter.arguments import (
    checked_alerts,
    checked_choice,
    checked_count,
    checked_path,
    checked_weights,
    floats,
)
from vlamon.emitter.commands import CommandInbox, outcome
from vlamon.emitter.drop_counter import DropCounter
from vlamon.emitter.events import EventMaker
from vlamon.emitter.exit_code import of_code
from vlamon.emitter.places import Claimed, claim, run_directory, say, socket_path
from vlamon.emitter.queue import Item, NewAttempt, NewWeights, StatusChange
from vlamon.emitter.rank_exchange import RankExchange
from vlamon.emitter.run_info import describe
from vlamon.emitter.service import Service, ServiceOptions
from vlamon.emitter.status import checked
from vlamon.emitter.values import PendingValues, scalar, settle
from vlamon.protocol.address import AddressError
from vlamon.protocol.commands import Command, Peer
from vlamon.protocol.journal import JournalError
from vlamon.protocol.sanitize import text as plain_text
from vlamon.ranks import Ranks, ranks
from vlamon.records import EpochRow, Event, Phase, Reply, RunInfo, RunState, Severity
from vlamon.safe_text import line

_MISSING: Any = None  # the step of a call that names none


class Emitter:
    """Sends a run's batches, events and status to its monitors; see docs/emitter.md."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        run: str = "",
        run_dir: str | os.PathLike[str] | None = None,
        weights: Mapping[str, float] | None = None,
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        vocab: int | None = None,
        share: bool = False,
        read_only: bool = False,
        on_conflict: Literal["warn", "raise"] = "warn",
        alerts: bool | str | None = None,
        watch: bool = False,
        annotate: bool = False,
    ) -> None:
        """Serve on the Unix socket `path` and keep a journal in `run_dir`; either may be None.

        `path="auto"` chooses a place where monitors look. Of several ranks only rank 0 serves,
        unless the path names the rank: `/tmp/vla-{rank}.sock`. A place that another run holds, or
        that cannot be used safely, is a warning, and a place beside it is used; with
        `on_conflict="raise"` it is an EmitterError. Arguments of a wrong type always are.

        `alerts=True` sends messages over the channels of docs/alerts.md, a string is a command that
        gets them, too; by default $VLAMON_ALERT says. Rank 0 sends them. `watch=True` reports
        explosions as events though the run has neither a guard nor a monitor. `annotate=True`
        writes explosions, rollbacks and pauses into the W&B or SwanLab run that the script has.
        """
        self._boot = uuid.uuid4().hex
        self._owner = os.getpid()
        self._inbox: deque[Item] = deque()
        self._append = self._inbox.append
        self._now = time.time
        self._events = EventMaker(self._boot)
        self._dropped = DropCounter()
        self._attempt = 0
        self._end_reason = ""
        self._open = True
        self._service: Service | None = None
        self._exchange: RankExchange | None = None

        self._weights = checked_weights(weights)
        strict = checked_choice("on_conflict", on_conflict, ("warn", "raise")) == "raise"
        given_path, given_dir = checked_path("path", path), checked_path("run_dir", run_dir)
        steps = checked_count("total_steps", total_steps)
        per_epoch = checked_count("steps_per_epoch", steps_per_epoch)
        words = checked_count("vocab", vocab)
        here = ranks()
        called = command_line(checked_alerts(alerts))
        alerted = None if here.rank else called
        place = socket_path(given_path, run or os.path.basename(given_dir or ""), here)
        folder = run_directory(given_dir, given_path, here)
        options = ServiceOptions(share, read_only, bool(watch), alerted, bool(annotate))
        if place is None and folder is None and alerted is None:
            self._start_unserved(here, bool(given_path or given_dir or called is not None))
            return
        info = describe(self._boot, place, run, folder, self._weights, here)
        info = replace(info, total_steps=steps, steps_per_epoch=per_epoch, vocab=words)
        try:
            claimed = claim(place, folder, share, strict)
        except (AddressError, JournalError) as error:
            raise EmitterError(str(error)) from error
        if here.world_size > 1:
            self._see_ranks(here, None)
        self._start(claimed, info, options)

    def _start_unserved(self, here: Ranks, rank_0_serves: bool) -> None:
        """Serve nothing: report to rank 0 where that one serves, else discard what is logged."""
        self._commands = CommandInbox(os.geteuid())
        if here.rank and rank_0_serves:
            self._see_ranks(here, self._inbox)
            lifecycle.began(self)
            return
        if not here.rank:
            say("this emitter has neither a path nor a run_dir: nothing is shown or kept")
        self._append = _discard

    def _see_ranks(self, here: Ranks, unwatched: deque[Item] | None) -> None:
        self._exchange = RankExchange(here, self._inbox.append, self._events.make, unwatched)

    def _start(self, claimed: Claimed, info: RunInfo, options: ServiceOptions) -> None:
        past, tally = claimed.past, None if self._exchange is None else self._exchange.tally
        self._attempt = past.last_attempt + 1
        self._user = info.user
        commands = CommandInbox(os.geteuid(), options.read_only, self._answered, self.swallow)
        self._commands = commands
        self._service = Service(claimed, info, options, self._inbox, commands, self, tally)
        if self._weights:
            self._append(NewWeights(dict(self._weights)))
        if past.next_seq:
            again = f"the training started again: attempt {self._attempt}"
            self.event("note", past.last_step, text=again)
        if past.torn:
            self.warn(past.damage)
        self._service.start()
        lifecycle.began(self)
        for problem in claimed.problems:
            say(problem)
            self.warn(problem)

    # ---- what a script sends ----

    def log(
        self,
        /,
        step: int = _MISSING,
        epoch: float | None = None,
        *surplus: Any,
        **metrics: Any,
    ) -> None:
        """One batch: floats, ints, NumPy, 0-dim tensors, lists. None is a metric without value.

        `step` is needed; a call without it, or with more by place, is counted and not raised.
        """
        try:
            if surplus:
                raise TypeError("step and epoch alone are given by place, metrics by name")
            values: dict[str, float] | PendingValues = metrics
            for name, value in metrics.items():
                if type(value) is not float:
                    number = scalar(value)
                    if number is None:
                        values = settle(metrics, self.swallow)
                        break
                    metrics[name] = number  # the dict is this call's own; no key comes or goes
            self._append((step, epoch, self._now(), values))
        except Exception as error:
            self._keep_back("log", error)

    def log_epoch(
        self,
        epoch: float,
        split: str,
        metrics: Mapping[str, Any],
        step: int | None = None,
    ) -> None:
        """Averages over an epoch or an evaluation; `split` is train, val_ind, val_ood …"""
        try:
            values = settle(metrics, self.swallow)
            if isinstance(values, PendingValues):  # once an epoch: waiting here costs nothing
                values = values.wait()
            named = line(plain_text(split))
            if not math.isfinite(float(epoch)):
                raise ValueError(f"epoch is {float(epoch)}")
            at = None if step is None else int(step)
            row = EpochRow(float(epoch), named, values, self._attempt, at, self._now())
            self._append(row)
        except Exception as error:
            self._keep_back("log_epoch", error)

    def event(
        self,
        kind: str,
        /,
        step: int | None = None,
        *,
        text: str = "",
        severity: Severity | None = None,
        **data: Any,
    ) -> str:
        """Send an event to every monitor. Returns its id, which a command in answer carries."""
        try:
            event = self._events.make(self._attempt, kind, step, text, severity, data)
            self._events.note_end(kind)
            self._append(event)
        except Exception as error:
            self._keep_back("event", error)
            return ""
        return event.id

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """The weights in force from the next batch on."""
        try:
            self._weights = floats(weights)
            self._append(NewWeights(dict(self._weights)))
        except Exception as error:
            self._keep_back("set_weights", error)

    @property
    def weights(self) -> Mapping[str, float]:
        """The loss weights in force; empty where the script named none."""
        return self._weights

    @property
    def attempt(self) -> int:
        """The attempt that the next batch belongs to: 0, and one more after each rollback."""
        if self._service is None:
            return self._attempt
        sidecar = self._service.sidecar
        return max(self._attempt, sidecar.attempt)  # a step that fell began another one

    def set_attempt(self, attempt: int) -> None:
        """Begin another attempt; call it after a rollback and before the next `log`."""
        try:
            self._attempt = int(attempt)
            self._append(NewAttempt(self._attempt))
        except Exception as error:
            self._keep_back("set_attempt", error)

    def status(
        self, *, state: RunState | None = None, phase: Phase | None = None, **fields: Any
    ) -> None:
        """What the trainer does now; only what changed need be given. Cheap enough for each phase.

        Fields: step, epoch, steps_per_second, eta, snapshots, budget, guard, deadline. Step, speed
        and eta are known from the batches and need not be given.
        """
        try:
            if state is not None:
                fields["state"] = state
            if phase is not None:
                fields["phase"] = phase
            self._append(StatusChange(checked(fields), self._now()))
        except Exception as error:
            self._keep_back("status", error)

    def commands(self) -> Sequence[Command]:
        """Commands that came since the last call; ask at each step boundary, answer each.

        The first call tells the monitors that this training takes commands.
        """
        return self._commands.hand_out()

    def _answered(self, command: Command, reply: Reply) -> None:
        """Send the answer, and record who asked for what."""
        origin = command.origin or Peer(0, -1)
        at = reply.result.get("step")  # after a rollback no batch says it
        self.event(
            "control",
            step=at if isinstance(at, int) else None,
            text=outcome(command, reply, self._user),
            severity="info" if reply.ok else "warn",
            command=command.name,
            args=command.args,
            command_id=command.id,
            ok=reply.ok,
            result=reply.result,
            error=reply.error,
            uid=origin.uid,
            pid=origin.pid,
        )
        self._append(reply)

    # ---- what went wrong ----

    @property
    def swallowed(self) -> int:
        """How many values and calls were kept back because they could not be understood."""
        return self._dropped.total

    @property
    def swallowed_by_reason(self) -> Mapping[str, int]:
        """The same, by reason."""
        return self._dropped.by_reason()

    def _keep_back(self, call: str, error: Exception) -> None:
        """A call failed. No context manager: making one takes memory that there may not be."""
        self.swallow(f"{call} failed: {type(error).__name__}: {error}"[:200])

    def swallow(self, reason: str, count: int = 1) -> None:
        """Count; the first of a kind is reported at once, the total at the end. On any thread."""
        first = self._dropped.add(reason, count)
        if first and os.getpid() == self._owner:
            text = f"vlamon left something out: {first}"
            # Not through `_append`: the sidecar may find out after the script has ended.
            self._inbox.append(
                self._events.make(self._attempt, "note", message=text, severity="warn")
            )

    def warn(self, text: str) -> None:
        self._inbox.append(self._events.make(self._attempt, "warn", message=text))

    # ---- the end ----

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, SystemExit | KeyboardInterrupt):
            self.event("trainer_error", text=f"{type(error).__name__}: {error}")
        if isinstance(error, SystemExit):
            self.close_at_exit(of_code(error.code))
        else:
            self.close("" if error is None else f"stopped by {type(error).__name__}")

    def at_end(self, **data: Any) -> None:
        """What the `end` event is to hold besides; the last value of a name counts."""
        try:
            self._events.last_data |= data
        except Exception as error:
            self._keep_back("at_end", error)

    def close(self, reason: str = "") -> None:
        """Write and send what is left, say goodbye and give the path back. May come twice.

        It takes as long as the disk takes bytes; a stuck disk ends the wait after 10 s, monitors
        that read nothing after 2 s. `reason` is what the `end` event says; it is an error where a
        `trainer_error` came before.
        """
        still_open, self._open = self._open, False
        if not still_open or os.getpid() != self._owner:
            return
        if self._exchange is not None:
            self._exchange.close(reason, self._events.failed)
        if self._service is not None:
            self.status(state="ended")
            self._end_reason = reason
        if self._service is not None or self._exchange is not None:
            self._append = self._too_late
        if self._service is not None:
            self._service.stop()
        lifecycle.ended(self)

    def _too_late(self, item: Item) -> None:
        """Replaces the inbox after the end, so that a late metric is not lost without a word."""
        self._dropped.add("the emitter is closed")

    def last_words(self) -> list[Event]:
        """The events that end the run; called by the sidecar, on its thread."""
        summary, reasons = self._dropped.summary(), self.swallowed_by_reason
        return self._events.last_words(self._attempt, self._end_reason, summary, reasons)

    def close_at_exit(self, why: str) -> None:
        """Close what the script left open; `why` tells what ended it before its time."""
        self._events.failed |= bool(why)
        self.close(why)

    def abandon(self) -> None:
        """In a forked child: let go of everything, which is the parent's, and send nothing."""
        self._append = _discard
        self._inbox.clear()
        self._dropped.abandon()
        if self._service is not None:
            self._service.sidecar.abandon()


def _discard(item: Item) -> None:
    """Replaces the inbox where nothing reads it."""

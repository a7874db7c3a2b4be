"""Commands from outside, carried out at a step boundary by every rank.

A pause is one state and one loop: every command that arrives while it lasts, another pause
included, is carried out or refused in that loop, and only what moves the training on ends it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlamon.guard import collectives, command_queue
from vlamon.guard.autopsy import Explosion
from vlamon.guard.command_queue import AgreedCommand, CommandCode, CommandQueue
from vlamon.guard.detection import Detection
from vlamon.guard.ending import Ending
from vlamon.guard.ledger import Ledger
from vlamon.guard.lr_scale import LrScale
from vlamon.guard.policy import Decision
from vlamon.guard.reporting import Reporter
from vlamon.guard.response import Answer, Continue, Question, Response, Stop
from vlamon.guard.rollback import Request, Rollback, RollbackRefused
from vlamon.guard.snapshots import Snapshots
from vlamon.guard.status import StatusReporter

POLL = 0.05
"""Seconds between two looks at the queue while the training is paused."""


@dataclass(slots=True)
class Pause:
    """A training that stands still at a step boundary."""

    why: str
    """One clause for the event."""
    deadline: float | None = None
    """When the policy is asked again, on the monotonic clock; None where it waits for ever."""
    explosion: Explosion | None = None
    """What the operator is asked about; None for a pause that was commanded."""
    decision: Decision | None = None
    """The policy's, to ask."""


class Commands:
    """What an operator may tell a training."""

    def __init__(
        self,
        queue: CommandQueue,
        ledger: Ledger,
        detection: Detection,
        snapshots: Snapshots,
        rollback: Rollback,
        response: Response,
        lr_scale: LrScale,
        reporter: Reporter,
        status: StatusReporter,
        ending: Ending,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._detection = detection
        self._snapshots = snapshots
        self._rollback = rollback
        self._response = response
        self._lr_scale = lr_scale
        self._reporter = reporter
        self._status = status
        self.ending = ending
        """Whether this rank is asked to end the training."""
        self.stopped = False
        """Whether the training is to end."""
        self.signalled = False
        """Whether a signal to some rank ends it."""
        self._carried: AgreedCommand | None = None
        """Rank 0: the command that is on its way through the ballot."""
        self._pause: Pause | None = None
        """Why the training stands still; None while it runs."""

    def next(self) -> AgreedCommand | None:
        """Rank 0's next command, for the ballot; asking tells the monitors that some are taken."""
        emitter = self._reporter.emitter
        if emitter is None:
            return None
        commands = emitter.commands()
        if commands:
            self._queue.take_in(commands, self._note)
        if self._carried is None:
            self._carried = self._queue.next()
        return self._carried

    def agreed(self, code: CommandCode | None) -> AgreedCommand | None:
        """The command that the ballot brought to all ranks; on rank 0 with whom to answer."""
        if code is None:
            return None
        carried, self._carried = self._carried, None
        return carried if carried is not None else AgreedCommand(code)

    def execute(self, command: AgreedCommand, step: int) -> int:
        """Carry a command out, and stand still as long as it asks for: the next step."""
        following = self._carry_out(command, step)
        return self._hold(step) if following is None else following

    def end_if_requested(self, step: int) -> None:
        """Some rank was asked to end: all of them end behind this step. Called by all ranks."""
        said = collectives.everyone(self.ending.signalled if self.ending.requested() else None)
        places = [rank for rank, each in enumerate(said) if each is not None]
        signals = sorted({each for each in said if each})
        by = f" by {' and '.join(signals)}" if signals else ""
        where = f" on rank {', '.join(map(str, places))}" if len(said) > 1 else ""
        text = f"told to end{by}{where}: the training stops behind step {step}"
        self._reporter.event("note", step, text, "warn")
        self.stopped, self.signalled = True, bool(signals)

    def settle(self, step: int, answer: Answer) -> int:
        """The next step, once the operator has answered what there is to ask."""
        if isinstance(answer, Continue):
            return answer.step
        if isinstance(answer, Stop):
            return self._end(step, answer)
        self._ask(step, answer)
        return self._hold(step)

    def _note(self, text: str, args: Mapping[str, Any]) -> None:
        self._reporter.event("note", self._detection.last_step, text)

    def _carry_out(self, command: AgreedCommand, step: int) -> int | None:
        """Carry a command out: the next step, or None where the training stays where it is.

        A wrong command is refused with the reason, and never ends the training.
        """
        try:
            return self._dispatch(command, step)
        except Exception as error:
            text = f"{command.code.name} failed: {type(error).__name__}: {error}"
            logging.getLogger("vlamon.guard").exception("step %d: %s", step, text)
            self._reporter.event("note", step, text, "error")
            command.refuse(text)
            if command.code.name == command_queue.ACT and self._pause is not None:
                self._pause.deadline = None  # it would fail again: only the operator can help
            self._status.refresh()
            return None

    def _dispatch(self, command: AgreedCommand, step: int) -> int | None:
        match command.code.name:
            case "checkpoint":
                self._status.during("checkpointing")
                self._snapshots.write(step, command)
                self._status.refresh()
            case "rollback":
                return self._roll_back(command, step)
            case "pause":
                self._pause_ordered(step)
                command.done({"step": step})
            case "resume":
                return self._resume(command, step)
            case "stop":
                self.stopped = True
                following = self._go_on(step, "to stop")
                command.done({"step": step})
                return following
            case "set":
                self._set(command)
            case command_queue.ACT:
                return self._act(step)
        return None

    def _pause_ordered(self, step: int) -> None:
        if self._pause is None:
            self._enter_pause(step, Pause("paused by the operator"))
        else:
            self._pause.deadline = None  # somebody is there and needs time
            self._status.enter("paused")

    def _resume(self, command: AgreedCommand, step: int) -> int | None:
        if self._pause is None:
            command.refuse("the training is not paused")
            return None
        if self._pause.explosion is not None and self._detection.episode is not None:
            self._detection.episode.accepted = True
        following = self._go_on(step, "by the operator")
        command.done({"step": step})
        return following

    def _roll_back(self, command: AgreedCommand, step: int) -> int | None:
        args = self._queue.arguments(command.code)
        data = args.get("data", "default")
        request = Request(
            step=step,
            explosion=self._pause.explosion if self._pause else None,
            to=args.get("to"),
            exact="to" in args and args.get("exact", False),
            data=None if data == "default" else data,
        )
        done = self._rollback.run(request)
        if isinstance(done, RollbackRefused):
            command.refuse(done.why)
            self._status.refresh()
            return None
        self._end_pause(done.step, "after the rollback")
        command.done(done.summary)
        return done.following

    def _set(self, command: AgreedCommand) -> None:
        args = self._queue.arguments(command.code)
        name, value = args["name"], args["value"]
        before: Any = None
        try:
            if name == "guard":
                before, self._ledger.mode = self._ledger.mode, value
            elif name == "lr_scale":
                before = self._ledger.lr_scale
                self._lr_scale.set(value)
                self._ledger.lr_scale = value
                if self._detection.episode is not None:  # it is not the ladder's to take back
                    self._detection.episode.lowered_from = None
            else:
                before = self._queue.settable[name](value)
        except Exception as error:
            command.refuse(f"{name} could not be set: {error}")
            return
        if name not in ("guard", "lr_scale"):
            self._detection.detectors.reset()  # another weight or clip: no level is usual any more
        asked = self._pause is not None and self._pause.explosion is not None
        if name == "guard" and before != self._ledger.mode and not asked:
            self._detection.episode = None  # what one mode let pass, another has yet to answer
        command.done({"name": name, "before": before, "value": value})
        self._status.refresh()

    def _act(self, step: int) -> int | None:
        """Nobody answered before the deadline."""
        pause = self._pause
        assert pause is not None
        assert pause.explosion is not None
        answer = self._response.answer(step, pause.explosion, pause.decision)
        if isinstance(answer, Question):
            self._ask(step, answer)
            return None
        if isinstance(answer, Stop):
            return self._end(step, answer)
        self._end_pause(answer.step - 1, f"nobody answered: {answer.why}")
        return answer.step

    def _ask(self, step: int, question: Question) -> None:
        seconds = question.decision.deadline
        timed = seconds is not None and math.isfinite(seconds)
        why = f"explosion: {question.decision.why}; waiting for the operator"
        deadline = time.monotonic() + seconds if timed and seconds is not None else None
        self._enter_pause(step, Pause(why, deadline, question.explosion, question.decision))

    def _end(self, step: int, stop: Stop) -> int:
        """End a training with nothing left to try and no operator to ask."""
        explosion = self._pause.explosion if self._pause is not None else None
        self.stopped = True
        self._pause = None
        text = f"{stop.why}: the training stops"
        self._reporter.event("paused", step, text, "error")
        self._status.enter("training")
        return self._response.continue_without_rollback(step, explosion)

    def _enter_pause(self, step: int, pause: Pause) -> None:
        self._pause = pause
        seconds = None if pause.deadline is None else pause.deadline - time.monotonic()
        wall = None if seconds is None else time.time() + seconds
        self._reporter.event("paused", step, pause.why, "warn", deadline=wall)
        self._status.enter("paused", pause.deadline)

    def _hold(self, step: int) -> int:
        """Stand still until something moves the training on; every rank stands with it."""
        following: int | None = None
        while self._pause is not None:
            outcome = self._poll(self._pause)
            command = self.agreed(outcome.command)
            self._snapshots.checkpoints.poll()
            if outcome.ending:
                if command is not None:
                    command.refuse("the training is told to end")
                self.end_if_requested(step)
                following = self._go_on(step, "the training is told to end")
            elif command is not None:
                following = self._carry_out(command, step)
            else:
                time.sleep(POLL)
        return step + 1 if following is None else following

    def _poll(self, pause: Pause) -> collectives.Outcome:
        """The commands of all ranks; nothing is judged here."""
        mine = self.next()
        late = pause.deadline is not None and time.monotonic() >= pause.deadline
        if mine is None and late and collectives.rank() == 0:
            mine = self._carried = AgreedCommand(CommandCode(command_queue.ACT))
        return collectives.decided("ok", mine, ending=self.ending.requested())

    def _go_on(self, step: int, why: str) -> int:
        """Go on where the training stood, with what it was asked about as it is."""
        explosion = self._pause.explosion if self._pause is not None else None
        self._end_pause(step, why)
        if explosion is None:
            return step + 1
        return self._response.continue_without_rollback(step, explosion)

    def _end_pause(self, step: int, why: str) -> None:
        if self._pause is None:
            return
        self._pause = None
        self._reporter.event("resumed", step, why)
        self._status.enter("training")

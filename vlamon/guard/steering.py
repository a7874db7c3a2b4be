"""Orders from outside, carried out at a step boundary by every rank.

A pause is one state of the guard and one loop: whatever is ordered while it stands, another pause
included, is carried out or refused in that loop, and only what moves the training on ends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlamon.guard import collectives
from vlamon.guard.autopsy import Explosion
from vlamon.guard.orders import CHOICES, Order, OrderCode
from vlamon.guard.policy import MODES, Decision
from vlamon.guard.returning import Returning

POLL = 0.05
"""Seconds between two looks at the orders while the training is paused."""


@dataclass(slots=True)
class Pause:
    """A training that stands still at a step boundary."""

    why: str
    """One clause for the event."""
    deadline: float | None = None
    """When the guard acts by itself, on the clock of the wall; None where it waits for ever."""
    explosion: Explosion | None = None
    """What the operator is asked about; None for a pause that was ordered."""


class Steering(Returning):
    """What an operator may tell a guard."""

    _carried: Order | None = None
    """Rank 0: the order that is on its way through the ballot."""
    _pause: Pause | None = None
    """Why the training stands still; None while it runs."""

    def _take_order(self) -> Order | None:
        emitter = self.reporter.emitter
        if emitter is None:
            return None
        commands = emitter.commands()
        if commands:
            self.desk.take_in(commands, self._note)
        if self._carried is None:
            self._carried = self.desk.next()
        return self._carried

    def _note(self, text: str, args: Mapping[str, Any]) -> None:
        step = self._history[-1][0] if self._history else -1
        self.reporter.event("note", step, text)

    def _order_of(self, code: OrderCode | None) -> Order | None:
        """The order that all ranks agreed on; on rank 0 with the command to answer."""
        if code is None:
            return None
        carried, self._carried = self._carried, None
        return carried if carried is not None else Order(code)

    def _obey(self, order: Order, step: int) -> int | None:
        """Carry an order out: the next step, or None where the training stays where it is.

        Whatever is wrong with an order is told to whoever gave it, and never ends the training.
        """
        try:
            return self._carry_out(order, step)
        except Exception as error:
            text = f"{order.code.name} failed: {type(error).__name__}: {error}"
            logging.getLogger("vlamon.guard").exception("step %d: %s", step, text)
            self.reporter.event("note", step, text, "error")
            order.refuse(text)
            if order.code.name == "act" and self._pause is not None:
                self._pause.deadline = None  # it would fail again: only the operator can help
            self._tell_state()
            return None

    def _carry_out(self, order: Order, step: int) -> int | None:
        match order.code.name:
            case "checkpoint":
                self._tell("checkpointing")
                self.checkpoints.save(step, self.state, self._meta(), order)
                self._tell_state()
            case "rollback":
                return self._rollback_ordered(order, step)
            case "pause":
                if self._pause is None:
                    self._stand(step, Pause("paused by the operator"))
                else:
                    self._pause.deadline = None  # somebody came, and wants time
                    self._tell_state()
                order.done({"step": step})
            case "resume":
                return self._resume(order, step)
            case "stop":
                self.stopped = True
                nxt = self._leave_pause(step, "stop")
                order.done({"step": step})
                return nxt
            case "set":
                self._set(order)
            case "act":
                return self._act(step)
        return None

    def _resume(self, order: Order, step: int) -> int | None:
        if self._pause is None:
            order.refuse("the training is not paused")
            return None
        if self._pause.explosion is not None and self._episode is not None:
            self._episode.accepted = True
        nxt = self._leave_pause(step, "resume")
        order.done({"step": step})
        return nxt

    def _rollback_ordered(self, order: Order, step: int) -> int | None:
        to = int(order.code.first)
        data = CHOICES[int(order.code.second)]
        explosion = self._pause.explosion if self._pause else None
        nxt = self._roll_back(
            step,
            explosion,
            None,
            None if to < 0 else to,
            None if data == "default" else data,
            exact=bool(order.code.third),
        )
        if self._rolled is None:
            order.refuse(self._why_not)
            self._tell_state()
            return None
        self._end_pause(nxt - 1, "rollback")
        order.done(self._rolled)
        return nxt

    def _set(self, order: Order) -> None:
        name, value = self.desk.names[int(order.code.first)], order.code.second
        before: Any = None
        try:
            if name == "guard":
                before, self.policy.mode = self.policy.mode, MODES[int(value)]
            elif name == "lr_scale":
                before = self.policy.lr_scale
                self._scale_lr(value)
                self.policy.lr_scale = value
            else:
                before = self.desk.settable[name](value)
        except Exception as error:
            order.refuse(f"{name} could not be set: {error}")
            return
        if name not in ("guard", "lr_scale"):
            self.detectors.reset()  # another weight or clip: what was usual is usual no more
        asked = self._pause is not None and self._pause.explosion is not None
        if name == "guard" and before != self.policy.mode and not asked:
            self._episode = None  # what one mode let pass, another one has yet to answer
        now = self.policy.mode if name == "guard" else value
        order.done({"name": name, "before": before, "value": now})
        self._tell_state()

    def _act(self, step: int) -> int | None:
        """Nobody came before the deadline."""
        assert self._pause is not None
        explosion, decision = self._pause.explosion, self.policy.overdue()
        if decision.action == "ask":
            return self._ask_for_ever(step, decision, explosion)
        why = f"nobody came: {decision.why}"
        if decision.action == "report":
            return self._leave_pause(step, why)
        nxt = self._roll_back(step, explosion, decision)
        self._end_pause(nxt - 1, why)
        return nxt

    def _ask_for_ever(
        self, step: int, decision: Decision, explosion: Explosion | None
    ) -> int | None:
        """Only the operator can help: stand still for ever, or end where nobody can be asked."""
        if collectives.everyone(self.reporter.emitter is not None)[0]:
            self._stand(
                step, Pause(f"explosion: {decision.why}; waiting for the operator", None, explosion)
            )
            return None
        self.stopped = True
        why = f"{decision.why}, and there is no emitter to be asked through: the training stops"
        self.reporter.event("paused", step, why, "error")
        logging.getLogger("vlamon.guard").error("step %d: %s", step, why)
        self._pause = None
        return self._leave_it(step, explosion)

    def _stand(self, step: int, pause: Pause) -> None:
        """Begin to stand still."""
        self._pause = pause
        self.reporter.event("paused", step, pause.why, "warn", deadline=pause.deadline)
        self._tell_state()

    def _hold(self, step: int) -> int:
        """Stand still until something moves the training on; every rank stands with it."""
        nxt: int | None = None
        while self._pause is not None:
            outcome = self._heard(self._pause)
            order = self._order_of(outcome.order)
            self.checkpoints.poll()
            if outcome.exploded:
                if order is not None:
                    order.refuse("the training is told to end")
                self.stopped = True
                nxt = self._leave_pause(step, "the training is told to end")
            elif order is not None:
                nxt = self._obey(order, step)
            else:
                time.sleep(POLL)
        return step + 1 if nxt is None else nxt

    def _heard(self, pause: Pause) -> collectives.Outcome:
        """What all ranks were told; nothing is judged here, so an alarm says: the training ends."""
        mine = self._take_order()
        late = pause.deadline is not None and time.time() >= pause.deadline
        if mine is None and late and collectives.rank() == 0:
            mine = self._carried = Order(OrderCode("act"))
        level = "explode" if self._must_end() else "ok"
        return collectives.count(collectives.reduced(collectives.cast(level, mine)))

    def _must_end(self) -> bool:
        if self._should_stop is None:
            return False
        try:
            return bool(self._should_stop())
        except Exception:
            logging.getLogger("vlamon.guard").exception("should_stop failed and is asked no more")
            self._should_stop = None
            return False

    def _leave_pause(self, step: int, why: str) -> int:
        """Go on where the training stood, with what it was asked about as it is."""
        explosion = self._pause.explosion if self._pause is not None else None
        self._end_pause(step, why)
        return step + 1 if explosion is None else self._leave_it(step, explosion)

    def _end_pause(self, step: int, why: str) -> None:
        if self._pause is None:
            return
        self._pause = None
        self.reporter.event("resumed", step, f"goes on: {why}")
        self._tell_state()

    def _tell_state(self) -> None:
        """Tell what the training does now: between two orders a pause is still one."""
        if self._pause is None:
            self._tell("training")
        else:
            self._tell("paused", self._pause.deadline)

"""Orders from outside, carried out at a step boundary by every rank."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from vlamon.guard import agreement
from vlamon.guard.autopsy import Explosion
from vlamon.guard.orders import CHOICES, Order, OrderCode
from vlamon.guard.policy import MODES
from vlamon.guard.returning import Returning

POLL = 0.05
"""Seconds between two looks at the orders while the training is paused."""


class Steering(Returning):
    """What an operator may tell a guard."""

    _carried: Order | None = None
    """Rank 0: the order that is on its way through the ballot."""

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

    def _execute(self, order: Order, step: int) -> int:
        match order.code.name:
            case "checkpoint":
                self._tell("checkpointing")
                self.checkpoints.save(step, self.state, self._meta(), order)
                self._tell("training")
            case "rollback":
                return self._rollback_ordered(order, step, None)
            case "pause":
                order.done({"step": step})
                ended = self._hold(step, "paused by the operator")
                if ended.code.name == "rollback":
                    return self._rollback_ordered(ended, step, None)
                ended.done({"step": step})
            case "resume":
                order.refuse("the training is not paused")
            case "stop":
                self.stopped = True
                order.done({"step": step})
            case "set":
                self._set(order)
        return step + 1

    def _rollback_ordered(self, order: Order, step: int, explosion: Explosion | None) -> int:
        to = int(order.code.first)
        data = CHOICES[int(order.code.second)]
        nxt = self._roll_back(
            step, explosion, None, None if to < 0 else to, None if data == "default" else data
        )
        if self._rolled is None:
            order.refuse(self._nowhere(to))
        else:
            order.done(self._rolled)
        return nxt

    def _nowhere(self, to: int) -> str:
        held = [slot.step for slot in self.ring.held() if slot.trusted or to >= 0]
        if to < 0 or not held:
            return "there is no trusted snapshot yet, and no checkpoint on disk"
        return f"there is no snapshot at or before step {to}: the oldest is of step {held[0]}"

    def _set(self, order: Order) -> None:
        name, value = self.desk.names[int(order.code.first)], order.code.second
        before: Any = None
        try:
            if name == "guard":
                before, self.policy.mode = self.policy.mode, MODES[int(value)]
            elif name == "lr_scale":
                before = self.policy.lr_scale
                self.policy.lr_scale = value
                self._scale_lr(value, before)
            else:
                before = self.desk.settable[name](value)
        except Exception as error:
            order.refuse(f"{name} could not be set: {error}")
            return
        if name not in ("guard", "lr_scale"):
            self.detectors.reset()  # another weight or clip: what was usual is usual no more
        now = self.policy.mode if name == "guard" else value
        order.done({"name": name, "before": before, "value": now})
        self._tell("training")

    def _hold(self, step: int, why: str, wait: float = math.inf) -> Order:
        """Stand still at the step boundary until an order ends it; every rank stands with it."""
        deadline = None if math.isinf(wait) else time.time() + wait
        self.reporter.event("paused", step, why, "warn", deadline=deadline)
        self._tell("paused", deadline=deadline)
        while True:
            late = deadline is not None and time.time() >= deadline
            mine = self._take_order()
            if mine is None and late and agreement.rank() == 0:
                mine = Order(OrderCode("act"))
                self._carried = mine
            code = agreement.count(agreement.reduced(agreement.cast("ok", mine))).order
            order = self._order_of(code)
            self.checkpoints.poll()
            if order is None:
                time.sleep(POLL)
            elif order.code.name in ("resume", "rollback", "stop", "act"):
                if order.code.name == "stop":
                    self._execute(order, step)
                self.reporter.event("resumed", step, f"goes on: {order.code.name}")
                self._tell("training")
                return order
            else:
                self._execute(order, step)

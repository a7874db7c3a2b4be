"""Decides what to do about an explosion, purely from what is known at that step boundary.

A policy of one's own is any object with `decide(situation) -> Decision`, given as
`Guard(policy=...)`. It keeps nothing that a rollback must not refund: what was spent so far is in
the situation, from the guard's ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from vlamon.guard.settings import GuardSettings
from vlamon.guard_modes import GUARD_MODES

Action = Literal["rollback", "ask", "report", "climb", "stop"]
ACTIONS: tuple[Action, ...] = ("rollback", "ask", "report", "climb", "stop")
RUNG_STEPS = 3
"""Explosions in a row that a rung may answer before the next one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now."""

    action: Action
    """`rollback` returns to a snapshot, `ask` pauses for the operator, `report` goes on as it is,
    `climb` goes on by a rung of the ladder and is asked again if the next batches explode, `stop`
    ends the training."""
    rung: str = ""
    """climb: which rung it was, for the event."""
    older: bool = False
    """rollback: leave out the snapshot that was returned to last time."""
    lr_factor: float = 1.0
    """rollback, climb: what the lr is multiplied by."""
    why: str = ""
    """One clause for the audit."""
    deadline: float | None = None
    """ask: seconds after which the policy is asked again; None waits for ever."""
    last_resort: bool = False
    """ask: nothing else is left to try. Without an operator to answer, the training ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known when an explosion is to be answered; the same on every rank."""

    mode: str
    """Mode in force."""
    step: int = 0
    """The step boundary."""
    metric: str = ""
    """Component that exploded most."""
    value: float | None = None
    """Its value."""
    ratio: float = 1.0
    """The value over its usual level; inf where it is not finite."""
    age: int = 0
    """Steps since the trouble began, where it was seen late; 0 for one batch."""
    attempt: int = 0
    """Branches begun so far."""
    budget_left: int = 0
    """Automatic rollbacks that are left."""
    backoffs: int = 0
    """Times that the lr was lowered since the budget was last free."""
    since_rollback: int | None = None
    """Steps since the last rollback; None if there was none."""
    lr_scale: float = 1.0
    """What the planned lr is multiplied by."""
    prevented: str = ""
    """What the ladder did about this update: `skip`, `clip` or nothing."""
    climbed: int = 0
    """Rungs that have answered this explosion so far."""
    lowered: bool = False
    """Whether one of them was a lower lr."""
    unanswered: Decision | None = None
    """The question that was not answered before its deadline; None at first."""


class Policy(Protocol):
    """Decides about explosions."""

    def decide(self, situation: Situation) -> Decision:
        """The answer to an explosion, or to a question that was not answered in time."""
        ...


@dataclass(frozen=True, slots=True)
class DefaultPolicy:
    """Roll back while the budget lasts, then lower the lr, then ask, then end."""

    settings: GuardSettings = field(default_factory=GuardSettings)

    def decide(self, situation: Situation) -> Decision:
        """Decide by mode; an unanswered question is answered as in `auto`."""
        response = GUARD_MODES[situation.mode].response
        if response == "report":
            return Decision(action="report", why=f"guard is in {situation.mode} mode")
        if situation.unanswered is None and (rung := self._rung(situation)):
            return rung
        if response == "ask" and situation.unanswered is None:
            why = f"guard is in {situation.mode} mode"
            return Decision(action="ask", why=why, deadline=self.settings.deadline)
        return self._act(situation)

    def _rung(self, situation: Situation) -> Decision | None:
        """The rung of the ladder below a rollback that is left; None where there is none."""
        ladder, kept = self.settings.ladder, situation.prevented
        if kept in ladder and situation.climbed < RUNG_STEPS:
            what = "its update was skipped" if kept == "skip" else "its gradients were clipped"
            return Decision(action="climb", rung=kept, why=what)
        if "lr" in ladder and not situation.lowered and self._may_lower(situation):
            factor = self.settings.backoff
            return Decision(action="climb", rung="lr", lr_factor=factor, why=f"lr × {factor:g}")
        if "rollback" not in ladder:
            return Decision(action="report", why="the ladder has no further rung")
        return None

    def _may_lower(self, situation: Situation) -> bool:
        return situation.backoffs < self.settings.backoffs

    def _act(self, situation: Situation) -> Decision:
        since = situation.since_rollback
        older = since is not None and since <= self.settings.cooldown
        if situation.budget_left:
            why = f"{situation.budget_left} left in budget"
            return Decision(action="rollback", older=older, why=why)
        if situation.backoffs < self.settings.backoffs:
            factor = self.settings.backoff
            why = f"budget spent, lr × {factor:g}"
            return Decision(action="rollback", older=older, lr_factor=factor, why=why)
        spent, seconds = "budget and lr back-off are spent", self.settings.last_deadline
        if situation.unanswered is not None and situation.unanswered.last_resort:
            return Decision(action="stop", why=f"{spent}, and nobody answered in {seconds:g} s")
        return Decision(action="ask", why=spent, deadline=seconds, last_resort=True)

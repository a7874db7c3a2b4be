"""Counts what was spent so far; it outlives every rollback, kept by durable checkpoints alone.

A rollback that restored its own budget would refund itself and return to the same batch for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vlamon.guard.policy import Decision
from vlamon.guard.settings import GuardSettings


@dataclass(slots=True)
class Ledger:
    """Rollbacks, back-offs and attempts of a run."""

    settings: GuardSettings
    mode: str = "auto"
    """Mode in force; an operator may change it, and a resume keeps the one it was started with."""
    ticks: int = 0
    """Steps executed, counted on through rollbacks."""
    spent: list[int] = field(default_factory=list)
    """Ticks of the automatic rollbacks that still count."""
    last: int | None = None
    """Tick of the last rollback of any kind."""
    backoffs: int = 0
    """Times that the lr was lowered since the budget was last free."""
    last_lowered: int = 0
    """Tick of the last time."""
    lr_scale: float = 1.0
    """What the planned lr is multiplied by."""
    attempt: int = 0
    """Branches begun so far."""
    explosions: int = 0
    """Explosions that were reported."""
    rollbacks: int = 0
    """Rollbacks of any kind."""
    steps_lost: int = 0
    """Steps that rollbacks undid."""
    steps_saved: int = 0
    """Steps that a restart from the newest checkpoint would have undone besides."""
    clipped: int = 0
    """Updates whose gradients the ladder clipped."""
    skipped: int = 0
    """Updates that it skipped."""
    lowered: int = 0
    """Times that it lowered the lr."""

    def tick(self) -> None:
        """One more step was executed."""
        self.ticks += 1
        if self.spent and self.ticks - self.spent[0] > self.settings.budget_steps:
            self.spent.pop(0)
            self.backoffs = 0
        if not self.spent and self.ticks - self.last_lowered > self.settings.budget_steps:
            self.backoffs = 0  # of the ladder, which lowers the lr without a rollback

    @property
    def budget_left(self) -> int:
        """Automatic rollbacks that are left."""
        return max(0, self.settings.budget - len(self.spent))

    @property
    def since_rollback(self) -> int | None:
        """Steps since the last rollback; None if there was none."""
        return None if self.last is None else self.ticks - self.last

    @property
    def just_rolled_back(self) -> bool:
        """Whether a rollback was done at this step boundary."""
        return self.since_rollback == 0

    @property
    def margin(self) -> int:
        """Batches to skip beyond the spike: trouble that came back at once is a longer stretch."""
        since = self.since_rollback
        again = since is not None and since <= self.settings.cooldown
        return self.settings.margin * (4 if again else 1)

    def rolled_back(self, decision: Decision | None) -> None:
        """A rollback was done; an operator's (None) costs no budget."""
        self.last = self.ticks
        self.attempt += 1
        self.rollbacks += 1
        if decision is None:
            return
        if decision.lr_factor != 1.0:
            self.lower_lr(decision.lr_factor)
        elif self.budget_left:
            self.spent.append(self.ticks)

    def prevented(self, rung: str) -> None:
        """The ladder clipped or skipped an update; once a step, however many calls it had."""
        if rung == "clip":
            self.clipped += 1
        else:
            self.skipped += 1

    def lower_lr(self, factor: float) -> None:
        """The lr is lowered."""
        self.backoffs += 1
        self.last_lowered = self.ticks
        self.lr_scale *= factor

    def state_dict(self) -> dict[str, Any]:
        """For durable checkpoints."""
        state = asdict(self)
        del state["settings"]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a durable checkpoint brings; the mode stays as it was started."""
        for name, value in state.items():
            if name != "mode":
                setattr(self, name, list(value) if name == "spent" else value)

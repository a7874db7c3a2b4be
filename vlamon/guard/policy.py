"""What to do about an explosion: pure decisions, and the few numbers they rest on.

Nothing here is part of a snapshot. A rollback that restored its own budget would refund itself and
walk into the same batch for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal

Mode = Literal["auto", "ask", "watch", "off"]
DataChoice = Literal["skip", "replay"]
MODES: tuple[Mode, ...] = ("auto", "ask", "watch", "off")


_LEAST = {
    "every": 1,
    "slots": 0,
    "patience": 0,
    "margin": 0,
    "cooldown": 0,
    "budget": 0,
    "budget_steps": 1,
    "backoffs": 0,
    "durable_every": 0,
    "keep": 1,
    "autopsy_steps": 0,
}
"""Settings that are whole numbers, and the least of each that makes sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """How the guard works; the defaults suit a training of some thousand steps."""

    mode: Mode = "auto"
    """auto rolls back by itself, ask waits for the operator, watch reports, off does not detect."""
    every: int = 50
    """Steps between two snapshots in memory."""
    slots: int = 4
    """Snapshots in memory; each is a whole state in host memory. 0 switches the ring off."""
    patience: int = 12
    """Quiet steps beyond the detector's latency before a snapshot is trusted."""
    data: DataChoice = "skip"
    """Whether samples between the snapshot and the spike are skipped or trained on once more."""
    margin: int = 16
    """Batches skipped beyond the spike; four times as many if that was not enough."""
    cooldown: int = 100
    """An explosion within so many steps after a rollback is the same trouble: go a slot older."""
    budget: int = 3
    """Automatic rollbacks within `budget_steps`."""
    budget_steps: int = 10_000
    """Steps after which a rollback no longer counts against the budget."""
    backoffs: int = 1
    """Times that an exhausted budget is answered by a lower lr before the operator is asked."""
    backoff: float = 0.5
    """What the lr is multiplied by then."""
    deadline: float = 600.0
    """Seconds that ask mode waits for the operator before it rolls back by itself."""
    durable_every: int = 0
    """Steps between two checkpoints on disk; 0 for none but ordered ones."""
    keep: int = 3
    """Checkpoints that stay on disk."""
    stall: float = 300.0
    """Seconds without a byte from any rank after which a checkpoint of shards is given up."""
    autopsy_steps: int = 400
    """Longest stretch that an autopsy replays."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"guard mode {self.mode!r}: choose one of {', '.join(MODES)}")
        for item in fields(self):
            least = _LEAST.get(item.name)
            if least is None:
                continue
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"{item.name} {value!r}: a whole number")
            if value < least:
                raise ValueError(f"{item.name} {value}: at least {least}")
        if self.slots == 1:
            raise ValueError("slots: 0 (no ring) or at least 2")
        if not _number(self.backoff) or not 0 < self.backoff <= 1:
            raise ValueError(f"backoff {self.backoff!r}: a factor above 0, and at most 1")
        if not _number(self.deadline) or not self.deadline >= 0:
            raise ValueError(f"deadline {self.deadline!r}: seconds, 0 or more")
        if not _number(self.stall) or not self.stall > 0:
            raise ValueError(f"stall {self.stall!r}: seconds, more than 0")
        if self.data not in ("skip", "replay"):
            raise ValueError(f"data {self.data!r}: choose skip or replay")

    def spacing_for(self, latency: int, older: int = 1) -> int:
        """Steps between snapshots so that each lives to be trusted, with `older` slots beside."""
        if self.slots < 2:
            return self.every
        needed = -(-self.trust_after(latency) // max(1, self.slots - 1 - older))
        return max(self.every, needed)

    def trust_after(self, latency: int) -> int:
        """Quiet steps after which a snapshot is trusted."""
        return latency + self.patience

    @classmethod
    def palm(cls) -> GuardSettings:
        """As PaLM was rescued by hand: about 100 steps back, 200 to 500 batches skipped."""
        return cls(every=100, slots=3, data="skip", margin=200)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    action: Literal["rollback", "ask", "report"]
    """`ask` pauses for the operator."""
    older: bool = False
    """Whether the snapshot returned to last time must be left out."""
    lr_factor: float = 1.0
    """What the lr is multiplied by."""
    why: str = ""
    """One clause for the audit."""
    waits_for_ever: bool = False
    """Whether `ask` has no deadline."""


@dataclass(slots=True)
class Policy:
    """The memory of the decisions: outlives every rollback, kept by durable checkpoints alone."""

    settings: GuardSettings
    mode: Mode = "auto"
    """Mode in force; an operator may change it."""
    ticks: int = 0
    """Steps executed, counted on through rollbacks."""
    spent: list[int] = field(default_factory=list)
    """Ticks of the automatic rollbacks that still count."""
    last: int | None = None
    """Tick of the last rollback of any kind."""
    backoffs: int = 0
    """Times that the lr was lowered since the budget was last free."""
    lr_scale: float = 1.0
    """What the planned lr is multiplied by."""
    attempt: int = 0
    """Branches begun so far."""

    def tick(self) -> None:
        """One more step was executed."""
        self.ticks += 1
        if self.spent and self.ticks - self.spent[0] > self.settings.budget_steps:
            self.spent.pop(0)
            self.backoffs = 0

    @property
    def budget_left(self) -> int:
        """Automatic rollbacks that are left."""
        return max(0, self.settings.budget - len(self.spent))

    @property
    def margin(self) -> int:
        """Batches to skip beyond the spike: trouble that came back at once is a longer stretch."""
        return self.settings.margin * (4 if self.cooling else 1)

    @property
    def cooling(self) -> bool:
        """Whether the last rollback is so recent that its place of return is in doubt."""
        return self.last is not None and self.ticks - self.last <= self.settings.cooldown

    def decide(self) -> Decision:
        """The answer to an explosion."""
        if self.mode in ("watch", "off"):
            return Decision("report", why=f"guard is in {self.mode} mode")
        if self.mode == "ask":
            return Decision("ask", older=self.cooling, why="guard is in ask mode")
        return self.act()

    def act(self) -> Decision:
        """The automatic answer: also what ask mode does when nobody came."""
        if self.budget_left:
            return Decision(
                "rollback", older=self.cooling, why=f"{self.budget_left} left in budget"
            )
        if self.backoffs < self.settings.backoffs:
            factor = self.settings.backoff
            why = f"budget spent, lr × {factor:g}"
            return Decision("rollback", older=self.cooling, lr_factor=factor, why=why)
        return Decision("ask", why="budget and lr back-off are spent", waits_for_ever=True)

    def overdue(self) -> Decision:
        """What is done when nobody came before the deadline, in the mode of then."""
        return self.decide() if self.mode in ("watch", "off") else self.act()

    def rolled_back(self, decision: Decision | None) -> None:
        """A rollback was done; an operator's (None) costs no budget."""
        self.last = self.ticks
        self.attempt += 1
        if decision is None:
            return
        if decision.lr_factor != 1.0:
            self.backoffs += 1
            self.lr_scale *= decision.lr_factor
        elif self.budget_left:
            self.spent.append(self.ticks)

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


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def settings_from(values: Mapping[str, Any]) -> GuardSettings:
    """Settings from a table of a configuration file; an unknown key is an error that names it."""
    known = {item.name for item in fields(GuardSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"guard.{unknown[0]} is no setting; there are {', '.join(sorted(known))}")
    return GuardSettings(**values)

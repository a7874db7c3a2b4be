"""The settings of a guard, each checked where it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal

from vlamon.guard_modes import GUARD_MODES

DataChoice = Literal["skip", "replay"]

Rung = Literal["clip", "skip", "lr", "rollback"]
RUNGS: tuple[Rung, ...] = ("clip", "skip", "lr", "rollback")

_LEAST = {
    "every": 1,
    "slots": 0,
    "near": 0,
    "near_every": 1,
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

    mode: str = "auto"
    """One of `vlamon.guard_modes`."""
    ladder: tuple[Rung, ...] = ("rollback",)
    """What is done about an explosion, the mildest first, out of `clip`, `skip`, `lr`, `rollback`:
    clip an outlier's gradients, skip its update (both in `Guard.check`), lower the lr, go back."""
    every: int = 50
    """Steps between two snapshots in memory."""
    slots: int | Literal["auto"] = 4
    """Snapshots in memory, each a whole state; frozen parameters are shared. Fewer where the host
    has no memory for them; `auto` takes a quarter of what is free; 0 is none."""
    near: int = 2
    """Snapshots in memory besides them, from right before: what an instant fault goes back to."""
    near_every: int = 12
    """Steps between two of those."""
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
    last_deadline: float = 3600.0
    """Seconds that a training waits for the operator when budget and back-off are spent; then it
    ends, so that an unwatched job does not hold its GPUs for ever."""
    durable_every: int = 0
    """Steps between two checkpoints on disk; 0 for none but commanded ones."""
    keep: int = 3
    """Checkpoints that stay on disk."""
    stall: float = 300.0
    """Seconds that ranks wait for each other while they write a checkpoint of shards."""
    autopsy_steps: int = 400
    """Longest stretch that an autopsy replays."""

    def __post_init__(self) -> None:
        if self.mode not in GUARD_MODES:
            raise ValueError(f"guard mode {self.mode!r}: choose one of {', '.join(GUARD_MODES)}")
        self._check_ladder()
        for item in fields(self):
            least = _LEAST.get(item.name)
            if least is None or (item.name == "slots" and self.slots == "auto"):
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
        for name in ("deadline", "last_deadline"):
            seconds = getattr(self, name)
            if not _number(seconds) or not seconds >= 0:
                raise ValueError(f"{name} {seconds!r}: seconds, 0 or more")
        if not _number(self.stall) or not self.stall > 0:
            raise ValueError(f"stall {self.stall!r}: seconds, more than 0")
        if self.data not in ("skip", "replay"):
            raise ValueError(f"data {self.data!r}: choose skip or replay")

    def _check_ladder(self) -> None:
        given = tuple(self.ladder)
        if not given or list(given) != [rung for rung in RUNGS if rung in given]:
            raise ValueError(f"ladder {self.ladder!r}: some of {', '.join(RUNGS)}, in this order")
        object.__setattr__(self, "ladder", given)  # a list, from a configuration file

    def spacing_for(self, latency: int, older: int = 1) -> int:
        """Steps between snapshots so that each lives to be trusted, with `older` slots beside."""
        slots = 4 if isinstance(self.slots, str) else self.slots
        if slots < 2:
            return self.every
        needed = -(-self.trust_after(latency) // max(1, slots - 1 - older))
        return max(self.every, needed)

    def trust_after(self, latency: int) -> int:
        """Quiet steps after which a snapshot is trusted."""
        return latency + self.patience

    @classmethod
    def palm(cls) -> GuardSettings:
        """As PaLM was rescued by hand: about 100 steps back, 200 to 500 batches skipped."""
        return cls(every=100, slots=3, data="skip", margin=200)


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def settings_from(values: Mapping[str, Any]) -> GuardSettings:
    """Settings from a table of a configuration file; an unknown key is an error that names it."""
    known = {item.name for item in fields(GuardSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"guard.{unknown[0]} is not a setting; there are {', '.join(sorted(known))}"
        )
    return GuardSettings(**values)

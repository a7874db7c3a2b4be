"""Orders the states that a rollback can return to, the best first.

The nearest state from before an explosion costs the fewest steps, but it is too young to be
trusted: it is proved once it is in force, and the next one is tried where it has a flaw. The state
that the process started from comes last of all that lie before the explosion: it costs everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlamon.guard.proof import INSTANT
from vlamon.guard.snapshots import Candidate

CLEARANCE = 16
"""Steps that must lie between a young state and a trouble that was seen late, whose onset is an
estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a rollback is to get away from."""

    onset: int
    """Its first step; the next step for a command in calm times."""
    age: int = 0
    """Steps since then; 0 where the batch itself broke."""
    older: bool = False
    """Whether the state that was returned to last time is to be left out."""
    again: bool = False
    """Whether it is the trouble of the last rollback once more, right behind it."""
    careful: bool = False
    """Whether trusted states come first: for a command, and where the lr is lowered."""
    returned_to: int | None = None
    """Step of the state that the last rollback put in force."""


def best_first(
    trusted: Sequence[Candidate], held: Sequence[Candidate], trouble: Trouble, start: int
) -> list[Candidate]:
    """`trusted` and all that is `held`, in the order in which they are to be tried.

    `start` is the step of the state that the process started from.
    """
    sure = trusted_first(trusted, trouble)
    young = [each for each in held if young_state(each) and _before(each, trouble)]
    if trouble.age <= INSTANT and not (trouble.again or trouble.careful):
        return [*young, *sure]
    # Once more right behind a rollback: what that went back to was hit already, or the fault was.
    first: list[Candidate] = []
    if trouble.again and not trouble.careful and trouble.returned_to is not None:
        first = [each for each in young if each.step < trouble.returned_to]
    last = [each for each in young if each not in first]
    cut = next((i for i, each in enumerate(sure) if each.step == start), len(sure))
    return [*first, *sure[:cut], *last, *sure[cut:]]


def young_state(candidate: Candidate) -> bool:
    """Whether it is in memory and not trusted yet: such a state is to be proved."""
    return candidate.slot is not None and not candidate.slot.trusted


def _before(candidate: Candidate, trouble: Trouble) -> bool:
    clearance = 0 if trouble.age <= INSTANT else CLEARANCE
    return candidate.since < trouble.onset - clearance


def trusted_first(trusted: Sequence[Candidate], trouble: Trouble) -> list[Candidate]:
    """Of a trouble that began some time before, what is older comes first, then the nearest to it.

    One that did not help comes last where it would come first.
    """
    known = list(trusted)
    if trouble.age:
        known.sort(key=lambda each: max(0, each.since - trouble.onset))
    if trouble.older and known and known[0].step == trouble.returned_to:
        known.sort(key=lambda each: each.step == trouble.returned_to)
    return known


def nowhere(to: int | None, exact: bool, known: Sequence[int]) -> str:
    """Why there is no state to return to: `to` is the step that was asked for."""
    if not known:
        return "there is no trusted snapshot to return to, neither in memory nor on disk"
    if to is None:
        return "none of the trusted snapshots fits this training any more"
    if exact:
        there = ", ".join(map(str, known))
        return f"there is no snapshot of step {to} any more; there are those of {there}"
    return f"there is no snapshot at or before step {to}: the oldest is of step {known[-1]}"

"""Keeps a training from seeing skipped samples again, however often it goes back.

A rollback with `skip` restores everything but the sampler, which stays where the spike was. What
was skipped is remembered, so that a later return to an older snapshot, or a resume, jumps over it
again.

A sampler's place is the guard's own count of the batches behind it, skipped ones included. A
sampler's own `cursor` may start over with every epoch, and its state may hold anything: neither
distinguishes two passes over the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from vlamon.guard.state.restore import Stateful
from vlamon.guard.state.tree import duplicate


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stretch that is not to be trained on."""

    origin: int
    """Place where it begins."""
    behind: int
    """Place where it ends."""
    state: Any
    """The sampler's state there."""


class Skips:
    """The skipped stretches of one sampler; outlives every rollback."""

    def __init__(self, sampler: Stateful | None) -> None:
        self._sampler = sampler
        self._ranges: list[Skipped] = []
        self._target: tuple[int, Any] | None = None
        self.place = 0
        """Batches of the data that lie behind the sampler; what restores it sets this too."""

    def follow(self, sampler: Stateful) -> None:
        """Take this one from now on: a loader that was wrapped after the guard was made."""
        self._sampler = sampler

    @property
    def restores(self) -> bool:
        """Whether the order of the data can be put back."""
        return self._sampler is not None

    def drawn(self) -> None:
        """A step has drawn its batch."""
        self.place += 1

    def remember(self) -> None:
        """Before a rollback restores the sampler: where it is now."""
        self._target = None
        if self._sampler is not None:
            self._target = self.place, duplicate(self._sampler.state_dict())

    def jump(self, margin: int) -> dict[str, Any] | None:
        """After a rollback: go on behind the spike instead of at the snapshot."""
        if self._sampler is None or self._target is None:
            return None
        origin, start = self.place, self._shown_place()
        spike, state = self._target
        self._target = None
        passed = self._behind(state, margin)
        self.place = spike + passed
        behind = Skipped(origin, self.place, duplicate(self._sampler.state_dict()))
        self._ranges = [known for known in self._ranges if known.origin != origin]
        self._ranges.append(behind)
        skipped = {"from": start, "to": self._shown_place(), "batches": self.place - origin}
        return skipped if passed == margin else {**skipped, "margin": passed}

    def _behind(self, state: Any, margin: int) -> int:
        """Put the sampler behind the spike; the batches of the margin that it had left."""
        assert self._sampler is not None
        self._sampler.load_state_dict(duplicate(state))
        try:
            return advance(self._sampler, margin)
        except Exception:  # StopIteration: the data end within the margin, and it is left out
            self._sampler.load_state_dict(duplicate(state))
            return 0

    def forget(self) -> None:
        """The rollback replays: the sampler stays where the snapshot put it."""
        self._target = None

    def pass_over(self) -> None:
        """At a step boundary: jump if the next sample is one to skip."""
        if self._sampler is None:
            return
        for _ in self._ranges:
            known = next((each for each in self._ranges if each.origin == self.place), None)
            if known is None:
                return
            self._sampler.load_state_dict(duplicate(known.state))
            self.place = known.behind

    def _shown_place(self) -> int:
        """Where the sampler is, for people: its `cursor` if it counts one, else the place."""
        cursor = getattr(self._sampler, "cursor", None)
        counts = isinstance(cursor, int | np.integer) and not isinstance(cursor, bool)
        return int(cast(int, cursor)) if counts else self.place

    def state_dict(self) -> dict[str, Any]:
        """For durable checkpoints."""
        return {"ranges": [[each.origin, each.behind, each.state] for each in self._ranges]}

    def load_state_dict(self, state: Mapping[str, Any], place: int) -> None:
        """Take over what a durable checkpoint brings, and where its sampler stood.

        Older versions named a stretch by the sampler's cursor, in two values: those are left out.
        """
        self._ranges = [Skipped(*known) for known in state["ranges"] if len(known) == 3]
        self.place = place


def advance(sampler: Stateful, batches: int) -> int:
    """Draw this many batches and drop them; how many that were."""
    anyone = cast(Any, sampler)
    if hasattr(anyone, "skip"):
        anyone.skip(batches)
        return batches
    for name in ("draw", "__next__"):
        if hasattr(anyone, name):
            for _ in range(batches):
                getattr(anyone, name)()
            return batches
    return 0

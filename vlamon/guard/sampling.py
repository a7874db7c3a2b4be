"""Which samples a training sees after it went back: never the ones that it was told to skip.

A rollback with `skip` restores everything but the sampler, which stays where the spike was. What
was skipped is remembered, so that a later return to an older snapshot, or a resume, jumps over it
again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from vlamon.guard.state import Stateful


class Skips:
    """The skipped stretches of one sampler; outlives every rollback."""

    def __init__(self, sampler: Stateful | None) -> None:
        self._sampler = sampler
        self._ranges: list[tuple[Any, Any]] = []
        """Place where a skipped stretch begins, and the sampler's state behind it."""
        self._target: Any = None

    def place(self) -> Any:
        """Where the sampler is: its `cursor` if it counts one, else its whole state."""
        if self._sampler is None:
            return None
        cursor = getattr(self._sampler, "cursor", None)
        return self._sampler.state_dict() if cursor is None else int(cursor)

    def remember(self) -> None:
        """Before a rollback restores the sampler: where it is now."""
        self._target = None
        if self._sampler is not None:
            self._target = copy.deepcopy(self._sampler.state_dict())

    def jump(self, margin: int) -> dict[str, Any] | None:
        """After a rollback: go on behind the spike instead of at the snapshot."""
        if self._sampler is None or self._target is None:
            return None
        origin = self.place()
        self._sampler.load_state_dict(self._target)
        advance(self._sampler, margin)
        behind = copy.deepcopy(self._sampler.state_dict())
        self._ranges = [known for known in self._ranges if known[0] != origin]
        self._ranges.append((origin, behind))
        self._target = None
        return {"from": origin, "to": self.place()}

    def forget(self) -> None:
        """The rollback replays: the sampler stays where the snapshot put it."""
        self._target = None

    def pass_over(self) -> None:
        """At a step boundary: jump if the next sample is one to skip."""
        if not self._ranges or self._sampler is None:
            return
        for _ in self._ranges:
            here = self.place()
            behind = next((to for origin, to in self._ranges if origin == here), None)
            if behind is None:
                return
            self._sampler.load_state_dict(copy.deepcopy(behind))

    def state_dict(self) -> dict[str, Any]:
        """For durable checkpoints."""
        return {"ranges": [list(known) for known in self._ranges]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a durable checkpoint brings."""
        self._ranges = [(origin, behind) for origin, behind in state["ranges"]]


def advance(sampler: Stateful, batches: int) -> None:
    """Draw this many batches and drop them."""
    anyone = cast(Any, sampler)
    if hasattr(anyone, "skip"):
        anyone.skip(batches)
        return
    for name in ("draw", "__next__"):
        if hasattr(anyone, name):
            for _ in range(batches):
                getattr(anyone, name)()
            return

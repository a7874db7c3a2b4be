"""What a resume's command line says outright: a checkpoint does not overrule it."""

from __future__ import annotations

from collections.abc import Mapping


class Insisted:
    """Settings that hold against the checkpoint of a resume, until the training goes on.

    From then on they are part of the state like any other: a rollback brings back what was in
    force.
    """

    def __init__(self) -> None:
        self.values: Mapping[str, float | str] = {}
        """What was stated, by name."""
        self.changes: list[str] = []
        """What that changed, for people."""

    def tell(self, name: str, before: object, now: object) -> None:
        """Note a setting that the checkpoint had otherwise."""
        if before != now:
            self.changes.append(f"{name} {_written(now)} instead of {_written(before)}")

    def settle(self) -> list[str]:
        """The training begins: gives what was changed, and insists no more."""
        changes, self.values, self.changes = self.changes, {}, []
        return changes


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else str(value)

"""What the command line of a resume names: the checkpoint does not override it."""

from __future__ import annotations

from collections.abc import Mapping


class ResumeOverrides:
    """Settings that hold against the checkpoint of a resume, until the training starts.

    From then on they are part of the state like any other: a rollback restores what was in force.
    """

    def __init__(self) -> None:
        self.values: Mapping[str, float | str] = {}
        """What the command line names."""
        self._changes: list[str] = []

    def note(self, name: str, before: object, now: object) -> None:
        """Record a setting that differs in the checkpoint."""
        if before != now:
            self._changes.append(f"{name} {_written(now)} instead of {_written(before)}")

    def settle(self) -> list[str]:
        """End the overriding; returns what it changed, for people."""
        changes, self.values, self._changes = self._changes, {}, []
        return changes


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else str(value)

"""The checkpoints of the branch that is trained: which there are, and which can be trusted.

The same rule as for snapshots in memory: a checkpoint is a *candidate* until the detectors have
been quiet for long enough after it. What a rollback left behind, and what was written since the
onset of an explosion, stays on disk but is nothing to return to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class IndexEntry:
    """One checkpoint."""

    step: int
    """Last finished step that it holds; no two of a branch have the same."""
    path: Path | None = None
    """Its directory; None while it is being written."""
    trusted: bool = False
    """Whether the detectors stayed quiet for long enough after it."""


@dataclass(slots=True)
class Index:
    """Oldest first. What was written is known to rank 0 alone; steps and trust to every rank."""

    trust_after: int
    """Quiet steps that turn a candidate into a trusted checkpoint."""
    held: list[IndexEntry] = field(default_factory=list)

    def found(self, paths: Sequence[Path], resumed: Path, step: int) -> None:
        """A training resumed from one of these, newest first: it is trusted, as every start is.

        One that was written before it and holds a later step is of a branch that a rollback left.
        """
        self.held = [IndexEntry(step, resumed, trusted=True)]
        older = paths[paths.index(resumed) + 1 :] if resumed in paths else ()
        for path in older:
            before = _step_of(path)
            if before is not None and before < self.held[0].step:
                self.held.insert(0, IndexEntry(before, path, step - before >= self.trust_after))

    def begin(self, step: int) -> None:
        """A checkpoint is being written."""
        self.held = [entry for entry in self.held if entry.step < step]
        self.held.append(IndexEntry(step))

    def written(self, step: int, path: Path) -> None:
        """It is on disk; nothing to return to if a rollback left its branch in the meantime."""
        for entry in self._being_written(step):
            entry.path = path

    def failed(self, step: int) -> None:
        """It was not written."""
        for entry in self._being_written(step):
            self.held.remove(entry)

    def lost(self, step: int) -> None:
        """It cannot be read."""
        self.held = [entry for entry in self.held if entry.step != step]

    def quiet_until(self, step: int) -> None:
        """The detectors were quiet up to this step."""
        for entry in self.held:
            entry.trusted = entry.trusted or step - entry.step >= self.trust_after

    def doubt(self, before: int | None = None) -> bool:
        """An explosion: forget what was written since its onset. Returns whether any was.

        One that began some time `before` puts trusted ones in doubt as well, the oldest aside.
        """
        count, trusted = len(self.held), [entry for entry in self.held if entry.trusted]
        sure = [entry for entry in trusted if before is None or entry.step <= before]
        self.held = sure or trusted[:1]
        return len(self.held) < count

    def forget_after(self, step: int) -> None:
        """A rollback went back to this step."""
        self.held = [entry for entry in self.held if entry.step <= step]

    def spared(self) -> set[str]:
        """Names that retention must leave: the newest trusted one, and the one to be trusted next.

        Without the latter, checkpoints that retire before they are old enough to be trusted would
        leave a trusted one that is never followed by another.
        """
        trusted = [entry for entry in self.held if entry.trusted][-1:]
        successor = [entry for entry in self.held if not entry.trusted][:1]
        return {entry.path.name for entry in (*trusted, *successor) if entry.path is not None}

    def steps(self, trusted_only: bool) -> list[int]:
        """Steps that can be returned to, the newest first."""
        return [entry.step for entry in reversed(self.held) if entry.trusted or not trusted_only]

    def path(self, step: int) -> Path | None:
        """Where the checkpoint of a step is."""
        return next((entry.path for entry in self.held if entry.step == step), None)

    def _being_written(self, step: int) -> list[IndexEntry]:
        return [entry for entry in self.held if entry.step == step and entry.path is None]


def _step_of(path: Path) -> int | None:
    number = path.name.removeprefix("step-").partition(".")[0]
    return int(number) if number.isdigit() else None

"""The states that a guard keeps: when they are taken, which can be trusted, how one is put back.

Some are in memory (`Ring`), some on disk (`Checkpoints`). Both are trusted by one rule: the
detectors were quiet for long enough after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vlamon.guard import collectives
from vlamon.guard.checkpoint.checkpoints import Checkpoints
from vlamon.guard.command_queue import AgreedCommand
from vlamon.guard.ledger import Ledger
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.reporting import Reporter
from vlamon.guard.ring import Ring, Slot
from vlamon.guard.settings import GuardSettings
from vlamon.guard.skips import Skips
from vlamon.guard.state.capture import TrainingState, Tree
from vlamon.records import Snapshot

EARLY = 3
"""Part of the spacing after which the first snapshot of a process is taken, into a slot that is
empty still: what is trusted first is trusted that much earlier."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state that can be returned to, not opened yet."""

    step: int
    """Last finished step that it holds."""
    slot: Slot | None = None
    """Where it is in memory; None for a checkpoint."""

    @property
    def since(self) -> int:
        """Step that its age counts from: a loop that owns its counter went on after a rollback."""
        return self.step if self.slot is None else self.slot.since


@dataclass(frozen=True, slots=True)
class ReturnPoint:
    """A state to return to, at hand."""

    where: str
    """`ring`, or the path of a checkpoint."""
    state: Tree
    step: int
    """Last finished step that it holds."""
    note: Mapping[str, Any]
    """What the guard wrote down when it was taken."""


class Snapshots:
    """Takes, keeps and opens the states of one training."""

    def __init__(
        self,
        state: TrainingState,
        settings: GuardSettings,
        ring: Ring,
        checkpoints: Checkpoints,
        ledger: Ledger,
        skips: Skips,
        latency: int,
        reporter: Reporter,
        climbing: Callable[[], Any],
    ) -> None:
        """`latency`: steps that a jump or a ramp may stay unseen; `climbing`: how far the ladder
        has come with an explosion, for checkpoints."""
        self._reporter = reporter
        self._lacks = False
        """Whether memory lacked when a snapshot was due last."""
        self.began = -1
        """Last finished step when this process took the training up."""
        self.state = state
        self.ring = ring
        self.checkpoints = checkpoints
        self._settings = settings
        self._ledger = ledger
        self._skips = skips
        self._climbing = climbing
        self.spacing = settings.spacing_for(latency)
        self.late_spacing = settings.spacing_for(latency, older=2)
        """Spacing from the reach on: until then the state at the start is the old one."""
        self._branched = False
        """Whether the newest checkpoint may be of the branch that a rollback left: a training that
        died now would resume there, and know nothing of budget, lr and skipped samples."""

    def begin(self, step: int) -> None:
        """Take the state that the training starts from, which is trusted."""
        self.began = step
        self._taken(step, lambda: self.take(step, trusted=True))

    def steps_since_durable(self, step: int) -> int:
        """Steps between this state and the newest checkpoint from before it, or the start."""
        held = self.checkpoints.index.held
        steps = [entry.step for entry in held if entry.path is not None and entry.step <= step]
        return step - max([self.began, *steps])

    def take(self, step: int, closs: float | None = None, *, trusted: bool = False) -> None:
        """Copy the state of a finished step into memory."""
        note = {"place": self._skips.place}
        self.ring.take(step, self.state.capture(), trusted=trusted, closs=closs, **note)

    def take_near(self, step: int, closs: float | None) -> None:
        """Copy it into a near slot."""
        note = {"place": self._skips.place}
        self.ring.take_near(step, self.state.capture(), closs=closs, **note)

    def keep(self, step: int, closs: float | None, *, quiet: bool, writing: bool) -> bool:
        """Take what is due at this step boundary; whether memory holds a new snapshot.

        `writing`: a rank is still writing a checkpoint, so none may begin another one alone.
        """
        done = step + 1
        spacing = self.spacing if done <= self.ring.reach else self.late_spacing
        early = done == self.began + 1 + self.spacing // EARLY
        taken = bool(self._settings.slots and (done % spacing == 0 or early) and quiet)
        near = bool(self.ring.near and done % self._settings.near_every == 0 and quiet)
        if taken:
            taken = self._taken(step, lambda: self.take(step, closs))
        elif near:
            near = self._taken(step, lambda: self.take_near(step, closs))
        every, ordered = self._settings.durable_every, self.checkpoints.begun == step
        due = self._branched or bool(every and done % every == 0)
        if due and not (writing or ordered):
            self.write(step)
        if (due and not writing) or ordered:
            self._branched = False
        return taken or near

    def _taken(self, step: int, take: Callable[[], None]) -> bool:
        """Whether there was memory for a snapshot; the training goes on with those that it has."""
        try:
            with memory_for("a copy of the state"):
                take()
        except NoMemory as error:
            if not self._lacks:
                self._reporter.event("note", step, f"no snapshot: {error}", "error")
            self._lacks = True
            return False
        if self._lacks:
            self._lacks = False
            self._reporter.event("note", step, "snapshots are taken again")
        return True

    def write(self, step: int, command: AgreedCommand | None = None) -> None:
        """Begin to write a checkpoint; the answer to `command` comes when it is on disk."""
        self.checkpoints.save(step, self.state, self._meta(), command)

    def write_last(self, step: int) -> None:
        """Write a checkpoint of this step unless there is one; asked of all ranks."""
        self.checkpoints.close()
        if not self.checkpoints.holds(step):
            self.write(step)

    def trust(self, step: int) -> None:
        """The detectors were quiet up to this step."""
        self.ring.quiet_until(step)
        self.checkpoints.index.quiet_until(step)

    def doubt(self, before: int | None) -> bool:
        """The training goes on with an explosion: states since its onset are no longer kept.

        Where all that is trusted was taken since then, its oldest stays: a lesser evil than none.
        Returns whether anything was dropped.
        """
        kept = self.ring.trusted(before) or self.ring.oldest_trusted()
        doubtful = [
            slot
            for slot in self.ring.held()
            if not slot.trusted or (before is not None and slot.step > before and slot is not kept)
        ]
        for slot in doubtful:
            self.ring.forget(slot)
        return self.checkpoints.index.doubt(before) or bool(doubtful)

    def candidates(self, *, trusted_only: bool) -> list[Candidate]:
        """What can be returned to: memory first, then disk, each from the newest on.

        Asked by all ranks.
        """
        slots = [s for s in reversed(self.ring.held()) if s.trusted or not trusted_only]
        held = collectives.everyone({slot.step for slot in slots})
        common = set.intersection(*held)  # where memory lacked one rank may hold fewer
        return [
            *(Candidate(slot.step, slot) for slot in slots if slot.step in common),
            *(Candidate(step) for step in self.checkpoints.steps(trusted_only)),
        ]

    def open(self, candidate: Candidate) -> ReturnPoint | None:
        """Its state; None for a checkpoint that cannot be read, which is reported and forgotten."""
        slot = candidate.slot
        if slot is not None:
            return ReturnPoint("ring", slot.state(), slot.step, slot.note)
        loaded = self.checkpoints.reload(self.state, candidate.step)
        if loaded is None:
            return None
        return ReturnPoint(str(loaded.path), loaded.state, loaded.step, dict(loaded.meta["note"]))

    def restore(self, place: ReturnPoint) -> None:
        """Put a state in force; `StateMismatch` where it does not fit."""
        self.state.restore(place.state)
        self._skips.place = int(place.note.get("place", place.step + 1))
        self._skips.pass_over()

    def discard(self, candidate: Candidate) -> None:
        """The training has changed its shape since: this state will never fit again."""
        if candidate.slot is not None:
            self.ring.forget(candidate.slot)
        else:
            self.checkpoints.index.lost(candidate.step)

    def forget_after(self, step: int) -> None:
        """A rollback went back to this step: what is newer is of the branch that is left."""
        self.ring.forget_after(step)
        self.checkpoints.forget_after(step)
        self._branched = bool(self._settings.durable_every) or self.checkpoints.exist()

    def on_hand(self) -> tuple[Snapshot, ...]:
        """For the monitors: what there is on this rank."""
        on_disk = [
            Snapshot(entry.step, str(entry.path), entry.trusted)
            for entry in self.checkpoints.index.held
            if entry.path is not None
        ]
        in_memory = [
            Snapshot(slot.step, "ring", slot.trusted, slot.time, slot.closs)
            for slot in self.ring.held()
        ]
        return (*on_disk, *in_memory)

    def _meta(self) -> dict[str, Any]:
        """What a checkpoint holds besides the state: everything that no rollback may restore."""
        return {
            "ledger": self._ledger.state_dict(),
            "skips": self._skips.state_dict(),
            "climbing": self._climbing(),
            "note": {"place": self._skips.place},
        }

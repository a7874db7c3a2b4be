"""Going back: where to, which samples afterwards, and why it came to that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vlamon.guard import collectives
from vlamon.guard.autopsy import Case, Explosion, Finding, examine
from vlamon.guard.keeping import Keeping
from vlamon.guard.policy import Decision
from vlamon.guard.ring import Slot
from vlamon.guard.state.capture import StateMismatch, Tree


@dataclass(frozen=True, slots=True)
class Place:
    """A state to return to."""

    where: str
    """`ring`, or the path of a checkpoint."""
    state: Tree
    step: int
    """Last finished step that it holds."""
    note: Mapping[str, Any]
    """What the guard wrote down when it was taken."""


class Returning(Keeping):
    """The way back to a snapshot."""

    _rolled: dict[str, Any] | None = None
    """What the last rollback did."""
    _why_not: str = ""
    """Why it did nothing."""

    def _tell_state(self) -> None:
        """Tell what the training does; whoever knows of pauses knows better."""
        self._tell("training")

    def _roll_back(
        self,
        step: int,
        explosion: Explosion | None,
        decision: Decision | None,
        to: int | None = None,
        data: str | None = None,
        exact: bool = False,
    ) -> int:
        """Return to a snapshot; `decision` is None for an operator's order.

        `exact` is for an order that means the snapshot of step `to` and no older one.
        """
        begun = time.monotonic()
        before = explosion.before if explosion else None
        self.skips.remember()
        place = self._go_back(step, to, exact, before, older=bool(decision and decision.older))
        if place is None:
            self.skips.forget()
            self._rolled = None
            self.reporter.event("rollback", step, self._why_not, "error", ok=False)
            self._tell_state()  # what could not be read or did not fit is offered no more
            return self._leave_it(step, explosion) if decision is not None else step + 1
        self._tell("rolling_back")
        finding = None
        examined = time.monotonic()
        if explosion is not None and self._in_doubt(place.step, step):
            finding = self._explain(explosion, place.step, partial(self._restore, place))
        autopsy = time.monotonic() - examined
        data = data or self.settings.data
        skipped = None
        if data == "skip":
            skipped = self.skips.jump(self.policy.margin if explosion else 0)
        else:
            self.skips.forget()
        self._begin_branch(place, decision)
        if explosion is not None:
            self._recovers_at = self.policy.ticks + self.settings.cooldown + 1
        self._rolled = {
            "from": step,
            "step": place.step,
            "where": place.where,
            "seconds": round(time.monotonic() - begun - autopsy, 4),
            "autopsy_seconds": round(autopsy, 4),
            "data": data,
            "skipped": skipped,
            "attempt": self.policy.attempt,
            "lr_scale": self.policy.lr_scale,
            "budget": self.policy.budget_left,
            "cause": finding.cause if finding else None,
        }
        self._tell_return(self._rolled, decision.why if decision else "ordered")
        return place.step + 1

    def _begin_branch(self, place: Place, decision: Decision | None) -> None:
        """Everything that was kept or counted after the place is of the branch that is left."""
        self._returned_to = place.step
        self.ring.forget_after(place.step)
        self.checkpoints.forget_after(place.step)
        self.policy.rolled_back(decision)
        self._scale_restored(place.note)
        self.reporter.set_attempt(self.policy.attempt)
        self._readings.clear()
        self._history.clear()
        self._episode = None
        self._branched = bool(self.settings.durable_every) or self.checkpoints.exist()

    def _tell_return(self, rolled: Mapping[str, Any], why: str) -> None:
        step, to, where = rolled["from"], rolled["step"], rolled["where"]
        text = f"back from step {step} to {to} ({where}) in {rolled['seconds']:.2f} s: {why}"
        # An event's own step and attempt are where the training was.
        told = {name: value for name, value in rolled.items() if name not in ("step", "attempt")}
        self.reporter.event("rollback", step, text, "warn", ok=True, to=to, **told)
        self._tell("training")

    def _go_back(
        self, step: int, to: int | None, exact: bool, before: int | None, older: bool
    ) -> Place | None:
        """Restore the best place that can be restored; None, and why, where there is none."""
        if to is not None and to > step:
            self._why_not = f"step {to} was not trained yet: the last one is step {step}"
            return None
        known = self._known(to, before, older)
        for at, slot in known:
            if to is not None and (at > to or (exact and at < to)):
                continue
            place = self._opened(at, slot)
            if place is None:
                continue
            try:
                self._restore(place)
                failure = ""
            except StateMismatch as error:
                failure = str(error)
            failures = [said for said in collectives.everyone(failure) if said]
            if not failures:
                return place
            self._pass_by(step, place, failures[0])
        self._why_not = _nowhere(to, exact, [at for at, _ in known])
        return None

    def _known(
        self, to: int | None, before: int | None, older: bool
    ) -> list[tuple[int, Slot | None]]:
        """Steps that can be returned to, the best first, those in memory with their slot.

        For an order that names a step all of them, from the newest to the oldest; else the trusted
        ones, memory first. One that did not help comes last where it would come first. Of a trouble
        that began some time `before`, what is older comes first, then the nearest to that.
        """
        named = to is not None
        slots = [slot for slot in reversed(self.ring.held()) if slot.trusted or named]
        known: list[tuple[int, Slot | None]] = [(slot.step, slot) for slot in slots]
        known += [(at, None) for at in self.checkpoints.steps(trusted_only=not named)]
        if named:
            return sorted(known, key=lambda place: -place[0])
        if before is not None:
            known.sort(key=lambda place: max(0, place[0] - before))
        if older and known and known[0][0] == self._returned_to:
            known.sort(key=lambda place: place[0] == self._returned_to)
        return known

    def _opened(self, at: int, slot: Slot | None) -> Place | None:
        if slot is not None:
            return Place("ring", slot.state(), at, slot.note)
        loaded = self.checkpoints.reload(self.state, at)
        if loaded is None:
            return None
        return Place(str(loaded.path), loaded.state, loaded.step, dict(loaded.meta["note"]))

    def _restore(self, place: Place) -> None:
        self.state.restore(place.state)
        self.skips.place = int(place.note.get("place", place.step + 1))
        self.skips.pass_over()

    def _pass_by(self, step: int, place: Place, why: str) -> None:
        """The training has changed its shape since: this place will never fit again."""
        for slot in self.ring.held():
            if place.where == "ring" and slot.step == place.step:
                self.ring.forget(slot)
        if place.where != "ring":
            self.checkpoints.shelf.lost(place.step)
        text = f"the snapshot of step {place.step} ({place.where}) is passed over: {why}"
        self.reporter.event("note", step, text, "warn")

    def _in_doubt(self, slot_step: int, step: int) -> bool:
        return step > slot_step and (self.probe is not None or self.replay is not None)

    def _explain(
        self, explosion: Explosion, slot_step: int, restore: Callable[[], None]
    ) -> Finding | None:
        """The autopsy; whatever a user's probe or replay does wrong, the rollback goes on."""
        try:
            finding = examine(
                Case(
                    explosion,
                    slot_step,
                    self.detectors,
                    self._weights_now(),
                    restore,
                    self.probe,
                    self._replay_step if self.replay else None,
                    self.settings.autopsy_steps,
                )
            )
        except Exception as error:
            text = f"the autopsy failed: {type(error).__name__}: {error}"
            finding = Finding("unknown", text)
        restore()
        samples = [
            {"step": explosion.step, "attempt": self.policy.attempt, **sample}
            for sample in finding.samples
        ]
        self.reporter.audit.blame(samples)
        self.reporter.event(
            "autopsy",
            explosion.step,
            finding.text,
            "warn",
            verdict=finding.cause,
            slot=slot_step,
            evidence=finding.evidence,
            samples=samples[:64],
        )
        return finding

    def _replay_step(self, step: int) -> Mapping[str, float]:
        """A step once more; where samples were skipped the first time, they are skipped again."""
        assert self.replay is not None
        values = self.replay(step)
        self.skips.drawn()
        self.skips.pass_over()
        return values

    def _leave_it(self, step: int, explosion: Explosion | None) -> int:
        """Go on without a rollback; states taken since the onset are not to be trusted.

        Where all that is trusted was taken since then, its oldest stays: a lesser evil than none.
        """
        before = explosion.before if explosion else None
        kept = self.ring.trusted(before) or self.ring.oldest_trusted()
        doubtful = [
            slot
            for slot in self.ring.held()
            if not slot.trusted or (before is not None and slot.step > before and slot is not kept)
        ]
        for slot in doubtful:
            self.ring.forget(slot)
        if self.checkpoints.shelf.doubt(before) or doubtful:
            self._tell_state()
        return step + 1


def _nowhere(to: int | None, exact: bool, known: Sequence[int]) -> str:
    if not known:
        return "there is no trusted snapshot to return to, neither in memory nor on disk"
    if to is None:
        return "none of the trusted snapshots fits this training any more"
    if exact:
        there = ", ".join(map(str, known))
        return f"there is no snapshot of step {to} any more; there are those of {there}"
    return f"there is no snapshot at or before step {to}: the oldest is of step {known[-1]}"

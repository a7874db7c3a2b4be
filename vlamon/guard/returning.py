"""Going back: where to, which samples afterwards, and why it came to that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from vlamon.guard import agreement
from vlamon.guard.autopsy import Case, Explosion, Finding, examine
from vlamon.guard.keeping import Keeping
from vlamon.guard.policy import Decision
from vlamon.guard.state import Tree


class Returning(Keeping):
    """The way back to a snapshot."""

    _rolled: dict[str, Any] | None = None
    """What the last rollback did."""

    def _roll_back(
        self,
        step: int,
        explosion: Explosion | None,
        decision: Decision | None,
        to: int | None = None,
        data: str | None = None,
        event: str | None = None,
    ) -> int:
        """Return to a snapshot; `decision` is None for an operator's order."""
        begun = time.monotonic()
        before = explosion.before if explosion else None
        place = self._place(step, to, before, older=bool(decision and decision.older))
        if place is None:
            self.reporter.event(
                "rollback", step, "there is no trusted snapshot to return to", "error", ok=False
            )
            self._rolled = None
            return self._leave_it(step, explosion) if decision is not None else step + 1
        where, state, slot_step, note = place
        self._tell("rolling_back")
        self.skips.remember()

        def restore() -> None:
            self.state.restore(state)
            self.skips.pass_over()

        restore()
        finding = None
        examined = time.monotonic()
        if explosion is not None and self._in_doubt(slot_step, step):
            finding = self._explain(explosion, slot_step, restore)
        autopsy = time.monotonic() - examined
        data = data or self.settings.data
        skipped = None
        if data == "skip":
            skipped = self.skips.jump(self.policy.margin if explosion else 0)
        else:
            self.skips.forget()
        self.ring.forget_after(slot_step)
        self.policy.rolled_back(decision)
        self._scale_restored(note)
        self.reporter.set_attempt(self.policy.attempt)
        self._readings.clear()
        self._history.clear()
        self._episode, self._branched = None, True
        if explosion is not None:
            self._recovers_at = self.policy.ticks + self.settings.cooldown + 1
        self._rolled = {
            "from": step,
            "step": slot_step,
            "where": where,
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
        return slot_step + 1

    def _tell_return(self, rolled: Mapping[str, Any], why: str) -> None:
        step, to, where = rolled["from"], rolled["step"], rolled["where"]
        text = f"back from step {step} to {to} ({where}) in {rolled['seconds']:.2f} s: {why}"
        # An event's own step and attempt are where the training was.
        told = {name: value for name, value in rolled.items() if name not in ("step", "attempt")}
        self.reporter.event("rollback", step, text, "warn", ok=True, to=to, **told)
        self._tell("training")

    def _place(
        self, step: int, to: int | None, before: int | None, older: bool
    ) -> tuple[str, Tree, int, dict[str, Any]] | None:
        """Where to return to: a slot of the ring, else the newest durable checkpoint.

        Of a trouble that began some time `before`, only what is older than it will do; where
        nothing is, the oldest trusted slot is the nearest to it.
        """
        best = self.ring.trusted(before)
        if older and self._returned_to is not None and best is self._returned_to:
            spare = [slot for slot in self.ring.held() if slot.step < self._returned_to.step]
            # Rank 0 alone knows what was written, and all must forget the same slot.
            if spare or agreement.everyone(self.checkpoints.newest is not None)[0]:
                self.ring.forget(self._returned_to)
        slot = self.ring.trusted(before)
        if to is not None:
            named = [slot for slot in self.ring.held() if slot.step <= to]
            slot = named[-1] if named else None
        latest = step - self.ring.trust_after if to is None else to
        if before is not None and to is None:
            latest = min(latest, before)
        loaded = None
        if slot is None:
            loaded = self.checkpoints.load(self.state, lambda found: found.step <= latest)
        if slot is None and loaded is None and to is None:
            slot = self.ring.oldest_trusted()
        if slot is not None:
            self._returned_to = slot
            return "ring", slot.state(), slot.step, slot.note
        if loaded is None:
            return None
        return str(loaded.path), loaded.state, loaded.step, dict(loaded.meta["note"])

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
        self.skips.pass_over()
        return values

    def _leave_it(self, step: int, explosion: Explosion | None) -> int:
        """Go on without a rollback; states taken since the onset are not to be trusted.

        Where all that is trusted was taken since then, its oldest stays: a lesser evil than none.
        """
        before = explosion.before if explosion else None
        kept = self.ring.trusted(before) or self.ring.oldest_trusted()
        for slot in self.ring.held():
            late = before is not None and slot.step > before and slot is not kept
            if late or not slot.trusted:
                self.ring.forget(slot)
        return step + 1

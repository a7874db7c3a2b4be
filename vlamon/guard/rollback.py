"""Rolls a training back: to which state, with which samples after it, and why it exploded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlamon.guard import collectives
from vlamon.guard.autopsy import Explosion
from vlamon.guard.choice import Trouble, best_first, nowhere, young_state
from vlamon.guard.detection import Detection
from vlamon.guard.explainer import Explainer
from vlamon.guard.ledger import Ledger
from vlamon.guard.lr_scale import LrScale
from vlamon.guard.out_of_memory import NoMemory, free, memory_for
from vlamon.guard.policy import Decision
from vlamon.guard.proof import INSTANT, Prover
from vlamon.guard.reporting import Reporter
from vlamon.guard.settings import GuardSettings
from vlamon.guard.skips import Skips
from vlamon.guard.snapshots import Candidate, ReturnPoint, Snapshots
from vlamon.guard.state.capture import StateMismatch
from vlamon.guard.state.schedule import SchedulerState
from vlamon.guard.status import StatusReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to roll back."""

    step: int
    """The step boundary."""
    explosion: Explosion | None = None
    """What it answers; None for a command in calm times."""
    decision: Decision | None = None
    """The policy's; None for an operator's command."""
    to: int | None = None
    """The newest state at or before this step; None for the best one."""
    exact: bool = False
    """Whether only the state of step `to` will do."""
    data: str | None = None
    """`skip` or `replay`; None for the setting."""


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What a rollback did."""

    step: int
    """Last finished step of the state in force."""
    following: int
    """The step to run next."""
    summary: Mapping[str, Any]
    """For the event and the operator."""


@dataclass(frozen=True, slots=True)
class RollbackRefused:
    """Nothing was changed."""

    why: str
    """One clause."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A rank could not put a state in force."""

    why: str
    lack: bool = False
    """Whether it lacked memory: the state is as good as it was."""


class Rollback:
    """The way back to a snapshot."""

    def __init__(
        self,
        settings: GuardSettings,
        snapshots: Snapshots,
        detection: Detection,
        skips: Skips,
        ledger: Ledger,
        lr_scale: LrScale,
        reporter: Reporter,
        status: StatusReporter,
        explainer: Explainer,
    ) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._detection = detection
        self._skips = skips
        self._ledger = ledger
        self._lr_scale = lr_scale
        self._reporter = reporter
        self._status = status
        self.explainer = explainer
        self._returned_to: int | None = None
        """Step of the state that the last rollback put in force, until it proved to be good."""
        self._order_reported = False
        self._freed = False
        """Whether this rollback has freed unused memory already: that takes a while."""
        self._last_spike: int | None = None
        """Step of the explosion that the last rollback answered."""
        self._proved_at: int | None = None
        """Tick at which it has proved to be good."""
        self.goes_back = True
        """Whether the loop's counter and schedule go back with the state."""
        self._counted_on: int | None = None
        """Step of the last rollback that left the counter where it was."""

    def run(self, request: Request) -> RollbackResult | RollbackRefused:
        """Return to a snapshot, explain the explosion, and begin another branch."""
        begun, self._freed = time.monotonic(), False
        explosion = request.explosion
        refused, schedule = self._remember()
        place = self._go_back(request) if refused is None else refused
        if isinstance(place, RollbackRefused):
            return self._no_return(request, place)
        self._status.during("rolling_back")
        finding, examined = None, time.monotonic()
        explain = self.explainer.available and request.step > place.step
        if explosion is not None and explain:
            finding = self.explainer.explain(explosion, place, self._contiguous(place))
            place = self._put_back_again(place, request)
            if isinstance(place, RollbackRefused):
                return self._no_return(request, place)
        autopsy = time.monotonic() - examined
        data = request.data or self._settings.data
        skipped = self._settle(data, request, schedule)
        lost, saved = request.step - place.step, self._snapshots.steps_since_durable(place.step)
        self._ledger.steps_lost += lost
        self._ledger.steps_saved += saved
        self._begin_branch(place, request)
        summary = {
            "from": request.step,
            "step": place.step,
            "where": place.where,
            "seconds": round(time.monotonic() - begun - autopsy, 4),
            "autopsy_seconds": round(autopsy, 4),
            "lost": lost,
            "saved": saved,
            "data": data,
            "skipped": skipped,
            "attempt": self._ledger.attempt,
            "lr_scale": self._ledger.lr_scale,
            "budget": self._ledger.budget_left,
            "cause": finding.cause if finding else None,
        }
        self._tell(summary, request.decision.why if request.decision else "ordered")
        following = place.step + 1 if self.goes_back else request.step + 1
        return RollbackResult(place.step, following, summary)

    def _remember(self) -> tuple[RollbackRefused | None, SchedulerState | None]:
        """Where data and schedule stand; `RollbackRefused` where a rank has no memory for that."""
        schedule, lack = None, ""
        try:
            with memory_for("where the data and the schedule stand"):
                self._skips.remember()
                if not self.goes_back:
                    schedule = SchedulerState.of(self._snapshots.state.parts)
        except NoMemory as error:
            lack = str(error)
        lacks = [said for said in collectives.everyone(lack) if said]
        return RollbackRefused(lacks[0]) if lacks else None, schedule

    def _no_return(self, request: Request, found: RollbackRefused) -> RollbackRefused:
        """Say that nothing was returned to."""
        self._skips.forget()
        self._reporter.event("rollback", request.step, found.why, "error", ok=False)
        self._status.refresh()  # what could not be read or did not fit is offered no more
        return found

    def _settle(
        self, data: str, request: Request, schedule: SchedulerState | None
    ) -> dict[str, Any] | None:
        """Put the data, and a schedule that does not go back, where they go on."""
        try:
            with memory_for("where the data and the schedule go on"):
                skipped = self._settle_data(data, request.explosion, request.step)
                if schedule is not None:
                    schedule.put_back(self._snapshots.state.parts)
                return skipped
        except NoMemory as error:
            self._skips.forget()
            self._reporter.event("note", request.step, f"the data are replayed: {error}", "error")
            return None

    def confirm(self, step: int) -> None:
        """Say so when no explosion came for a while after a rollback, and the losses are back."""
        if self._proved_at is None or self._ledger.ticks < self._proved_at:
            return
        if elevated := self._detection.elevated():
            name, ratio = elevated
            text = f"not recovered: {name} is still ×{ratio:.3g} the level before the rollback"
            self._reporter.event("warn", step, text, "error")
            self._proved_at = self._ledger.ticks + self._settings.cooldown + 1
        else:
            self._proved_at = None
            self._returned_to = None
            self._detection.confirm_rollback()
            text = f"{self._settings.cooldown} calm steps since the rollback"
            self._reporter.event("recovered", step, text)

    def apply_lr_scale(self, step: int) -> None:
        """The factor is not a part of any state: put it in force on the one that was put back."""
        scale = self._ledger.lr_scale
        try:
            self._lr_scale.set(scale)
        except Exception as error:
            text = f"the lr could not be multiplied by {scale:g}: {error}"
            self._reporter.event("note", step, text, "error")

    def _settle_data(
        self, data: str, explosion: Explosion | None, step: int
    ) -> dict[str, Any] | None:
        if data == "skip":
            return self._skips.jump(self._ledger.margin if explosion else 0)
        self._skips.forget()
        if not self._skips.restores and not self._order_reported:
            self._order_reported = True
            text = (
                "the order of the data is not restored, so nothing is replayed: the training goes "
                "on with the loader's next batch; iterate guard.loader(loader)"
            )
            self._reporter.event("note", step, text, "warn")
        return None

    def _begin_branch(self, place: ReturnPoint, request: Request) -> None:
        """Everything that was kept or counted after the place is of the branch that is left."""
        self._returned_to = place.step
        self._ledger.rolled_back(request.decision)
        self._snapshots.forget_after(place.step)
        if not self.goes_back:
            self._snapshots.ring.count_on(request.step - place.step)
            self._counted_on = request.step
        self.apply_lr_scale(place.step)
        self._reporter.set_attempt(self._ledger.attempt)
        explosion = request.explosion
        self._last_spike = explosion.step if explosion else None
        self._detection.turn_back(place.step, _onset(request))
        if request.explosion is not None:
            self._proved_at = self._ledger.ticks + self._settings.cooldown + 1

    def _tell(self, summary: Mapping[str, Any], why: str) -> None:
        step, to, where = summary["from"], summary["step"], summary["where"]
        text = f"back from step {step} to {to} ({where}) in {summary['seconds']:.2f} s: {why}"
        if not self.goes_back:
            text += f"; the loop counts on from {step + 1}"
        # An event's own step and attempt are where the training was.
        details = {key: value for key, value in summary.items() if key not in ("step", "attempt")}
        self._reporter.event("rollback", step, text, "warn", ok=True, to=to, **details)
        self._status.enter("training")

    def _go_back(self, request: Request) -> ReturnPoint | RollbackRefused:
        """Restore the best state that can be restored."""
        to, step = request.to, request.step
        if to is not None and to > step:
            return RollbackRefused(f"step {to} was not trained yet: the last one is step {step}")
        known, lack = self._ordered(request), ""
        doubted: ReturnPoint | None = None
        for candidate in known:
            if to is not None and (candidate.step > to or (request.exact and candidate.step < to)):
                continue
            place = self._snapshots.open(candidate)
            if place is None:
                continue
            failures = self._failures(place)
            doubtful = to is None and young_state(candidate) and not failures
            flaw = self._flaw(request, place) if doubtful else ""
            if flaw:
                text = f"the snapshot of step {place.step} is left out: {flaw}"
                self._reporter.event("note", step, text)
                doubted = place
                continue
            if not failures:
                return place
            if not all(failure.lack for failure in failures):
                self._snapshots.discard(candidate)
            lack = lack or next((each.why for each in failures if each.lack), "")
            text = f"the snapshot of step {place.step} ({place.where}) is passed over: "
            self._reporter.event("note", step, text + failures[0].why, "warn")
        if doubted is not None:  # it is in force
            text = (
                f"the snapshot of step {doubted.step} is used after all: no other can be put back"
            )
            self._reporter.event("note", step, text, "warn")
            return doubted
        return RollbackRefused(lack or nowhere(to, request.exact, [each.step for each in known]))

    def _failures(self, place: ReturnPoint) -> list[Failure]:
        """Put a state in force on all ranks; on which of them that failed, and why."""
        why, lack = self._restore(place)
        if lack and not self._freed and collectives.world() == 1:
            self._freed = True
            free()
            why, lack = self._restore(place)
        return [Failure(*said) for said in collectives.everyone((why, lack)) if said[0]]

    def _restore(self, place: ReturnPoint) -> tuple[str, bool]:
        """Why it failed, if it did, and whether for a lack of memory."""
        try:
            self._snapshots.restore(place)
        except StateMismatch as error:
            return str(error), False
        except NoMemory as error:
            return str(error), True
        return "", False

    def _put_back_again(
        self, place: ReturnPoint, request: Request
    ) -> ReturnPoint | RollbackRefused:
        """The state once more, behind an autopsy, which has trained on it; else the next best."""
        failures = self._failures(place)
        if not failures:
            return place
        text = f"the snapshot of step {place.step} cannot be put back again: {failures[0].why}"
        self._reporter.event("note", request.step, text, "error")
        found = self._go_back(request)
        if isinstance(found, RollbackRefused):
            return RollbackRefused(f"{found.why}; the weights are those that the autopsy left")
        return found

    def _ordered(self, request: Request) -> list[Candidate]:
        """States that can be returned to, the best first; from the newest on for a named step."""
        held = self._snapshots.candidates(trusted_only=False)
        if request.to is not None:
            return sorted(held, key=lambda candidate: -candidate.step)
        explosion, decision = request.explosion, request.decision
        older = decision is not None and decision.older
        trouble = Trouble(
            onset=_onset(request),
            age=explosion.age if explosion else 0,
            older=older,
            again=older and explosion is not None and self._is_the_last_one(explosion),
            careful=explosion is None or (decision is not None and decision.lr_factor != 1.0),
            returned_to=self._returned_to,
        )
        trusted = self._snapshots.candidates(trusted_only=True)
        return best_first(trusted, held, trouble, self._snapshots.began)

    def _is_the_last_one(self, explosion: Explosion) -> bool:
        """Whether this is the explosion of the last rollback once more."""
        return self._last_spike is not None and explosion.step <= self._last_spike + INSTANT

    def _flaw(self, request: Request, place: ReturnPoint) -> str:
        detection, weights = self._detection, self._detection.weights()
        prover = Prover(
            self._snapshots.state,
            self.explainer.probe,
            detection.good,
            detection.history,
            lambda name, value: detection.detectors.minor(name, value, weights),
        )
        return prover.flaw(place.step, _onset(request))

    def _contiguous(self, place: ReturnPoint) -> bool:
        """Whether the steps since a state are those that its branch has trained."""
        return self._counted_on is None or place.step > self._counted_on


def _onset(request: Request) -> int:
    """The first step of the trouble; the next step for a command in calm times."""
    return request.explosion.onset if request.explosion else request.step + 1

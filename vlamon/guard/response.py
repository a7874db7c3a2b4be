"""From an explosion that some rank saw to what the training does next."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from vlamon.guard import collectives
from vlamon.guard.autopsy import Explosion
from vlamon.guard.detection import Detection
from vlamon.guard.episode import worst_ratio
from vlamon.guard.forensics import ExplosionFiles
from vlamon.guard.ledger import Ledger
from vlamon.guard.policy import ACTIONS, Decision, DefaultPolicy, Policy, Situation
from vlamon.guard.proof import INSTANT
from vlamon.guard.reporting import Reporter, plain_samples
from vlamon.guard.rollback import Request, Rollback, RollbackRefused
from vlamon.guard.settings import GuardSettings
from vlamon.guard.snapshots import Snapshots
from vlamon.guard.status import StatusReporter
from vlamon.guard.verdicts import JudgedStep


@dataclass(frozen=True, slots=True)
class Question:
    """The operator is to be asked; the training stands still meanwhile."""

    explosion: Explosion
    decision: Decision


@dataclass(frozen=True, slots=True)
class Stop:
    """The training ends."""

    why: str


@dataclass(frozen=True, slots=True)
class Continue:
    """The training goes on."""

    step: int
    """The next step."""
    why: str
    """One clause."""


Answer = Continue | Question | Stop


class Response:
    """Reports explosions, asks the policy about them, and does what it decides."""

    def __init__(
        self,
        policy: Policy,
        settings: GuardSettings,
        ledger: Ledger,
        detection: Detection,
        snapshots: Snapshots,
        rollback: Rollback,
        evidence: ExplosionFiles,
        reporter: Reporter,
        status: StatusReporter,
    ) -> None:
        self.policy = policy
        self._default = DefaultPolicy(settings)
        self._ledger = ledger
        self._detection = detection
        self._snapshots = snapshots
        self._rollback = rollback
        self._evidence = evidence
        self._reporter = reporter
        self._status = status

    def to_explosion(self, step: int, judged: JudgedStep) -> Answer:
        """Report an explosion that some rank saw, and answer it; called by all ranks."""
        reading, judgement = judged.reading, judged.judgement
        mine = None
        if judgement.level == "explode":
            samples = plain_samples(reading.samples)
            mine = judgement, reading.values, samples, reading.prevented
        seen = collectives.everyone(mine)
        found = {rank: each for rank, each in enumerate(seen) if each is not None}
        # The worst rank's is reported: on the others nothing needs to be wrong.
        worst, values, samples, prevented = max(
            found.values(), key=lambda each: worst_ratio(each[0])
        )
        self._reporter.explode(reading.step, worst, values, samples, list(found))
        self._ledger.explosions += 1
        ratio = worst_ratio(worst)
        episode = self._detection.begin_episode(step, ratio, reading.step)
        age = max(judgement.verdict.age for judgement, *_ in found.values())
        if episode.climbed:  # the rungs that answered it cost some steps
            age = max(age, min(reading.step - episode.onset, INSTANT))
        self._evidence.keep(self._ledger.attempt, reading.batch)
        explosion = Explosion(
            reading.step,
            judgement,
            reading.values,
            reading.batch,
            reading.samples,
            tuple(self._detection.history),
            age=age,
            metric=worst.metric,
            value=values.get(worst.metric),
            ratio=ratio,
            prevented=prevented,
        )
        return self.answer(step, explosion)

    def answer(self, step: int, explosion: Explosion, unanswered: Decision | None = None) -> Answer:
        """Do what the policy decides; `unanswered` is a question whose deadline has passed."""
        decision = self._decide(step, explosion, unanswered)
        match decision.action:
            case "rollback":
                self._take_lr_back()
                request = Request(step=step, explosion=explosion, decision=decision)
                done = self._rollback.run(request)
                if isinstance(done, RollbackRefused):
                    following = self.continue_without_rollback(step, explosion)
                    return Continue(following, done.why)
                return Continue(done.following, decision.why)
            case "ask":
                return self._ask(explosion, decision)
            case "climb":
                return self._climb(step, decision)
            case "stop":
                return Stop(decision.why)
            case "report":
                following = self.continue_without_rollback(step, explosion)
                return Continue(following, decision.why)

    def _climb(self, step: int, decision: Decision) -> Continue:
        """Go on by a rung of the ladder; what was held before the explosion stays good."""
        episode = self._detection.episode
        assert episode is not None
        episode.climbed += 1
        if decision.lr_factor != 1.0:
            episode.lowered_from = self._ledger.lr_scale
            self._ledger.lowered += 1
            self._ledger.lower_lr(decision.lr_factor)
            self._rollback.apply_lr_scale(step)
        text = f"goes on by rung {decision.rung} of the ladder: {decision.why}"
        self._reporter.event("note", step, text, "warn", rung=decision.rung)
        self._status.refresh()
        return Continue(step + 1, decision.why)

    def _take_lr_back(self) -> None:
        """A lower lr that did not help is taken back before a rollback."""
        episode = self._detection.episode
        if episode is not None and episode.lowered_from is not None:
            self._ledger.lr_scale = episode.lowered_from
            self._ledger.backoffs = max(0, self._ledger.backoffs - 1)
            episode.lowered_from = None

    def continue_without_rollback(self, step: int, explosion: Explosion | None) -> int:
        """Go on as it is; states taken since the onset are not to be trusted."""
        if self._detection.episode is not None:
            self._detection.episode.climbed = 0
        if self._snapshots.doubt(explosion.before if explosion else None):
            self._status.refresh()
        return step + 1

    def _ask(self, explosion: Explosion, decision: Decision) -> Answer:
        """Ask the operator; without one, waiting helps only if it ends in an answer of its own."""
        for_ever = decision.deadline is None or math.isinf(decision.deadline)
        if not (decision.last_resort or for_ever):
            return Question(explosion, decision)
        if not collectives.everyone(self._reporter.emitter is not None)[0]:
            return Stop(f"{decision.why}, and there is no emitter to be asked through")
        return Question(explosion, decision)

    def _decide(self, step: int, explosion: Explosion, unanswered: Decision | None) -> Decision:
        """The policy's decision, rank 0's on every rank; the default where it fails."""
        episode = self._detection.episode
        situation = Situation(
            mode=self._ledger.mode,
            step=step,
            metric=explosion.metric,
            value=explosion.value,
            ratio=explosion.ratio,
            age=explosion.age,
            attempt=self._ledger.attempt,
            budget_left=self._ledger.budget_left,
            backoffs=self._ledger.backoffs,
            since_rollback=self._ledger.since_rollback,
            lr_scale=self._ledger.lr_scale,
            prevented=explosion.prevented,
            climbed=episode.climbed if episode else 0,
            lowered=bool(episode and episode.lowered_from is not None),
            unanswered=unanswered,
        )
        try:
            decision = self.policy.decide(situation)
            if not isinstance(decision, Decision) or decision.action not in ACTIONS:
                raise TypeError(f"{decision!r:.80} is not a Decision of {', '.join(ACTIONS)}")
        except Exception as error:
            text = f"the policy failed, the default one decides: {type(error).__name__}: {error}"
            logging.getLogger("vlamon.guard").exception("step %d: %s", step, text)
            self._reporter.event("note", step, text, "error")
            decision = self._default.decide(situation)
        agreed: Decision = collectives.everyone(decision)[0]
        return agreed

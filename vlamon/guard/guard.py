"""The guard around anyone's training loop: detect, decide, roll back, explain.

    guard = Guard(model, optimizer, schedulers=[scheduler], sampler=sampler, emitter=emitter)
    step = guard.start()
    while step < total and not guard.stopped:
        batch = next(sampler)
        loss = loss_of(model, batch)
        loss.backward()
        if guard.check(step, closs=loss):        # False: a non-finite number, do not step
            optimizer.step()
            scheduler.step()
        optimizer.zero_grad()
        step = guard.after_step(step, batch=batch)   # the next step, or one to go back to

Everything happens on the training thread at a step boundary, the same on every rank.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from vlamon.detect.components import GRAD_NORM
from vlamon.detect.spikes import Judgement, Verdict
from vlamon.guard import collectives
from vlamon.guard.autopsy import Explosion
from vlamon.guard.checkpoint.writer import DurableError, Loaded
from vlamon.guard.episode import Episode, alarming, worst_ratio
from vlamon.guard.gate import BLOCKED_IN_A_ROW, finite, may_step
from vlamon.guard.policy import Decision, Mode
from vlamon.guard.reporting import QUIET_STEPS, plain_samples, said_value
from vlamon.guard.state.capture import StateMismatch, capture_rng
from vlamon.guard.steering import Pause, Steering
from vlamon.guard.values import Reading, Value, read
from vlamon.guard.verdicts import Judged, add, worst


class Guard(Steering):
    """Keeps a training from being lost to an explosion."""

    def start(self, resume: bool = True) -> int:
        """The first step to run: 0, or the one after the newest whole checkpoint in `run_dir`."""
        self._started = True
        self._carried = self._take_order()  # asking tells the monitors that orders are served
        loaded = self.checkpoints.load(self.state) if resume else None
        step = -1
        if loaded is not None:
            self._take_over(loaded)
            self.policy.attempt = max(self.policy.attempt + 1, self.reporter.attempt)
            self.reporter.set_attempt(self.policy.attempt)
            self._scale_restored(loaded.meta.get("note", {}))
            step = loaded.step
            self.reporter.event("resumed", step, f"resumed after step {step} from {loaded.path}")
            if loaded.ranks != collectives.world():
                self.reporter.event("note", step, self.checkpoints.dealt_anew(loaded), "warn")
        self._snapshot(step, trusted=True)
        self._rng_before = capture_rng(self.state.generators)
        return step + 1

    def _take_over(self, loaded: Loaded) -> None:
        try:
            self.state.restore(loaded.state)
            self.policy.load_state_dict(loaded.meta["policy"])
            place = loaded.meta["note"].get("place", loaded.step + 1)
            self.skips.load_state_dict(loaded.meta["skips"], place)
        except (StateMismatch, KeyError) as error:
            what = f"its meta lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DurableError(
                f"{loaded.path} does not fit this training: {what}; resume with the version and "
                "the settings that wrote it, or begin in another run directory"
            ) from error

    def check(self, step: int, **values: Value) -> bool:
        """Judge a step's losses before its update; False if a non-finite number would get in.

        What is handed over here is a loss, whatever it is called. Other numbers that should be on
        record before an explosion (lr, a clipped share) belong to `after_step`.
        """
        if not self._started:
            raise RuntimeError("call Guard.start() before the first step")
        self.ring.fence()
        verdict = finite(self.optimizers, values)
        self._take_in(step, values, verdict)
        self._judge_ready(step)
        return may_step(self.optimizers, verdict)

    def ballot(self, step: int, **values: Value) -> torch.Tensor:
        """This rank's part of the decision, to be summed over ranks with whatever is summed anyway.

        Hand the sum to `after_step`. Not needed where the guard may do a reduction of its own.
        """
        if values:
            self._take_in(step, values)
        self._judge_ready(step)
        return self._ballot()

    def after_step(
        self,
        step: int,
        *,
        batch: Any = None,
        samples: Any = None,
        summed: torch.Tensor | None = None,
        **values: Value,
    ) -> int:
        """Close a step: the next one to run, or the one after the snapshot that was returned to."""
        if values:
            self._readings.append(read(step, values))
        self._judge_ready(step)
        for reading in [*self._readings, *(judged.reading for judged in self._judged)]:
            if reading.step == step:
                reading.batch, reading.samples = batch, samples
        if summed is None:
            summed = collectives.reduced(self._ballot())
        outcome = collectives.count(summed)
        order = self._order_of(outcome.order)
        self.policy.tick()
        self.skips.drawn()
        self._hear()
        nxt = self._answer_levels(step, outcome)
        if order is not None and nxt == step + 1:
            ordered = self._obey(order, step)
            nxt = self._hold(step) if ordered is None else ordered
        elif order is not None:
            order.refuse("the guard rolled back at this very step")
        if nxt == step + 1:
            quiet = outcome.exploded == 0 and outcome.warned == 0
            self._keep_states(step, quiet, writing=outcome.writing > 0)
        self.skips.pass_over()
        self._rng_before = capture_rng(self.state.generators)
        return nxt

    def checkpoint(self, step: int) -> None:
        """Write a checkpoint behind a finished step, unless there is one; `close` waits for it.

        Called by all ranks.
        """
        self.checkpoints.close()
        if not self.checkpoints.holds(step):
            self.checkpoints.save(step, self.state, self._meta(), None)

    def close(self) -> None:
        """Wait for checkpoints that are being written. Call it when the loop has ended."""
        self.checkpoints.close()
        self.keeper.close()
        self._hear()

    @property
    def lr_scale(self) -> float:
        """What the planned lr is multiplied by."""
        return self.policy.lr_scale

    @property
    def mode(self) -> Mode:
        """Mode in force."""
        return self.policy.mode

    def _take_in(
        self, step: int, values: Mapping[str, Value], verdict: torch.Tensor | bool = True
    ) -> None:
        """Losses of a step, and what the gate says of its update."""
        weights = self._weights_now()
        if not any(name in weights for name in values):
            self.detectors.take_on(values)
        self._readings.append(read(step, values, verdict))

    def _judge_ready(self, step: int) -> None:
        """Judge what is on the host: this step on a CPU, the step before on a GPU."""
        while self._readings:
            reading = self._readings[0]
            if reading.pinned is not None and reading.step == step:
                return
            reading.settle()
            self._readings.popleft()
            judgement = self._judge(reading)
            episode = self._episode
            news = judgement.level == "explode" and (
                episode is None
                or reading.step - episode.last > QUIET_STEPS
                or episode.is_news(judgement)
            )
            add(self._judged, Judged(reading, judgement, news))
            self._remember(reading)
            if news and self._rng_before is not None:
                self.keeper.note(reading, judgement, self.state, self._rng_before)

    def _judge(self, reading: Reading) -> Judgement:
        judgement, known = Judgement(), self.policy.mode != "off"
        if known and reading.values:
            judgement = self.detectors.observe(reading.values, self._weights_now())
        sound = all(value is None or math.isfinite(value) for value in reading.values.values())
        blocked = reading.blocked and (sound or not known)
        if self._blockage.note(reading.step, blocked):
            text = "no update: a gradient is not finite; the weights stay as they are"
            self.reporter.event("warn", reading.step, text, "warn")
        if count := self._blockage.ended(reading.step):
            text = f"updates go through again: {count} had a gradient that was not finite"
            self.reporter.event("recovered", reading.step, text)
        if known and blocked and self._blockage.running >= BLOCKED_IN_A_ROW:
            reason = f"not finite, and no update for {self._blockage.running} steps"
            verdict = Verdict("explode", math.inf, math.inf, reason)
            return Judgement({**judgement.verdicts, GRAD_NORM: verdict}, GRAD_NORM)
        return judgement

    def _remember(self, reading: Reading) -> None:
        """For the evidence: what a step had, in how many calls ever it came."""
        values: Mapping[str, float | None] = reading.values
        if self._history and self._history[-1][0] == reading.step:
            values = {**self._history.pop()[1], **values}
        if values:
            self._history.append((reading.step, values))

    def _ballot(self) -> torch.Tensor:
        level = max(
            (judged.level for judged in self._judged),
            key=("ok", "warn", "known", "explode").index,
            default="ok",
        )
        return collectives.cast(level, self._take_order(), self.checkpoints.busy)

    def _answer_levels(self, step: int, outcome: collectives.Outcome) -> int:
        judged, self._judged = self._judged, []
        if outcome.exploded:
            return self._exploded(step, worst(judged, step))
        if outcome.warned:
            for each in judged:
                self.reporter.warn(each.reading.step, each.judgement, each.reading.values)
        if self._episode is not None and outcome.known:
            self._episode.last = step
            self._get_used_to(self._episode, worst(judged, step))
            return self._leave_it(step, None)
        self._trust(step)
        if self._episode is not None and step - self._episode.last > QUIET_STEPS:
            self._episode = None
            self.reporter.event("recovered", step, f"calm again for {QUIET_STEPS} steps")
        if self._recovers_at is not None and self.policy.ticks >= self._recovers_at:
            self._recovers_at = None
            self._returned_to = None
            self.reporter.event(
                "recovered", step, f"no explosion for {self.settings.cooldown} steps"
            )
        return step + 1

    def _get_used_to(self, episode: Episode, judged: Judged) -> None:
        """A level that stays is the usual one: judge by it, so that the next explosion is seen."""
        step, judgement = judged.reading.step, judged.judgement
        if not episode.overdue(step) or judgement.level != "explode":
            return
        since, episode.began = step - episode.began, step
        said = f"{judgement.metric} {said_value(judged.reading.values.get(judgement.metric))}"
        if math.isinf(worst_ratio(judgement)):
            text = f"{said} still: it has not been finite for {since} steps"
            self.reporter.event("warn", step, text, "error")
            return
        self.detectors.reset(alarming(judgement))
        episode.worst = 1.0
        text = f"{said} is the usual level from now on: it has stayed for {since} steps"
        self.reporter.event("note", step, text, "warn")

    def _exploded(self, step: int, judged: Judged) -> int:
        reading, judgement = judged.reading, judged.judgement
        seen = collectives.everyone(
            (judgement, reading.values, plain_samples(reading.samples))
            if judgement.level == "explode"
            else None
        )
        found = {rank: each for rank, each in enumerate(seen) if each is not None}
        # Told is the worst rank's: on the others nothing needs to be wrong.
        told, values, samples = max(found.values(), key=lambda each: worst_ratio(each[0]))
        self.reporter.explode(reading.step, told, values, samples, list(found))
        known = self._episode.worst if self._episode is not None else 1.0
        self._episode = Episode(step, step, max(known, worst_ratio(told)))
        self.keeper.keep(self.policy.attempt, reading.batch)
        explosion = Explosion(
            reading.step,
            judgement,
            reading.values,
            reading.batch,
            reading.samples,
            tuple(self._history),
            age=max(each.verdict.age for each, _, _ in found.values()),
        )
        decision = self.policy.decide()
        if decision.action == "ask":
            return self._ask(step, explosion, decision)
        if decision.action == "report":
            return self._leave_it(step, explosion)
        return self._roll_back(step, explosion, decision)

    def _ask(self, step: int, explosion: Explosion, decision: Decision) -> int:
        if decision.waits_for_ever or math.isinf(self.settings.deadline):
            nxt = self._ask_for_ever(step, decision, explosion)
            return self._hold(step) if nxt is None else nxt
        why = f"explosion: {decision.why}; waiting for the operator"
        self._stand(step, Pause(why, time.time() + self.settings.deadline, explosion))
        return self._hold(step)

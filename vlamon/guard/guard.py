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

import logging
import math
from typing import Any

import torch

from vlamon.analysis.spikes import Judgement
from vlamon.guard import agreement
from vlamon.guard.autopsy import Explosion
from vlamon.guard.durable import DurableError, Loaded
from vlamon.guard.gate import finite_step
from vlamon.guard.policy import Decision, Mode
from vlamon.guard.readings import Reading, Value, read
from vlamon.guard.reporting import QUIET_STEPS
from vlamon.guard.state import StateMismatch, capture_rng
from vlamon.guard.steering import Steering


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
            self._scale_lr(self.policy.lr_scale, self.policy.lr_scale)
            step = loaded.step
            self.reporter.event("resumed", step, f"resumed after step {step} from {loaded.path}")
            if loaded.ranks != agreement.world():
                self.reporter.event("note", step, self.checkpoints.dealt_anew(loaded), "warn")
        self._snapshot(step, trusted=True)
        self._rng_before = capture_rng(self.state.generators)
        return step + 1

    def _take_over(self, loaded: Loaded) -> None:
        try:
            self.state.restore(loaded.state)
            self.policy.load_state_dict(loaded.meta["policy"])
            self.skips.load_state_dict(loaded.meta["skips"])
        except (StateMismatch, KeyError) as error:
            what = f"its meta lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DurableError(
                f"{loaded.path} does not fit this training: {what}; resume with the version and "
                "the settings that wrote it, or begin in another run directory"
            ) from error

    def check(self, step: int, **values: Value) -> bool:
        """Judge a step's losses before its update; False if a non-finite number would get in."""
        if not self._started:
            raise RuntimeError("call Guard.start() before the first step")
        self.ring.fence()
        if values:
            self._readings.append(read(step, values))
            self._judge_ready(step)
        return finite_step(self.optimizers, values)

    def ballot(self, step: int, **values: Value) -> torch.Tensor:
        """This rank's part of the decision, to be summed over ranks with whatever is summed anyway.

        Hand the sum to `after_step`. Not needed where the guard may do a reduction of its own.
        """
        if values:
            self._readings.append(read(step, values))
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
        for reading in self._readings:
            if reading.step == step:
                reading.batch, reading.samples = batch, samples
        if step in self._judged:
            self._judged[step][0].batch, self._judged[step][0].samples = batch, samples
        if summed is None:
            summed = agreement.reduced(self._ballot())
        outcome = agreement.count(summed)
        order = self._order_of(outcome.order)
        self.policy.tick()
        self.checkpoints.poll()
        nxt = self._answer_levels(step, outcome)
        if order is not None and nxt == step + 1:
            nxt = self._execute(order, step)
        elif order is not None:
            order.refuse("the guard rolled back at this very step")
        if nxt == step + 1:
            quiet = outcome.exploded == 0 and outcome.warned == 0
            self._keep_states(step, quiet, writing=outcome.writing > 0)
        self.skips.pass_over()
        self._rng_before = capture_rng(self.state.generators)
        return nxt

    def checkpoint(self, step: int) -> None:
        """Write a checkpoint behind a finished step, unless there is one; `close` waits for it."""
        self.checkpoints.close()
        if self.checkpoints.begun != step:
            self.checkpoints.save(step, self.state, self._meta(), None)

    def close(self) -> None:
        """Wait for checkpoints that are being written. Call it when the loop has ended."""
        self.checkpoints.close()
        self.keeper.close()

    @property
    def lr_scale(self) -> float:
        """What the planned lr is multiplied by."""
        return self.policy.lr_scale

    @property
    def mode(self) -> Mode:
        """Mode in force."""
        return self.policy.mode

    def _judge_ready(self, step: int) -> None:
        """Judge what is on the host: this step on a CPU, the step before on a GPU."""
        while self._readings:
            reading = self._readings[0]
            if reading.pinned is not None and reading.step == step:
                return
            reading.settle()
            self._readings.popleft()
            judgement = Judgement()
            if self.policy.mode != "off":
                judgement = self.detectors.observe(reading.values, self._weights_now())
            self._judged = {reading.step: (reading, judgement)}
            self._history.append((reading.step, reading.values))
            fresh = judgement.level == "explode" and self._episode is None
            if fresh and self._rng_before is not None:
                self.keeper.note(reading, judgement, self.state, self._rng_before)

    def _ballot(self) -> torch.Tensor:
        level = max(
            (judgement.level for _, judgement in self._judged.values()),
            key=("ok", "warn", "explode").index,
            default="ok",
        )
        return agreement.cast(level, self._take_order(), self.checkpoints.busy)

    def _answer_levels(self, step: int, outcome: agreement.Outcome) -> int:
        reading, judgement = next(iter(self._judged.values()), (Reading(step), Judgement()))
        self._judged = {}
        if outcome.exploded:
            return self._exploded(step, reading, judgement)
        if outcome.warned:
            self.reporter.warn(reading.step, judgement, reading.values)
        self.ring.quiet_until(step)
        if self._episode is not None and step - self._episode > QUIET_STEPS:
            self._episode = None
            self.reporter.event("recovered", step, f"calm again for {QUIET_STEPS} steps")
        if self._recovers_at is not None and self.policy.ticks >= self._recovers_at:
            self._recovers_at = None
            self._returned_to = None
            self.reporter.event(
                "recovered", step, f"no explosion for {self.settings.cooldown} steps"
            )
        return step + 1

    def _exploded(self, step: int, reading: Reading, judgement: Judgement) -> int:
        goes_on = self._episode is not None and step - self._episode <= QUIET_STEPS
        if goes_on:
            self._episode = step
            return step + 1
        said = agreement.everyone((judgement.level, judgement.verdict.age))
        ranks = [rank for rank, (level, _) in enumerate(said) if level == "explode"]
        self.reporter.explode(reading.step, judgement, reading.values, reading.samples, ranks)
        self.keeper.keep(self.policy.attempt, reading.batch)
        explosion = Explosion(
            reading.step,
            judgement,
            reading.values,
            reading.batch,
            reading.samples,
            tuple(self._history),
            age=max(age for _, age in said),
        )
        decision = self.policy.decide()
        if decision.action == "ask":
            return self._ask(step, explosion, decision)
        if decision.action == "report":
            return self._leave_it(step, explosion)
        return self._roll_back(step, explosion, decision)

    def _ask(self, step: int, explosion: Explosion, decision: Decision) -> int:
        asked = agreement.everyone(self.reporter.emitter is not None)[0]
        if decision.waits_for_ever and not asked:
            self.stopped = True
            why = f"{decision.why}, and there is no emitter to be asked through: the training stops"
            self.reporter.event("paused", step, why, "error")
            logging.getLogger("vlamon.guard").error("step %d: %s", step, why)
            return self._leave_it(step, explosion)
        wait = math.inf if decision.waits_for_ever else self.settings.deadline
        order = self._hold(step, f"explosion: {decision.why}; waiting for the operator", wait)
        if order.code.name == "act":
            acting = self.policy.act()
            if acting.action != "rollback":
                return self._leave_it(step, explosion)
            return self._roll_back(step, explosion, acting)
        if order.code.name == "rollback":
            return self._rollback_ordered(order, step, explosion)
        if order.code.name == "resume":
            order.done({"step": step})
        return self._leave_it(step, explosion)

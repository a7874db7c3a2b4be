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

Everything happens on the training thread at a step boundary, the same on every rank. There, in this
order: what was judged is put into a ballot and summed over ranks; an explosion is reported and
answered, else snapshots that are old enough become trusted; a command is carried out; and where the
training goes on with the next step, a snapshot or checkpoint that is due is taken.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.detect.spikes import ComponentDetectors
from vlamon.guard import collectives
from vlamon.guard.assembly import GuardArguments, Parts
from vlamon.guard.autopsy import Probe, Replay
from vlamon.guard.command_queue import AgreedCommand
from vlamon.guard.data import GuardedLoader
from vlamon.guard.forensics import Rebuild
from vlamon.guard.gate import may_step, pass_on
from vlamon.guard.loss_weights import Weights
from vlamon.guard.optimizers import checked
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.policy import Policy
from vlamon.guard.settings import GuardSettings
from vlamon.guard.state.capture import (
    Stateful,
    Tree,
    capture_rng,
    cuda_runs,
)
from vlamon.guard.values import Value
from vlamon.guard.verdicts import worst
from vlamon.guard.worth import Pace, worth

if TYPE_CHECKING:
    from vlamon import Emitter


class Guard:
    """Keeps a training from being lost to an explosion."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer],
        *,
        schedulers: Sequence[Stateful] = (),
        sampler: Stateful | Iterable[Any] | None = None,
        emitter: Emitter | None = None,
        run_dir: str | Path | None = None,
        settings: GuardSettings | None = None,
        policy: Policy | None = None,
        extras: Mapping[str, Stateful] | None = None,
        generators: Sequence[torch.Generator | np.random.Generator] = (),
        weights: Weights | Callable[[], Weights] | None = None,
        detectors: ComponentDetectors | None = None,
        probe: Probe | None = None,
        replay: Replay | None = None,
        rebuild: Rebuild | None = None,
        settable: Mapping[str, Callable[[float], Any]] | None = None,
        set_lr_scale: Callable[[float], Any] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Only model and optimizers are needed; the rest makes a return exact and explained.

        `policy` decides about explosions instead of the shipped one. `extras` are more things with
        `state_dict` (scaler, EMA, caches). `weights` of the losses tell which are trained; without
        them they are the emitter's; a mutable mapping that the script reads at each step can be
        changed by `vlamon ctl set`. `probe` and `replay` are for the autopsy. `settable` adds to
        what `vlamon ctl set` may change. `set_lr_scale` is for a schedule of one's own; without it
        the rates are scaled while the optimizers step. `should_stop` says whether the training is
        to end (a signal, a limit of time): it is asked at every step, and one rank's yes ends all.
        """
        given = GuardArguments(
            model=model,
            optimizers=checked(optimizers),
            schedulers=schedulers,
            sampler=sampler,
            emitter=emitter,
            run_dir=Path(run_dir) if run_dir is not None else None,
            settings=settings or GuardSettings(),
            policy=policy,
            extras=extras or {},
            generators=generators,
            weights=weights,
            detectors=detectors or ComponentDetectors(),
            probe=probe,
            replay=replay,
            rebuild=rebuild,
            settable=settable or {},
            set_lr_scale=set_lr_scale,
            should_stop=should_stop,
        )
        self._begin(Parts(given))

    def _begin(self, parts: Parts) -> None:
        self.optimizers = parts.optimizers
        self.settings, self.reporter, self.ledger = parts.settings, parts.reporter, parts.ledger
        self.detection, self.snapshots, self.skips = parts.detection, parts.snapshots, parts.skips
        self.evidence, self.rollback = parts.evidence, parts.rollback
        self.response, self.commands = parts.response, parts.commands
        self._state, self._weights, self._status = parts.state, parts.weights, parts.status
        self._resume, self._order_is_lost = parts.resume, parts.order_is_lost
        self._prevention, self._scaled = parts.prevention, parts.scaled
        self._durable = parts.durable
        self._rng_before: Tree | None = None
        """Random streams at the beginning of the step, for the evidence."""
        self._started = False
        self._pace = Pace()
        self._following: deque[int] = deque(maxlen=1)
        """Step to run next, once `after_step` has said so."""

    def loader(self, loader: Iterable[Any], *, accumulate: int = 1) -> GuardedLoader:
        """A loader to iterate instead, whose order every rollback and resume puts back.

        `accumulate` is the number of batches that a step takes.
        """
        if self._started:
            raise RuntimeError(
                "call Guard.loader() before Guard.start(), which may resume its order"
            )
        guarded = GuardedLoader(loader, accumulate)
        if not guarded.repeats:
            self._order_is_lost(f"{type(loader).__name__} is an iterator, which begins only once")
        self._state.add("sampler", guarded)
        self.skips.follow(guarded)
        return guarded

    def batches(
        self,
        loader: Iterable[Any],
        *,
        accumulate: int = 1,
        steps: int | None = None,
        epochs: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Every step with its batch, or with a list of `accumulate` batches, until the training is
        to stop; resumes, goes back and skips by itself.

        Call `after_step` at the end of each step. SIGTERM and SIGUSR1 to any rank end the loop
        behind the step that runs, with a checkpoint where there is a `run_dir`, unless the script
        has handlers of its own.
        """
        with self.commands.ending.listening():
            yield from self._batches(loader, accumulate, steps, epochs)

    def _batches(
        self, loader: Iterable[Any], accumulate: int, steps: int | None, epochs: int | None
    ) -> Iterator[tuple[int, Any]]:
        guarded = self.loader(loader, accumulate=accumulate)
        step, stream = self.start(), guarded.endless()
        while not self.stopped and (steps is None or step < steps):
            drawn = list(itertools.islice(stream, accumulate))
            if epochs is not None and guarded.epoch >= epochs:
                return
            self._following.clear()
            yield step, drawn[0] if accumulate == 1 else drawn
            if not self._following:
                raise RuntimeError(f"call Guard.after_step({step}, …) at the end of the step")
            step = self._following[-1]
        if self.commands.signalled and self._durable:
            self.checkpoint(step - 1)

    def start(self, resume: bool = True, *, step: int | None = None) -> int:
        """The first step to run: 0, or the one after the newest whole checkpoint in `run_dir`.

        A script that has resumed by itself says with `step` which one it runs first: nothing is
        loaded then, and no rollback returns to before it.
        """
        self._started = True
        self._weights.share()
        self.commands.next()  # asking tells the monitors that commands are taken
        finished = -1 if step is None else step - 1
        if resume and step is None:
            finished = self._resume.newest()
        self.snapshots.begin(finished)
        self._status.refresh()
        self._rng_before = self._streams()
        return finished + 1

    def check(self, step: int, **values: Value) -> bool:
        """Judge a step's losses before its update; False if a non-finite number would get in, or if
        the ladder skips the update. Under DeepSpeed always True: call `engine.step()` in any case,
        which passes over such an update. A gradient scaler's `unscale_` comes before it.

        What is handed over here is a loss, whatever it is called. Other numbers that should be on
        record before an explosion (lr, a clipped share) belong to `after_step`.
        """
        if not self._started:
            raise RuntimeError("call Guard.start() before the first step")
        self.snapshots.ring.fence()
        gate = self._prevention.examine(values)
        self.detection.take_in(step, values, gate)
        self._judge(step)
        may = may_step(self.optimizers, gate.update, waits=self._scaled)
        return pass_on(self.optimizers, may)

    def ballot(self, step: int, **values: Value) -> torch.Tensor:
        """This rank's part of the decision, to be summed over ranks with whatever is summed anyway.

        Hand the sum to `after_step`. Not needed where the guard may do a reduction of its own.
        """
        if values:
            self.detection.take_in(step, values)
        self._judge(step)
        return collectives.cast(*self._mine())

    def after_step(
        self,
        step: int,
        *,
        batch: Any = None,
        samples: Any = None,
        summed: torch.Tensor | None = None,
        goes_back: bool = True,
        **values: Value,
    ) -> int:
        """Close a step: the next one to run, or the one after the snapshot that was returned to.

        With `goes_back=False`, for a loop that owns its counter, it is always the next one: a
        rollback leaves the counter and the schedule where they are.
        """
        self.rollback.goes_back = goes_back
        if values:
            self.detection.add(step, values)
        self._judge(step)
        self.detection.attach(step, batch, samples)
        outcome = (
            collectives.decided(*self._mine()) if summed is None else collectives.count(summed)
        )
        command = self.commands.agreed(outcome.command)
        self.ledger.tick()
        self._pace.step(time.monotonic())
        self.skips.drawn()
        if said := self._prevention.close_step():
            self.reporter.event("note", step, said, "warn")
        self._poll_writers()
        following = self._answer(step, outcome)
        if command is not None and not self.ledger.just_rolled_back:
            following = self.commands.execute(command, step)
        elif command is not None:
            command.refuse("the guard rolled back at this very step")
        if not self.ledger.just_rolled_back:
            self._keep(step, outcome)
        if outcome.ending and not self.stopped:
            self.commands.end_if_requested(step)
        self.skips.pass_over()
        self._rng_before = self._streams()
        self._following.append(following)
        return following

    def checkpoint(self, step: int) -> None:
        """Write a checkpoint behind a finished step, unless there is one; `close` waits for it.

        Called by all ranks.
        """
        self.snapshots.write_last(step)

    def close(self) -> None:
        """Wait for checkpoints that are being written. Call it when the loop has ended."""
        self.snapshots.checkpoints.close()
        self.evidence.close()
        self._poll_writers()
        gpus = collectives.world() if cuda_runs() else 0
        self.reporter.sum_up(self.detection.last_step, worth(self.ledger, self._pace.seconds, gpus))
        self.reporter.audit.close()

    @property
    def stopped(self) -> bool:
        """Whether the training is to end; the loop looks at it."""
        return self.commands.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        self.commands.stopped = stopped

    @property
    def lr_scale(self) -> float:
        """What the planned lr is multiplied by."""
        return self.ledger.lr_scale

    @property
    def mode(self) -> str:
        """Mode in force."""
        return self.ledger.mode

    def _judge(self, step: int) -> None:
        """Judge what is on the host, and keep the state of an explosion that is news."""
        for judged in self.detection.judge_ready(step):
            self.evidence.note(judged.reading, judged.judgement, self._state, self._rng_before)

    def _streams(self) -> Tree | None:
        """The random streams as they are; None where there is no memory for them."""
        try:
            with memory_for("the random streams"):
                return capture_rng(self._state.generators)
        except NoMemory:  # reported where an explosion could need them
            return None

    def _mine(self) -> tuple[str, AgreedCommand | None, bool, bool]:
        """What this rank saw and was asked to do."""
        level, command = self.detection.level(), self.commands.next()
        writing, ending = self.snapshots.checkpoints.busy, self.commands.ending.requested()
        return level, command, writing, ending

    def _answer(self, step: int, outcome: collectives.Outcome) -> int:
        """What all ranks together saw at this step, and the next step after it."""
        judged = self.detection.take_judged()
        if outcome.exploded:
            answer = self.response.to_explosion(step, worst(judged, step))
            return self.commands.settle(step, answer)
        if outcome.warned:
            for each in judged:
                self.reporter.warn(each.reading.step, each.judgement, each.reading.values)
        if outcome.known and self.detection.explosion_continues(step, judged):
            return self.response.continue_without_rollback(step, None)
        self.snapshots.trust(step)
        self.detection.end_episode(step)
        self.rollback.confirm(step)
        return step + 1

    def _keep(self, step: int, outcome: collectives.Outcome) -> None:
        quiet = outcome.exploded == 0 and outcome.warned == 0
        closs = self.detection.history[-1][1].get("closs") if self.detection.history else None
        if self.snapshots.keep(step, closs, quiet=quiet, writing=outcome.writing > 0):
            self._status.refresh()

    def _poll_writers(self) -> None:
        """How the writes ended that run beside the training."""
        self.snapshots.checkpoints.poll()
        for step, why in self.evidence.failures():
            text = f"the explosion of step {step} is not kept on disk: {why}"
            self.reporter.event("note", step, text, "warn")
            if collectives.rank():
                logging.getLogger("vlamon.guard").warning("%s", text)
        self.reporter.poll_audit(self.detection.last_step)

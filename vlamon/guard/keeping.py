"""What a guard holds and keeps: its parts, snapshots, checkpoints, the lr's scale, its status."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.detect.spikes import ComponentDetectors
from vlamon.guard import collectives
from vlamon.guard.audit import Audit
from vlamon.guard.autopsy import Probe, Replay
from vlamon.guard.checkpoint.checkpoints import Checkpoints
from vlamon.guard.episode import Episode
from vlamon.guard.forensics import Keeper, Rebuild
from vlamon.guard.gate import Blockage
from vlamon.guard.lr_scale import RateScale, planned_again
from vlamon.guard.orders import Desk
from vlamon.guard.policy import GuardSettings, Policy
from vlamon.guard.reporting import Reporter
from vlamon.guard.ring import Ring
from vlamon.guard.skips import Skips
from vlamon.guard.state.capture import Stateful, TrainingState, Tree
from vlamon.guard.values import Reading
from vlamon.guard.verdicts import Judged
from vlamon.records import Snapshot

if TYPE_CHECKING:
    from vlamon import Emitter


class Keeping:
    """The parts of a guard, and the states that it keeps."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer],
        *,
        schedulers: Sequence[Stateful] = (),
        sampler: Stateful | None = None,
        emitter: Emitter | None = None,
        run_dir: str | Path | None = None,
        settings: GuardSettings | None = None,
        extras: Mapping[str, Stateful] | None = None,
        generators: Sequence[torch.Generator | np.random.Generator] = (),
        weights: Mapping[str, float] | Callable[[], Mapping[str, float]] | None = None,
        detectors: ComponentDetectors | None = None,
        probe: Probe | None = None,
        replay: Replay | None = None,
        rebuild: Rebuild | None = None,
        settable: Mapping[str, Callable[[float], Any]] | None = None,
        set_lr_scale: Callable[[float], Any] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Only model and optimizers are needed; the rest makes a return exact and explained.

        `extras` are more things with `state_dict` (scaler, EMA, caches). `weights` of the losses
        tell which are trained. `probe` and `replay` are for the autopsy. `settable` adds to what
        `vlamon ctl set` may change. `set_lr_scale` for a schedule of one's own; without it the
        rates are scaled while the optimizers step. `should_stop` says whether the training is to
        end (a signal, a limit of time): a paused guard asks it, and then gives the loop back.
        """
        self.settings = settings or GuardSettings()
        self.optimizers = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        self.schedulers = list(schedulers)
        self.sampler = sampler
        self.detectors = detectors or ComponentDetectors()
        self._weights = weights
        parts: dict[str, nn.Module | Optimizer | Stateful] = {"model": model}
        parts |= {f"optimizer.{i}": each for i, each in enumerate(self.optimizers)}
        parts |= {f"scheduler.{i}": each for i, each in enumerate(self.schedulers)}
        parts |= {} if sampler is None else {"sampler": sampler}
        parts |= {**(extras or {}), "detectors": self.detectors}
        self.state = TrainingState(parts, generators)

        self.run_dir = Path(run_dir) if run_dir is not None else None
        leads = collectives.rank() == 0
        self.reporter = Reporter(emitter if leads else None, Audit(self.run_dir if leads else None))
        self.policy = Policy(self.settings, mode=self.settings.mode)
        self.policy.attempt = self.reporter.attempt
        latency = self.detectors.latency
        reach = self.detectors.slow_latency
        self.spacing = self.settings.spacing_for(latency)
        self.late_spacing = self.settings.spacing_for(latency, older=2)
        """Spacing from the reach on: until then the state at the start is the old one."""
        self.ring = Ring(self.settings.slots, self.settings.trust_after(latency), reach)
        root = self.run_dir / "checkpoints" if self.run_dir else None
        trust_after = self.ring.trust_after
        self.checkpoints = Checkpoints(root, self.settings, self.reporter, trust_after)
        self.skips = Skips(sampler)
        self.keeper = Keeper(self.run_dir, rebuild)
        self.desk = Desk(settable or {})
        self.probe, self.replay = probe, replay
        self.rates = RateScale(self.optimizers)
        self._set_lr_scale = set_lr_scale
        self._should_stop = should_stop

        self.stopped = False
        """Whether an order asked the training to end; the loop looks at it."""
        self._history: deque[tuple[int, Mapping[str, float | None]]] = deque(maxlen=64)
        self._readings: deque[Reading] = deque()
        self._judged: list[Judged] = []
        self._blockage = Blockage()
        self._rng_before: Tree | None = None
        self._returned_to: int | None = None
        """Step of the state that the last rollback put in force, until it proved to be good."""
        self._episode: Episode | None = None
        """The explosion that goes on without a rollback."""
        self._recovers_at: int | None = None
        self._branched = False
        """Whether the newest checkpoint may be of the branch that a rollback left: a training that
        died now would resume there, and know nothing of budget, lr and skipped samples."""
        self._started = False

    def _weights_now(self) -> Mapping[str, float]:
        weights = self._weights
        if callable(weights):
            return weights()
        return weights or {}

    def _keep_states(self, step: int, quiet: bool, writing: bool) -> None:
        done = step + 1
        spacing = self.spacing if done <= self.ring.reach else self.late_spacing
        if self.settings.slots and done % spacing == 0 and quiet:
            self._snapshot(step)
        every, ordered = self.settings.durable_every, self.checkpoints.begun == step
        due = self._branched or bool(every and done % every == 0)
        if due and not (writing or ordered):
            self.checkpoints.save(step, self.state, self._meta(), None)
        if (due and not writing) or ordered:
            self._branched = False

    def _trust(self, step: int) -> None:
        """The detectors were quiet up to this step."""
        self.ring.quiet_until(step)
        self.checkpoints.shelf.quiet_until(step)

    def _hear(self) -> None:
        """How the writes ended that run beside the training."""
        self.checkpoints.poll()
        for step, why in self.keeper.failures():
            text = f"the explosion of step {step} is not kept on disk: {why}"
            self.reporter.event("note", step, text, "warn")
            if collectives.rank():
                logging.getLogger("vlamon.guard").warning("%s", text)

    def _snapshot(self, step: int, trusted: bool = False) -> None:
        closs = self._history[-1][1].get("closs") if self._history else None
        note = self._meta()["note"]
        self.ring.take(step, self.state.capture(), trusted=trusted, closs=closs, **note)
        self._tell("training")

    def _meta(self) -> dict[str, Any]:
        return {
            "policy": self.policy.state_dict(),
            "skips": self.skips.state_dict(),
            "note": {"place": self.skips.place},
        }

    def _scale_lr(self, scale: float) -> None:
        """Multiply the planned lr by this from the next step on."""
        if self._set_lr_scale is not None:
            self._set_lr_scale(scale)
        else:
            self.rates.set(scale)

    def _scale_restored(self, note: Mapping[str, Any]) -> None:
        """Put the factor in force on a state that was put back; it is no part of any state."""
        then = float(note.get("lr_scale", 1.0))
        if then != 1.0 and self._set_lr_scale is None:
            planned_again(self.optimizers, self.schedulers, then)  # written by an older version
        try:
            self._scale_lr(self.policy.lr_scale)
        except Exception as error:
            step = self._history[-1][0] if self._history else -1
            text = f"the lr could not be multiplied by {self.policy.lr_scale:g}: {error}"
            self.reporter.event("note", step, text, "error")

    def _tell(self, state: str, deadline: float | None = None) -> None:
        if self.reporter.emitter is None:
            return
        on_disk = [
            Snapshot(kept.step, str(kept.path), kept.trusted)
            for kept in self.checkpoints.shelf.held
            if kept.path is not None
        ]
        in_memory = [
            Snapshot(slot.step, "ring", slot.trusted, slot.time, slot.closs)
            for slot in self.ring.held()
        ]
        self.reporter.status(
            state=state,
            snapshots=(*on_disk, *in_memory),
            budget=self.policy.budget_left,
            guard=self.policy.mode,
            deadline=deadline,
        )

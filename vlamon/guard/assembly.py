"""The parts of a guard, each made once and handed to those that need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from vlamon.guard.command_queue import CommandQueue
from vlamon.guard.commands import Commands
from vlamon.guard.data import order_of
from vlamon.guard.detection import Detection
from vlamon.guard.ending import Ending
from vlamon.guard.explainer import Explainer
from vlamon.guard.forensics import ExplosionFiles, Rebuild
from vlamon.guard.gate import scales
from vlamon.guard.host_memory import RingPlan, planned
from vlamon.guard.ledger import Ledger
from vlamon.guard.loss_weights import LossWeights, Weights
from vlamon.guard.lr_scale import LrScale
from vlamon.guard.policy import DefaultPolicy, Policy
from vlamon.guard.prevention import Prevention
from vlamon.guard.reporting import Reporter
from vlamon.guard.response import Response
from vlamon.guard.resume import Resume
from vlamon.guard.ring import Ring
from vlamon.guard.rollback import Rollback
from vlamon.guard.settings import GuardSettings
from vlamon.guard.skips import Skips
from vlamon.guard.snapshots import Snapshots
from vlamon.guard.state.capture import LADDER, Stateful, TrainingState
from vlamon.guard.state.zero import ZeroOptimizer
from vlamon.guard.status import StatusReporter

if TYPE_CHECKING:
    from vlamon import Emitter


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardArguments:
    """What a script gives its guard; `Guard` says what each is for."""

    model: nn.Module
    optimizers: Sequence[Optimizer]
    schedulers: Sequence[Stateful]
    sampler: Stateful | Iterable[Any] | None
    emitter: Emitter | None
    run_dir: Path | None
    settings: GuardSettings
    policy: Policy | None
    extras: Mapping[str, Stateful]
    generators: Sequence[torch.Generator | np.random.Generator]
    weights: Weights | Callable[[], Weights] | None
    detectors: ComponentDetectors
    probe: Probe | None
    replay: Replay | None
    rebuild: Rebuild | None
    settable: Mapping[str, Callable[[float], Any]]
    set_lr_scale: Callable[[float], Any] | None
    should_stop: Callable[[], bool] | None


class Parts:
    """Everything that a guard is made of."""

    def __init__(self, given: GuardArguments) -> None:
        self.optimizers = list(given.optimizers)
        engines = any(isinstance(each, ZeroOptimizer) for each in self.optimizers)
        self.scaled = engines or any(map(scales, given.extras.values()))
        self.durable = given.run_dir is not None
        order = None if given.sampler is None else order_of(given.sampler)
        self.state = TrainingState(_state(given, order), given.generators)
        leads = collectives.rank() == 0
        emitter, audit = given.emitter if leads else None, Audit(given.run_dir if leads else None)
        self.reporter = Reporter(emitter, audit)
        memory = planned(given.settings.slots, given.settings.near, self.state)
        self.settings = dataclasses.replace(given.settings, slots=memory.slots, near=memory.near)
        self.ledger = Ledger(self.settings, self.settings.mode, attempt=self.reporter.attempt)
        if given.sampler is not None and order is None:
            self.order_is_lost(f"{type(given.sampler).__name__} is iterated by the script")
        if memory.text:
            self.reporter.event("note", -1, memory.text, "warn" if memory.lowered else "info")
        self.skips = Skips(order)
        self.weights = LossWeights(given.weights, given.emitter)
        self.detection = Detection(given.detectors, self.weights, self.ledger, self.reporter)
        self.prevention = Prevention(
            self.settings.ladder,
            self.optimizers,
            self.weights,
            self.ledger,
            self.state.flat(),
        )
        if self.prevention.watches:
            self.state.add(LADDER, self.prevention)
        self.snapshots = self._snapshots(given, memory)
        self.status = StatusReporter(self.reporter, self.snapshots, self.ledger)
        self.lr_scale = LrScale(given.optimizers, given.set_lr_scale)
        self.evidence = ExplosionFiles(given.run_dir, given.rebuild)
        self.explainer = Explainer(
            self.settings,
            self.snapshots,
            self.detection,
            self.skips,
            self.reporter,
            given.probe,
            given.replay,
        )
        self.rollback = self._rollback()
        self.resume = Resume(
            self.snapshots,
            self.ledger,
            self.skips,
            self.detection,
            self.rollback,
            self.reporter,
        )
        self.response = self._response(given)
        self.commands = self._commands(given)

    def order_is_lost(self, why: str) -> None:
        """Say that the data go on where they are, whatever the state is returned to."""
        text = (
            f"the order of the data is not restored by a rollback or a resume: {why}; "
            "iterate guard.loader(loader) instead"
        )
        self.reporter.event("note", -1, text, "warn")

    def _snapshots(self, given: GuardArguments, memory: RingPlan) -> Snapshots:
        latency = given.detectors.latency
        trust_after = given.settings.trust_after(latency)
        root = given.run_dir / "checkpoints" if given.run_dir else None
        return Snapshots(
            self.state,
            self.settings,
            Ring(memory.slots, trust_after, given.detectors.slow_latency, memory.near),
            Checkpoints(root, self.settings, self.reporter, trust_after),
            self.ledger,
            self.skips,
            latency,
            self.reporter,
            self.detection.climbing,
        )

    def _rollback(self) -> Rollback:
        return Rollback(
            self.settings,
            self.snapshots,
            self.detection,
            self.skips,
            self.ledger,
            self.lr_scale,
            self.reporter,
            self.status,
            self.explainer,
        )

    def _response(self, given: GuardArguments) -> Response:
        return Response(
            given.policy or DefaultPolicy(self.settings),
            self.settings,
            self.ledger,
            self.detection,
            self.snapshots,
            self.rollback,
            self.evidence,
            self.reporter,
            self.status,
        )

    def _commands(self, given: GuardArguments) -> Commands:
        return Commands(
            CommandQueue({**self.weights.settable(), **given.settable}),
            self.ledger,
            self.detection,
            self.snapshots,
            self.rollback,
            self.response,
            self.lr_scale,
            self.reporter,
            self.status,
            Ending(given.should_stop),
        )


def _state(
    given: GuardArguments, order: Stateful | None
) -> dict[str, nn.Module | Optimizer | Stateful]:
    """What a snapshot holds, by name."""
    parts: dict[str, nn.Module | Optimizer | Stateful] = {"model": given.model}
    parts |= {f"optimizer.{i}": each for i, each in enumerate(given.optimizers)}
    parts |= {f"scheduler.{i}": each for i, each in enumerate(given.schedulers)}
    parts |= {} if order is None else {"sampler": order}
    return {**parts, **given.extras, "detectors": given.detectors}

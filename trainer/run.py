"""A run: everything that a training needs, built once from its configuration."""

from __future__ import annotations

import json
import logging
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from trainer import checkpoints, distributed
from trainer.batch import Batch, collate
from trainer.config import ConfigError, TrainConfig, as_tables
from trainer.data.dataset import TabletopData, load_or_fit_codebook
from trainer.data.embedding import start_from_meaning
from trainer.data.sampler import Sampler
from trainer.distributed import Ranks, Reducer
from trainer.faults import Faults
from trainer.logs import run_logger
from trainer.model.vla import VLA
from trainer.objectives import Objectives
from trainer.optimisation import LearningRate, Optimisation, make_optimizer
from vlamon import Emitter
from vlamon.guard.durable import Durable
from vlamon.records import Phase


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where and how a training runs, as the command line says."""

    run_dir: Path
    """Logs, journal, checkpoints, codebook."""
    socket: str | None = None
    """Where monitors connect; None for the journal alone."""
    name: str = ""
    """What a person calls the run."""
    seed: int = 0
    """Orders the data and initialises the weights."""
    resume: bool = False
    """Go on from the newest durable checkpoint of the run directory."""
    induce: Sequence[str] = ()
    """Faults to order."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    emit: bool = True
    """False for a run without emitter, to measure what emission costs."""
    max_seconds: float | None = None
    """End in order after this long."""
    weights: Path | None = None
    """Directory of safetensors shards to start from."""


class Progress:
    """The number of finished steps."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        """The step."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a step."""
        self.step = int(state["step"])


@dataclass(kw_only=True)
class Run:
    """The parts of a running training; what changes lives in the parts."""

    config: TrainConfig
    options: Options
    ranks: Ranks
    model: VLA
    optimisation: Optimisation
    learning_rate: LearningRate
    sampler: Sampler
    data: dict[str, TabletopData]
    """The splits by name: train, val_ind, val_ood."""
    faults: Faults
    progress: Progress
    reduce: Reducer
    logger: logging.Logger
    emitter: Emitter | None
    """None on all ranks but the first, and without emission."""
    clip_grad: float
    """Clipping now in force; an operator may change it."""
    durable: Durable
    """Checkpoints on disk."""
    outcome: str = field(default="")
    """How the training ended; empty while it runs."""
    started: float = field(default_factory=time.monotonic)
    """When the run was built, on the monotonic clock."""
    terminated: bool = False
    """Whether SIGTERM asked the training to end at the next step."""

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        if self.emitter is not None:
            self.emitter.status(state="training", step=self.progress.step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.emitter is not None:
            if error is not None:
                name = type(error).__name__
                self.emitter.event(
                    "trainer_error",
                    step=self.progress.step,
                    severity="error",
                    text=f"the training failed: {name}: {error}",
                )
            self.emitter.close(self.outcome or "failed")
        if error is None:
            distributed.leave()

    def must_end(self) -> bool:
        """Whether a signal or the clock asks to end early; one answer on all ranks."""
        limit = self.options.max_seconds
        late = limit is not None and time.monotonic() - self.started > limit
        return bool(self.ranks.agree(int(self.terminated or late)))

    def phase(self, phase: Phase) -> None:
        """Tell the monitors which part of the step begins."""
        if self.emitter is not None:
            self.emitter.status(phase=phase)

    def note(self, text: str, step: int) -> None:
        """A remark that belongs to a step."""
        if self.emitter is not None:
            self.emitter.event("note", step=step, text=text)

    def checkpoint_is_due(self) -> bool:
        """Whether a durable checkpoint belongs behind the step that just ended."""
        every = self.config.loop.checkpoint_every or self.config.loop.steps_per_epoch
        return self.progress.step % every == 0

    def checkpoint(self) -> Path:
        """Write the state to disk; every rank holds the same, so rank 0 writes."""
        if self.ranks.leads:
            self.phase("checkpoint")
            written = self.durable.write(
                self.progress.step, checkpoints.gather(self.parts()), {"clip_grad": self.clip_grad}
            )
            path = written.path
            if self.emitter is not None:
                self.emitter.event(
                    "checkpoint", step=self.progress.step, text=f"checkpoint {path}", path=str(path)
                )
        self.ranks.barrier()
        return path if self.ranks.leads else self.durable.root

    def restore(self) -> None:
        """Go on from the newest checkpoint that is whole."""
        loaded = self.durable.load()
        if loaded is None:
            raise ConfigError(
                f"--resume: {self.durable.root} holds no checkpoint; leave --resume out to begin"
            )
        checkpoints.restore(self.parts(), loaded.state)
        self.clip_grad = float(loaded.meta["clip_grad"])
        self.note(f"resumed from {loaded.path}", self.progress.step)

    def next_batches(self) -> tuple[int, list[Batch]]:
        """The cursor of the next step's first sample, and its micro-batches on the device."""
        first, batches = self.sampler.cursor, []
        for _ in range(self.config.loop.accumulate):
            draw = self.sampler.draw()
            batch = collate([self.data["train"].sample(i) for i in draw.sample_ids])
            batches.append(self.faults.corrupt(batch, draw.cursors).to(self.ranks.device))
        return first, batches

    def parts(self) -> dict[str, Any]:
        """Everything that a bit-exact resume needs besides the random number generators."""
        return {
            "model": self.model,
            "optimizer": self.optimisation.optimizer,
            "objectives": self.optimisation.objectives,
            "learning_rate": self.learning_rate,
            "sampler": self.sampler,
            "progress": self.progress,
        }


def prepare(config: TrainConfig, options: Options) -> Run:
    """Build a run; everything that can be wrong with the configuration is said here."""
    faults = Faults(options.induce, options.seed)
    ranks = distributed.join(options.device)
    faults.strikes_hardware = ranks.rank == ranks.size - 1
    options.run_dir.mkdir(parents=True, exist_ok=True)
    seed_everything(options.seed)
    model = VLA(config.model).to(ranks.device)
    called: nn.Module = ranks.wrap(model)
    if config.loop.compile:
        called = torch.compile(called)  # type: ignore[assignment]
    objectives = Objectives(config.weights)
    book_path = options.run_dir / "codebook.npz"
    if ranks.leads:
        load_or_fit_codebook(config.data, book_path)
        write_description(config, options, ranks)
    ranks.barrier()
    book = load_or_fit_codebook(config.data, book_path)
    if config.data.informed_embedding:
        start_from_meaning(model, book)
    splits = ("train", "val_ind", "val_ood") if config.loop.validation_samples else ("train",)
    data = {split: TabletopData(config.data, book, split) for split in splits}
    run = Run(
        config=config,
        options=options,
        ranks=ranks,
        model=model,
        optimisation=Optimisation(
            model,
            called,
            objectives,
            make_optimizer(model, config.optim),
            bf16=config.loop.dtype == "bf16",
        ),
        learning_rate=LearningRate(config.optim, config.loop.steps),
        sampler=Sampler(
            data["train"].frames,
            batch=config.loop.batch,
            world_share=config.data.world_share,
            seed=options.seed,
            rank=ranks.rank,
            ranks=ranks.size,
        ),
        data=data,
        faults=faults,
        progress=Progress(),
        reduce=Reducer(ranks, metric_names(objectives)),
        logger=run_logger(options.run_dir, ranks.rank),
        emitter=make_emitter(config, options, objectives) if ranks.leads else None,
        clip_grad=config.optim.clip_grad,
        durable=Durable(options.run_dir / "checkpoints", keep=config.loop.keep_checkpoints),
    )
    if options.resume:
        run.restore()
    return run


def seed_everything(seed: int) -> None:
    """One seed for every generator; dropout then draws the same in two runs."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def metric_names(objectives: Objectives) -> list[str]:
    """Every metric that a batch of some rank may have."""
    slots = [
        f"{kind}_{slot}"
        for kind in ("acc_action", "l1_loss_action", "acc_image")
        for slot in range(10)
    ]
    return [*objectives.terms, *slots, "action_outside", "total"]


def make_emitter(config: TrainConfig, options: Options, objectives: Objectives) -> Emitter | None:
    """The handle that monitors are served through."""
    if not options.emit:
        return None
    return Emitter(
        options.socket,
        run=options.name or options.run_dir.name,
        run_dir=str(options.run_dir),
        weights=objectives.weights,
        total_steps=config.loop.steps,
        steps_per_epoch=config.loop.steps_per_epoch,
        vocab=config.model.vocab,
    )


def write_description(config: TrainConfig, options: Options, ranks: Ranks) -> None:
    """`run.json`: what was asked for. A resumed run must have been asked for the same model."""
    path = options.run_dir / "run.json"
    tables = json.loads(json.dumps(as_tables(config)))
    if options.resume and path.exists():
        before = json.loads(path.read_text())["config"]
        for section in ("model", "data"):
            if before.get(section) != tables[section]:
                raise ConfigError(
                    f"{path} was written with another [{section}]: resume with the same preset"
                    f" and --set, or choose another --run-dir"
                )
    description = {"config": tables, "seed": options.seed, "ranks": ranks.size}
    path.write_text(json.dumps(description, indent=1) + "\n")

"""A run: everything that a training needs, built once from its configuration."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import numpy as np
import torch
from torch import nn

from trainer import distributed, probe_replay
from trainer.batch import Batch, collate
from trainer.config import ConfigError, TrainConfig, as_tables
from trainer.data.codebook import Codebook
from trainer.data.dataset import TabletopData, load_or_fit_codebook
from trainer.data.embedding import start_from_meaning
from trainer.data.pretokenized import PretokenizedData
from trainer.data.sampler import Sampler
from trainer.distributed import Ranks, Reducer
from trainer.faults import Faults
from trainer.logs import run_logger
from trainer.model.vla import VLA
from trainer.model.weights import load_weights
from trainer.objectives.design import LossDesign
from trainer.optimisation import Clipping, LearningRate, Optimisation, make_optimizer
from trainer.ranges import Range, check_ranges
from trainer.run_json import refuse_another_run, write_description
from vlamon import Emitter
from vlamon.guard import Guard, GuardSettings, Rebuild
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
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Orders the data and initialises the weights."""
    resume: bool = False
    """Go on from the newest durable checkpoint of the run directory."""
    induce: Sequence[str] = ()
    """Faults to order."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    emit: bool = True
    """False for a run without emitter, to measure what emission costs."""
    max_seconds: Annotated[float | None, Range(0)] = None
    """End in order after this long."""
    weights: Path | None = None
    """Directory of safetensors shards to start from."""
    stated: Collection[str] = ()
    """Settings that the command line names: a checkpoint does not overrule them."""

    def __post_init__(self) -> None:
        check_ranges(self, "--", dashed=True)


@dataclass(kw_only=True)
class Run:
    """The parts of a running training; what changes lives in the parts."""

    config: TrainConfig
    options: Options
    ranks: Ranks
    model: VLA
    optimisation: Optimisation
    learning_rate: LearningRate
    clipping: Clipping
    sampler: Sampler
    train: TabletopData | PretokenizedData
    """What is trained on."""
    held_out: dict[str, TabletopData]
    """Validation splits by name; empty without validation."""
    faults: Faults
    guard: Guard
    reduce: Reducer
    logger: logging.Logger
    emitter: Emitter | None
    """None on all ranks but the first, and without emission."""
    step: int = 0
    """The step that runs, or the next one between two steps."""
    outcome: str = field(default="")
    """How the training ended; empty while it runs."""
    started: float = field(default_factory=time.monotonic)
    """When the run was built, on the monotonic clock."""
    sent_weights: dict[str, float] = field(default_factory=dict)
    """Loss weights that the monitors know of."""
    terminated: bool = False
    """Whether SIGTERM asked the training to end at the next step."""

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        if self.emitter is not None:
            self.emitter.status(state="training", phase="data")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.guard.close()
        if self.emitter is not None:
            if error is not None:
                name = type(error).__name__
                self.emitter.event(
                    "trainer_error",
                    step=self.step,
                    severity="error",
                    text=f"the training failed: {name}: {error}",
                )
            self.emitter.close(self.outcome or "failed")
        if error is None:
            distributed.leave()

    def told_to_end(self) -> bool:
        """Whether a signal or the clock tells this rank to end early."""
        limit = self.options.max_seconds
        late = limit is not None and time.monotonic() - self.started > limit
        return self.terminated or late

    def must_end(self) -> bool:
        """Whether any rank is told to end early; one answer on all ranks."""
        return self.ranks.any(self.told_to_end())

    def phase(self, phase: Phase) -> None:
        """Tell the monitors which part of the step begins."""
        if self.emitter is not None:
            self.emitter.status(phase=phase)

    def send_weights(self, weights: Mapping[str, float]) -> None:
        """Tell the monitors the weights of the next batch, where they are other than before."""
        if self.emitter is not None and dict(weights) != self.sent_weights:
            self.sent_weights = dict(weights)
            self.emitter.set_weights(weights)

    def note(self, text: str, step: int) -> None:
        """A remark that belongs to a step."""
        if self.emitter is not None:
            self.emitter.event("note", step=step, text=text)

    def next_batches(self) -> tuple[int, list[Batch]]:
        """The cursor of the next step's first sample, and its micro-batches on the device."""
        first, batches = self.sampler.cursor, []
        for _ in range(self.config.loop.accumulate):
            draw = self.sampler.draw()
            batch = collate([self.train.sample(i) for i in draw.sample_ids])
            batch = self.faults.corrupt(batch, draw.cursors)
            batch = self.optimisation.objectives.prepare(batch)
            batches.append(batch.to(self.ranks.device))
        return first, batches


def check_compiler(device: torch.device) -> None:
    """On a CPU torch.compile writes C++: without a compiler it would fail deep inside a step."""
    named = os.environ.get("CXX")
    wanted = (named,) if named else ("g++", "clang++")
    if device.type == "cpu" and not any(shutil.which(name) for name in wanted):
        raise ConfigError(
            f"loop.compile needs a C++ compiler, and there is no {' or '.join(wanted)}: "
            "install one, name it in CXX, or leave loop.compile out"
        )


def prepare(config: TrainConfig, options: Options) -> Run:
    """Build a run; everything that can be wrong with the configuration is said here."""
    faults = Faults(options.induce, options.seed)
    settings = guard_settings(config)
    ranks = distributed.join(options.device)
    faults.strikes_hardware = ranks.rank == ranks.size - 1
    make_directory(options.run_dir)
    seed_everything(options.seed)
    model = VLA(config.model).to(ranks.device)
    design = loss_design(model, config, options)
    called: nn.Module = ranks.wrap(model)  # after the design, which may have frozen parts of it
    if config.loop.compile:
        check_compiler(ranks.device)
        model.compile_layers()
    book = shared_codebook(config, options, ranks)
    fill(model, book, config, options)
    train, held_out = training_data(config, book)
    optimisation = Optimisation(
        model,
        called,
        design,
        make_optimizer(model, config.optim),
        bf16=config.loop.dtype == "bf16",
    )
    sampler = make_sampler(train, config, options, ranks)
    faults.sample_at = sampler.name
    emitter = make_emitter(config, options, design) if ranks.leads else None
    learning_rate, clipping = make_rate_and_clipping(config, options)
    run = Run(
        config=config,
        options=options,
        ranks=ranks,
        model=model,
        optimisation=optimisation,
        learning_rate=learning_rate,
        clipping=clipping,
        sampler=sampler,
        train=train,
        held_out=held_out,
        faults=faults,
        reduce=Reducer(ranks, metric_names(design)),
        logger=run_logger(options.run_dir, ranks.rank),
        emitter=emitter,
        guard=Guard(
            model,
            optimisation.optimizer,
            sampler=sampler,
            emitter=emitter,
            run_dir=options.run_dir,
            settings=settings,
            extras={"objectives": design, "clipping": clipping},
            weights=lambda: design.weights,
            probe=lambda batches: probe_replay.probe(optimisation, batches),
            replay=lambda step: probe_replay.replay(run, step),
            rebuild=Rebuild("trainer.probe_replay:rebuild", {"config": as_tables(config)}),
            settable=settable(design, clipping, emitter),
            set_lr_scale=lambda scale: setattr(learning_rate, "scale", scale),
            should_stop=lambda: run.told_to_end(),
        ),
    )
    return run


def make_directory(path: Path) -> None:
    """The run directory, or a sentence about why there is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--run-dir {path} cannot be made: {why}") from None


def loss_design(model: VLA, config: TrainConfig, options: Options) -> LossDesign:
    """Losses, weights and energy model, where anything of it is trained at all."""
    design = LossDesign(model, config.objectives, config.weights)
    if not design.trains_something():
        raise ConfigError(
            "every loss weight is 0, so nothing would be trained: give one a weight, such as"
            " --set closs_weight=1"
        )
    stated = {key.removeprefix("weights.") for key in options.stated}
    design.insisted.values = {n: w for n, w in config.weights.items() if n in stated}
    return design


def make_rate_and_clipping(config: TrainConfig, options: Options) -> tuple[LearningRate, Clipping]:
    """What the update goes by; on a limit of the norm that it names, a command line insists."""
    clipping = Clipping(config.optim.clip_grad)
    if "optim.clip_grad" in options.stated:
        clipping.insisted.values = {"clip_grad": clipping.limit}
    return LearningRate(config.optim, config.loop.steps), clipping


def shared_codebook(config: TrainConfig, options: Options, ranks: Ranks) -> Codebook:
    """The first rank fits and writes it, the others read it: all of them speak the same codes.

    Only a resume goes on with the one that lies in the directory: another training's is of other
    images.
    """
    path = options.run_dir / "codebook.npz"
    if ranks.leads:
        if options.resume:
            refuse_another_run(config, options.run_dir)
        else:
            path.unlink(missing_ok=True)
            write_description(config, options.run_dir, options.seed, ranks.size)
        load_or_fit_codebook(config.data, path)
    ranks.barrier()
    return load_or_fit_codebook(config.data, path)


def fill(model: VLA, book: Codebook, config: TrainConfig, options: Options) -> None:
    """The weights that a training starts from: given ones, or new ones that know the codebook."""
    model.show_codebook(torch.from_numpy(book.patches))
    if options.weights is not None:
        load_weights(model, options.weights)
    elif config.data.informed_embedding:
        start_from_meaning(model, book)


def make_sampler(
    train: TabletopData | PretokenizedData, config: TrainConfig, options: Options, ranks: Ranks
) -> Sampler:
    """Draws this rank's share of every batch."""
    return Sampler(
        train.frames,
        batch=config.loop.batch,
        world_share=0.0 if config.data.records else config.data.world_share,
        seed=options.seed,
        rank=ranks.rank,
        ranks=ranks.size,
        draws=config.loop.accumulate,
    )


def training_data(
    config: TrainConfig, book: Codebook
) -> tuple[TabletopData | PretokenizedData, dict[str, TabletopData]]:
    """The tabletop and its two held-out splits, or the records that were asked for."""
    if config.data.records:
        path = Path(config.data.records)
        return PretokenizedData(path, config.model.vocab), {}
    splits = ("val_ind", "val_ood") if config.loop.validation_samples else ()
    held_out = {split: TabletopData(config.data, book, split) for split in splits}
    return TabletopData(config.data, book), held_out


def guard_settings(config: TrainConfig) -> GuardSettings:
    """The guard's settings; a durable checkpoint belongs to every epoch's end unless told."""
    try:
        return GuardSettings(
            mode=config.guard.mode,  # type: ignore[arg-type]
            every=config.guard.every,
            slots=config.guard.slots,
            cooldown=config.guard.cooldown,
            durable_every=config.loop.checkpoint_every or config.loop.steps_per_epoch,
            keep=config.loop.keep_checkpoints,
        )
    except ValueError as error:
        raise ConfigError(f"guard: {error}") from None


def settable(
    design: LossDesign, clipping: Clipping, emitter: Emitter | None
) -> dict[str, Callable[[float], float]]:
    """What `vlamon ctl set` may change: loss weights and clip_grad; each gives the old value."""

    def set_weight(name: str, value: float) -> float:
        before = design.objectives.set(name, value)
        if emitter is not None:
            emitter.set_weights(design.weights)
        return before

    def set_clip(value: float) -> float:
        before, clipping.limit = clipping.limit, max(0.0, value)
        return before

    changes: dict[str, Callable[[float], float]] = {"clip_grad": set_clip}
    for name in design.objectives.terms:
        changes[name] = changes[f"{name}_weight"] = partial(set_weight, name)
    return changes


def seed_everything(seed: int) -> None:
    """One seed for every generator; dropout then draws the same in two runs."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def metric_names(design: LossDesign) -> list[str]:
    """Every metric that a batch of some rank may have."""
    slots = [
        f"{kind}_{slot}"
        for kind in ("acc_action", "l1_loss_action", "acc_image")
        for slot in range(10)
    ]
    names = [*design.objectives.terms, *slots, "action_outside", "total"]
    return list(dict.fromkeys([*names, *design.metric_names()]))


def make_emitter(config: TrainConfig, options: Options, design: LossDesign) -> Emitter | None:
    """The handle that monitors are served through."""
    if not options.emit:
        return None
    return Emitter(
        options.socket,
        run=options.name or options.run_dir.name,
        run_dir=str(options.run_dir),
        weights=design.weights,
        total_steps=config.loop.steps,
        steps_per_epoch=config.loop.steps_per_epoch,
        vocab=config.model.vocab,
    )

"""Builds a run from its configuration; every mistake in that is reported here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from trainer import distributed, probe_replay
from trainer.config import ConfigError, TrainConfig, as_tables
from trainer.data.codebook import Codebook
from trainer.data.dataset import TabletopData, load_or_fit_codebook
from trainer.data.embedding import start_from_meaning
from trainer.data.pretokenized import PretokenizedData
from trainer.data.sampler import Sampler
from trainer.distributed import Ranks, Reducer
from trainer.faults import Faults
from trainer.log_files import LogFiles
from trainer.logs import run_logger
from trainer.model.vla import VLA
from trainer.model.weights import load_weights
from trainer.objectives.design import LossDesign
from trainer.optimisation import Clipping, LearningRate, Optimisation, make_optimizer
from trainer.run import Options, Run
from trainer.run_json import refuse_another_run, write_description
from trainer.seeding import seed_everything
from vlamon import Emitter
from vlamon.guard import Guard, GuardSettings, Rebuild


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
    """Build a run; raises with a sentence for what is wrong with the configuration."""
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
    files = LogFiles()
    output = partial(files.append, options.run_dir / "output.log") if ranks.leads else None
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
        logger=run_logger(ranks.rank, output),
        files=files,
        emitter=emitter,
    )
    run.guard = make_guard(run, settings)
    return run


def make_guard(run: Run, settings: GuardSettings) -> Guard:
    """The guard of a run, which may ask for any of its parts."""
    optimisation, design = run.optimisation, run.optimisation.design
    return Guard(
        run.model,
        optimisation.optimizer,
        sampler=run.sampler,
        emitter=run.emitter,
        run_dir=run.options.run_dir,
        settings=settings,
        extras={"objectives": design, "clipping": run.clipping},
        weights=lambda: design.weights,
        probe=lambda batches: probe_replay.probe(optimisation, batches),
        replay=lambda step: probe_replay.replay(run, step),
        rebuild=Rebuild("trainer.probe_replay:rebuild", {"config": as_tables(run.config)}),
        settable=settable(design, run.clipping, run.emitter),
        set_lr_scale=lambda scale: setattr(run.learning_rate, "scale", scale),
        should_stop=run.told_to_end,
    )


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
    design.overrides.values = {n: w for n, w in config.weights.items() if n in stated}
    return design


def make_rate_and_clipping(config: TrainConfig, options: Options) -> tuple[LearningRate, Clipping]:
    """Learning rate and clipping; a limit that the command line names overrides a checkpoint's."""
    clipping = Clipping(config.optim.clip_grad)
    if "optim.clip_grad" in options.stated:
        clipping.overrides.values = {"clip_grad": clipping.limit}
    return LearningRate(config.optim, config.loop.steps), clipping


def shared_codebook(config: TrainConfig, options: Options, ranks: Ranks) -> Codebook:
    """The first rank fits and writes it, the others read it: all of them speak the same codes.

    Only a resume uses the one that is in the directory: another training's is of other images.
    """
    path = options.run_dir / "codebook.npz"
    if ranks.leads and options.resume:
        refuse_another_run(config, options.run_dir)
    if ranks.leads:
        try:
            if not options.resume:
                path.unlink(missing_ok=True)
                write_description(config, options.run_dir, options.seed, ranks.size)
            load_or_fit_codebook(config.data, path)
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError(f"--run-dir {options.run_dir} cannot be written: {why}") from None
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
    """The guard's settings; by default a durable checkpoint is due at every epoch's end."""
    try:
        return GuardSettings(
            mode=config.guard.mode,
            every=config.guard.every,
            slots=config.guard.slots,
            cooldown=config.guard.cooldown,
            ladder=config.guard.ladder,  # type: ignore[arg-type]  # checked there
            durable_every=config.loop.checkpoint_every or config.loop.steps_per_epoch,
            keep=config.loop.keep_checkpoints,
        )
    except ValueError as error:
        raise ConfigError(f"guard: {error}") from None


def settable(
    design: LossDesign, clipping: Clipping, emitter: Emitter | None
) -> dict[str, Callable[[float], float]]:
    """What `vlamon ctl set` may change: loss weights and clip_grad; each returns the old value."""

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
        alerts=options.alerts,
    )

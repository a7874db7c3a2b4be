"""The training, from its first step to its last, as it is read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from trainer import control
from trainer.batch import Batch
from trainer.faults import poison_hook
from trainer.logs import EpochLog, append_epoch_line
from trainer.optimisation import Stepped
from trainer.run import Run
from trainer.validation import validate


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished step, before anyone has looked at its numbers."""

    step: int
    """Number of the step, from 0."""
    lr: float
    """Learning rate it was made with."""
    stepped: Stepped
    """What it did."""
    batches: list[Batch]
    """What it saw."""
    data_seconds: float
    """Time spent on getting the data."""
    seconds: float
    """Time of the whole step."""


def train(run: Run) -> str:
    """Train to the planned number of steps; says how it ended: `finished` or `stopped`."""
    steps, per_epoch = run.config.loop.steps, run.config.loop.steps_per_epoch
    epoch_log = begin_epoch(run)
    run.model.train()
    while run.progress.step < steps:
        if control.obey(run) == "stop" or run.must_end():
            run.checkpoint()
            return "stopped"
        measured = one_step(run)
        run.progress.step += 1
        report(run, measured, epoch_log)
        if run.progress.step % per_epoch == 0 or run.progress.step == steps:
            end_epoch(run, epoch_log)
            epoch_log = begin_epoch(run)
        if run.checkpoint_is_due() or run.progress.step == steps:
            run.checkpoint()
    return "finished"


def one_step(run: Run) -> Measured:
    """Data, forward, backward, step."""
    step, began = run.progress.step, time.perf_counter()
    run.phase("data")
    first, batches = run.next_batches()
    end = run.sampler.cursor
    data_seconds = time.perf_counter() - began

    for change in run.faults.strike_weights(run.model, first, end):
        run.note(f"induced: {change}", step)
    poison = None
    if run.faults.poisons(first, end):
        poison = run.model.model.norm.register_forward_hook(poison_hook)
        run.note("induced: one hidden state is NaN", step)

    run.phase("forward")
    values = run.optimisation.accumulate(batches)
    if poison is not None:
        poison.remove()
    run.phase("step")
    lr = run.learning_rate.at(step) * run.faults.lr_factor(first, end)
    clip = run.clip_grad if run.faults.clips(first) else 0.0
    stepped = run.optimisation.step(values, lr, clip)
    return Measured(step, lr, stepped, batches, data_seconds, time.perf_counter() - began)


def report(run: Run, measured: Measured, epoch_log: EpochLog) -> None:
    """Every number of the step to the monitors, and to the meters of the logs."""
    reduced = run.reduce(measured.stepped.values)
    total = reduced.pop("total")
    values: dict[str, Tensor | float] = {
        "lr": measured.lr,
        **reduced,
        "grad_norm": measured.stepped.grad_norm,
    }
    samples = sum(batch.rows for batch in measured.batches) * run.ranks.size
    tokens = sum(int(batch.lengths.sum()) for batch in measured.batches) * run.ranks.size
    if run.emitter is not None:
        run.emitter.log(
            measured.step,
            epoch=measured.step / run.config.loop.steps_per_epoch,
            **values,
            total=total,
            samples_per_second=samples / measured.seconds,
            tokens_per_second=tokens / measured.seconds,
            time=measured.seconds,
            data=measured.data_seconds,
        )
    # The reference's logs hold 0 for a batch without actions, and every other term in its order.
    values.setdefault("loss_ct", 0.0)
    epoch_log.update(
        measured.step % run.config.loop.steps_per_epoch,
        values,
        seconds=measured.seconds,
        data_seconds=measured.data_seconds,
        samples=samples,
    )


def begin_epoch(run: Run) -> EpochLog:
    """The meters of the epoch that the next step belongs to."""
    per_epoch = run.config.loop.steps_per_epoch
    return EpochLog(run.logger, run.progress.step // per_epoch, per_epoch)


def end_epoch(run: Run, epoch_log: EpochLog) -> None:
    """One line in each log of epochs, and the validation."""
    step = run.progress.step
    epoch = (step - 1) // run.config.loop.steps_per_epoch
    means = epoch_log.finish()
    tables = {"train": means}
    for split in ("val_ind", "val_ood"):
        if split in run.data and run.ranks.leads:
            tables[split] = validate(
                run.optimisation,
                run.data[split],
                run.config.loop.validation_samples,
                run.config.loop.batch,
                run.ranks.device,
            )
    run.ranks.barrier()
    if not run.ranks.leads:
        return
    files = {
        "train": "log_train.txt",
        "val_ind": "log_eval_ind.txt",
        "val_ood": "log_eval_ood.txt",
    }
    for split, table in tables.items():
        prefix = "train" if split == "train" else "val"
        append_epoch_line(run.options.run_dir / files[split], prefix, table, epoch)
        if run.emitter is not None:
            run.emitter.log_epoch(epoch, split, table, step=step - 1)

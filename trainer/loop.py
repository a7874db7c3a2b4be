"""The training, from its first step to its last, as it is read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from torch import Tensor

from trainer.epoch_means import EpochMeans
from trainer.logs import EpochLog, epoch_line
from trainer.run import Run
from trainer.run_json import in_force, write_description
from trainer.step import Computed, compute, reduced, update
from trainer.validation import validate

LOG_FILES = {
    "train": ("log_train.txt", "train"),
    "val_ind": ("log_eval_ind.txt", "val"),
    "val_ood": ("log_eval_ood.txt", "val"),
}
"""Split to file and to the prefix of its keys."""


def train(run: Run) -> str:
    """Train to the planned number of steps; says how it ended: `finished` or `stopped`."""
    steps, per_epoch = run.config.loop.steps, run.config.loop.steps_per_epoch
    step = begin(run)
    means = EpochMeans(per_epoch)
    epoch_log = begin_epoch(run, step, means)
    run.model.train()
    while step < steps and not run.guard.stopped:
        run.step, began = step, time.perf_counter()
        computed = compute(run, step)
        finite = run.guard.check(step, **computed.losses, grad_norm=computed.grad_norm)
        update(run, computed, finite)
        report(run, computed, epoch_log, time.perf_counter() - began)
        names = [name for batch in computed.batches for name in batch.sample_ids]
        following = run.guard.after_step(step, batch=computed.batches, samples=names)
        if following != step + 1:
            # A rollback: the printed means start over there, as they would after a resume.
            epoch_log.go_back(following)
            epoch_log = begin_epoch(run, following, means)
        elif following % per_epoch == 0 or following == steps:
            end_epoch(run, step, epoch_log)
            epoch_log = begin_epoch(run, following, means)
        step = following
    run.step = step
    run.guard.checkpoint(step - 1)
    return "finished" if step >= steps else "stopped"


def begin(run: Run) -> int:
    """The first step to run; a resume tells what its command line overrides in the checkpoint."""
    step = run.guard.start(resume=run.options.resume)
    overrides = (run.optimisation.design.overrides, run.clipping.overrides)
    changes = [change for each in overrides for change in each.settle()]
    if changes:
        run.note(f"resumed with {', '.join(changes)}, as its command line says", step - 1)
    if run.options.resume and run.ranks.leads:
        now = in_force(run.config, run.optimisation.objectives, run.clipping)
        try:
            write_description(now, run.options.run_dir, run.options.seed, run.ranks.size)
        except OSError as error:
            run.note(f"run.json still says what was in force before: {error}", step - 1)
    return step


def effective_weights(
    weights: Mapping[str, float], shares: Mapping[str, float], apart: Collection[str]
) -> dict[str, float]:
    """What each loss really weighed in a step's gradient.

    As in the reference, a gradient is the mean over micro-batches and ranks, and one without a term
    adds nothing to it: where half of them have a loss_ct, their mean moves the weights at half its
    weight. So weight · loss adds up to the total that was differentiated. Terms `apart` are none of
    it.
    """
    return {
        name: weight if name in apart else weight * shares.get(name, 1.0)
        for name, weight in weights.items()
    }


def report(run: Run, computed: Computed, epoch_log: EpochLog, seconds: float) -> None:
    """Every number of the step to the monitors, and to the meters of the logs."""
    step, per_epoch = run.step, run.config.loop.steps_per_epoch
    found = reduced(run, computed, computed.values)
    weights = effective_weights(computed.weights, found.shares, run.optimisation.design.apart)
    run.tell_news_of_logs()
    values: dict[str, Tensor | float] = {"lr": computed.lr, **found.values}
    total = values.pop("total")
    summed = (weights.keys() - run.optimisation.design.apart) & values.keys()
    if computed.grad_norm is not None:
        values["grad_norm"] = computed.grad_norm
    samples = sum(batch.rows for batch in computed.batches) * run.ranks.size
    tokens = sum(int(batch.lengths.sum()) for batch in computed.batches) * run.ranks.size
    if run.emitter is not None:
        run.send_weights(weights)
        run.emitter.log(
            step,
            epoch=step / per_epoch,
            **values,
            **({"total": total} if summed else {}),
            samples_per_second=samples / seconds,
            tokens_per_second=tokens / seconds,
            time=seconds,
            data=computed.data_seconds,
        )
    # The reference's logs hold 0 for a batch without actions, and know nothing of pulls.
    values = {n: v for n, v in values.items() if not n.startswith(("pull_", "conflict_"))}
    values.setdefault("loss_ct", 0.0)
    epoch_log.update(
        step % per_epoch,
        values,
        seconds=seconds,
        data_seconds=computed.data_seconds,
        samples=samples,
    )


def begin_epoch(run: Run, step: int, means: EpochMeans) -> EpochLog:
    """The meters of the epoch that the next step belongs to."""
    per_epoch = run.config.loop.steps_per_epoch
    return EpochLog(run.logger, step // per_epoch, per_epoch, means)


def end_epoch(run: Run, step: int, epoch_log: EpochLog) -> None:
    """One line in each log of epochs, and the validation."""
    tables = {"train": epoch_log.finish()}
    for split, data in run.held_out.items():
        if run.ranks.leads:
            samples, batch = run.config.loop.validation_samples, run.config.loop.batch
            tables[split] = validate(run.optimisation, data, samples, batch, run.ranks.device)
    run.ranks.barrier()
    if not run.ranks.leads:
        return
    epoch = step // run.config.loop.steps_per_epoch
    for split, table in tables.items():
        name, prefix = LOG_FILES[split]
        run.files.append(run.options.run_dir / name, epoch_line(prefix, table, epoch))
        if run.emitter is not None:
            run.emitter.log_epoch(epoch, split, table, step=step)

"""The training, from its first step to its last, as it is read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from trainer.batch import Batch
from trainer.distributed import Reduced
from trainer.epoch_means import KeptBatches
from trainer.faults import poison_hook
from trainer.logs import EpochLog, append_epoch_line
from trainer.run import Run
from trainer.run_json import in_force, write_description
from trainer.validation import validate

LOG_FILES = {
    "train": ("log_train.txt", "train"),
    "val_ind": ("log_eval_ind.txt", "val"),
    "val_ood": ("log_eval_ood.txt", "val"),
}
"""Split to file and to the prefix of its keys."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A step up to its clipped gradient."""

    step: int
    """Number of the step."""
    values: dict[str, Tensor]
    """Losses, watched metrics and the total of this rank."""
    losses: Mapping[str, Tensor]
    """The loss terms among them."""
    counts: Mapping[str, int]
    """How many of its micro-batches had each of them."""
    weights: Mapping[str, float]
    """Loss weights that were in force."""
    grad_norm: Tensor | None
    """Norm of the gradient before clipping, the same on all ranks; None where no rank has one."""
    lr: float
    """Learning rate for the update."""
    batches: list[Batch]
    """What this rank saw."""
    data_seconds: float
    """Time spent on getting the data."""


def train(run: Run) -> str:
    """Train to the planned number of steps; says how it ended: `finished` or `stopped`."""
    steps, per_epoch = run.config.loop.steps, run.config.loop.steps_per_epoch
    step = begin(run)
    kept = KeptBatches(per_epoch)
    epoch_log = begin_epoch(run, step, kept)
    run.model.train()
    while step < steps and not run.guard.stopped and not run.must_end():
        run.step, began = step, time.perf_counter()
        computed = compute(run, step)
        finite = run.guard.check(step, **computed.losses, grad_norm=computed.grad_norm)
        update(run, computed, finite)
        report(run, computed, epoch_log, time.perf_counter() - began)
        names = [name for batch in computed.batches for name in batch.sample_ids]
        following = run.guard.after_step(step, batch=computed.batches, samples=names)
        if following != step + 1:
            # Went back: the printed means start anew there, as they would after a resume.
            epoch_log.go_back(following)
            epoch_log = begin_epoch(run, following, kept)
        elif following % per_epoch == 0 or following == steps:
            end_epoch(run, step, epoch_log)
            epoch_log = begin_epoch(run, following, kept)
        step = following
    run.step = step
    run.guard.checkpoint(step - 1)
    return "finished" if step >= steps else "stopped"


def begin(run: Run) -> int:
    """The first step to run; a resume tells what its command line says against its checkpoint."""
    step = run.guard.start(resume=run.options.resume)
    insisted = (run.optimisation.design.insisted, run.clipping.insisted)
    changes = [change for each in insisted for change in each.settle()]
    if changes:
        run.note(f"resumed with {', '.join(changes)}, as its command line says", step - 1)
    if run.options.resume and run.ranks.leads:
        now = in_force(run.config, run.optimisation.objectives, run.clipping)
        write_description(now, run.options.run_dir, run.options.seed, run.ranks.size)
    return step


def compute(run: Run, step: int) -> Computed:
    """Data, forward, backward, clipping."""
    began = time.perf_counter()
    run.phase("data")
    first, batches = run.next_batches()
    end = run.sampler.cursor
    data_seconds = time.perf_counter() - began

    run.faults.strike_weights(run.model, first, end)
    poison = None
    if run.faults.poisons(first, end):
        poison = run.model.model.norm.register_forward_hook(poison_hook)
    run.phase("forward")
    weights = run.optimisation.design.weights
    done = run.optimisation.accumulate(batches, step)
    values, trained = done.values, run.ranks.any(done.trained)
    if poison is not None:
        poison.remove()

    run.phase("step")
    limit = run.clipping.limit if run.faults.clips(first) else 0.0
    norm = run.optimisation.clip(limit) if trained else None
    losses = {name: values[name] for name in run.optimisation.objectives.terms if name in values}
    lr = run.learning_rate.at(step) * run.faults.lr_factor(first, end)
    return Computed(step, values, losses, done.counts, weights, norm, lr, batches, data_seconds)


def update(run: Run, computed: Computed, finite: bool) -> None:
    """Change the weights, unless a non-finite number would get into them, or nothing at all."""
    design = run.optimisation.design
    updated = finite and computed.grad_norm is not None and design.policy_turn(computed.step)
    if updated:
        run.optimisation.update(computed.lr)
    run.optimisation.forget_gradient()
    computed.values.update(design.finish(computed.step, updated=updated))
    design.advance(computed.values, lambda values: reduced(run, computed, values).values)


def reduced(run: Run, computed: Computed, values: Mapping[str, Tensor]) -> Reduced:
    """A step's values over all micro-batches of all ranks."""
    return run.reduce.pool(values, computed.counts, len(computed.batches))


def felt(
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
    weights = felt(computed.weights, found.shares, run.optimisation.design.apart)
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


def begin_epoch(run: Run, step: int, kept: KeptBatches) -> EpochLog:
    """The meters of the epoch that the next step belongs to."""
    per_epoch = run.config.loop.steps_per_epoch
    return EpochLog(run.logger, step // per_epoch, per_epoch, kept)


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
        append_epoch_line(run.options.run_dir / name, prefix, table, epoch)
        if run.emitter is not None:
            run.emitter.log_epoch(epoch, split, table, step=step)

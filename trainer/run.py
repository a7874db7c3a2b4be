"""A run: where it takes place, and the parts that a training consists of."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from trainer import distributed
from trainer.config import TrainConfig
from trainer.data.dataset import TabletopData
from trainer.data.pretokenized import PretokenizedData
from trainer.data.sampler import Sampler
from trainer.distributed import Ranks, Reducer
from trainer.faults import Faults
from trainer.log_files import LogFiles
from trainer.model.batch import Batch, collate
from trainer.model.vla import VLA
from trainer.optimisation import Clipping, LearningRate, Optimisation
from trainer.ranges import Range, check_ranges
from vlamon import Emitter
from vlamon.guard import Guard
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
    """Continue from the newest durable checkpoint of the run directory."""
    induce: Sequence[str] = ()
    """Faults on request."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    emit: bool = True
    """False for a run without emitter, to measure what emission costs."""
    max_seconds: Annotated[float | None, Range(0)] = None
    """Stop cleanly after this many seconds."""
    alerts: bool | str | None = None
    """Whether the run sends alerts, or a command that gets them, too; None: $VLAMON_ALERT says."""
    weights: Path | None = None
    """Checkpoint folder to start from, see `trainer.model.weights`."""
    stated: Collection[str] = ()
    """Settings that the command line names: a checkpoint does not override them."""

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
    reduce: Reducer
    logger: logging.Logger
    """Writes to stdout, and on rank 0 to `output.log`."""
    files: LogFiles
    """`output.log` and the logs of epochs."""
    emitter: Emitter | None
    """None on all ranks but the first, and without emission."""
    guard: Guard = field(init=False)
    """Made last: it may ask for any other part."""
    step: int = 0
    """The step that runs, or the next one between two steps."""
    outcome: str = field(default="")
    """How the training ended; empty while it runs."""
    started: float = field(default_factory=time.monotonic)
    """When the run was built, on the monotonic clock."""
    sent_weights: dict[str, float] = field(default_factory=dict)
    """Loss weights that the monitors know of."""
    terminated: bool = False
    """Whether SIGTERM or SIGUSR1 (Slurm's warning) asked the training to end at the next step."""

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda *_: setattr(self, "terminated", True))
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
        self.files.close()
        self.tell_news_of_logs()
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

    def tell_news_of_logs(self) -> None:
        """Tell people about log files that failed or recovered."""
        while self.files.news:
            text = self.files.news.popleft()
            print(f"trainer: {text}", file=sys.stderr, flush=True)
            if self.emitter is not None:
                self.emitter.event("warn", step=self.step, severity="warn", text=text)

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

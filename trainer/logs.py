"""The reference project's logs: `output.log` and one JSON line an epoch.

Existing scripts parse these, so the format is kept to the letter, with its oddities: a printed
value is the mean of at most 1000 updates (computed in float32, as there) followed by the mean since
the epoch began (or since a resume), a metric that a batch lacks does not move its meter, `loss_ct`
is 0 for a batch without actions, and keys stand in the order in which the reference's loop first
meets each metric.

What differs: with several ranks a value is the mean over those that have it, where the reference
prints rank 0's own and, at the epoch's end, sums that its ranks may mix up; micro-batches are one
line, not one each; `max mem` is the process's peak where there is no GPU; a validation has neither
`lr` nor `grad_norm`, but a loss_ct. Metrics that the reference lacks (`action_outside`, further
losses) come last. After a rollback the printed means start over, as after a resume; the epoch's own
line averages every batch that counts for it, those before the rollback too. The true value of every
batch is in the journal.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from trainer.epoch_means import EpochMeans
from trainer.model.layout import SLOTS

Value = TypeVar("Value")

PRINT_EVERY = 10
WINDOW = 1000
REFERENCE_ORDER = (
    "lr",
    *(f"{kind}_{slot}" for slot in range(SLOTS) for kind in ("acc_action", "l1_loss_action")),
    *(f"acc_image_{slot}" for slot in range(SLOTS)),
    "grad_norm",
    "closs",
    "loss_ct",
    "z_loss",
)
"""How the reference's loop goes through the metrics of a batch."""


def in_reference_order(values: Mapping[str, Value]) -> dict[str, Value]:
    """A batch's values as the reference's loop meets them; metrics that it lacks come last."""
    known = {name: values[name] for name in REFERENCE_ORDER if name in values}
    return {**known, **values}


class Meter:
    """A running mean over the last updates and one over all of them."""

    def __init__(self, window: int = WINDOW) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self.total = 0.0
        """Sum of all updates."""
        self.count = 0
        """Number of updates."""

    def update(self, value: float) -> None:
        """Take in one batch."""
        self._recent.append(value)
        self.total += value
        self.count += 1

    @property
    def recent(self) -> float:
        """Mean of the last updates."""
        if not self._recent:
            return 0.0
        return torch.tensor(list(self._recent), dtype=torch.float32).mean().item()

    @property
    def overall(self) -> float:
        """Mean of all updates."""
        return self.total / self.count if self.count else 0.0

    @property
    def last(self) -> float:
        """The newest value."""
        return self._recent[-1] if self._recent else 0.0


class LineHandler(logging.Handler):
    """Hands each line to a function."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


def run_logger(rank: int, write: Callable[[str], None] | None = None) -> logging.Logger:
    """Writes to stdout and through `write`, in the reference's line format."""
    logger = logging.getLogger(f"trainer.rank{rank}")
    logger.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    shape = f"[rank{rank}:%(levelname)s|%(filename)s:%(lineno)d] %(asctime)s >> %(message)s"
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if write is not None:
        handlers.append(LineHandler(write))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(shape))
        logger.addHandler(handler)
    return logger


class EpochLog:
    """The meters of one epoch and the lines made of them."""

    def __init__(
        self, logger: logging.Logger, epoch: int, iterations: int, means: EpochMeans
    ) -> None:
        self._logger = logger
        self._means = means
        self._epoch = epoch
        self._iterations = iterations
        self._meters: dict[str, Meter] = {}
        self._times = {"time": Meter(), "data": Meter()}
        self._started = time.monotonic()
        self._unread: list[tuple[int, Mapping[str, float | Tensor]]] = []

    def update(
        self,
        iteration: int,
        values: Mapping[str, float | Tensor],
        *,
        seconds: float,
        data_seconds: float,
        samples: int,
    ) -> None:
        """Take in one batch and print every tenth.

        Tensors are read when a line is printed: a GPU is asked once in ten steps.
        """
        step = self._epoch * self._iterations + iteration
        self._unread.append((step, in_reference_order(values)))
        self._times["time"].update(seconds)
        self._times["data"].update(data_seconds)
        if iteration % PRINT_EVERY == 0:
            self._read()
            rate = samples / max(self._times["time"].recent, 1e-9)
            parts = [f"Epoch: [{self._epoch}]", f"[{iteration}/{self._iterations}]", self._line()]
            parts += [f"{name}: {meter.recent:.4f}" for name, meter in self._times.items()]
            parts += [f"samples/sec: {rate:.2f}", f"max mem: {_peak_memory_mb()}"]
            self._logger.info("  ".join(parts))

    def finish(self) -> dict[str, float]:
        """Print the epoch's end; returns the means over every batch that counts for it."""
        spent = timedelta(seconds=int(time.monotonic() - self._started))
        self._logger.info("Epoch: [%d] Total time: %s", self._epoch, spent)
        self._read()
        means = self._means.means(self._epoch)
        self._logger.info("Averaged stats:\n%s", self._line(means))
        return means

    def go_back(self, step: int) -> None:
        """Take back the batches from `step` on, which are trained again."""
        self._read()
        self._means.forget_from(step)

    def _read(self) -> None:
        """Take the waiting batches into the meters, in order."""
        rows = [values for _, values in self._unread]
        tensors = [v for values in rows for v in values.values() if isinstance(v, Tensor)]
        numbers = iter(torch.stack([t.double() for t in tensors]).tolist() if tensors else [])
        for step, values in self._unread:
            read = {n: next(numbers) if isinstance(v, Tensor) else v for n, v in values.items()}
            for name, number in read.items():
                self._meters.setdefault(name, Meter()).update(number)
            self._means.add(step, read)
        self._unread.clear()

    def _line(self, means: Mapping[str, float] | None = None) -> str:
        """Every meter; `means` take the place of those since the meters began."""
        parts = []
        for name, meter in self._meters.items():
            if name == "lr":
                parts.append(f"lr: {meter.last:.6f}")
            else:
                mean = meter.overall if means is None else means[name]
                parts.append(f"{name}: {meter.recent:.4f} ({mean:.4f})")
        return "  ".join(parts)


def epoch_line(prefix: str, means: Mapping[str, float], epoch: int) -> str:
    """One epoch as `log_train.txt` (prefix `train`) and `log_eval_*.txt` (prefix `val`) hold it."""
    row: dict[str, float] = {f"{prefix}_{name}": value for name, value in means.items()}
    return json.dumps({**row, "epoch": epoch})


def _peak_memory_mb() -> int:
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

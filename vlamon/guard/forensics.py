"""The exploded state, kept: the failing batch, the random numbers and the weights of that moment.

`python -m vlamon.guard replay RUN_DIR --rebuild MODULE:FUNCTION` loads it and measures the batch
again. The function is the caller's: a directory may come from anywhere, and is only read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlamon.detect.spikes import Judgement
from vlamon.guard import collectives
from vlamon.guard.autopsy import Probe
from vlamon.guard.checkpoint.writer import Durable, DurableError, Loaded, Writer
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.ring import Slot
from vlamon.guard.state.capture import StateMismatch, TrainingState, Tree, restore_rng
from vlamon.guard.values import StepValues

FOLDER = "explosion"


Builder = Callable[[Mapping[str, Any]], tuple[nn.Module, Probe]]
"""Called with `Rebuild.config`; returns the model and the probe."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What a person needs to get the model and the probe back in a process of its own."""

    function: str
    """`package.module:function`, a `Builder`. Written down as a hint for `replay --rebuild`; it is
    never run because a file names it."""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Plain values that the function needs."""


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One metric, then and now."""

    metric: str
    recorded: float
    measured: float

    @property
    def same(self) -> bool:
        """Whether it exploded alike: both non-finite, or equal to 1 %."""
        if not math.isfinite(self.recorded) or not math.isfinite(self.measured):
            return math.isfinite(self.recorded) == math.isfinite(self.measured)
        return math.isclose(self.recorded, self.measured, rel_tol=0.01, abs_tol=1e-6)


def pack(batch: Any) -> Any:
    """A batch as containers of tensors and plain values; a dataclass becomes a dict."""
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {f.name: pack(getattr(batch, f.name)) for f in dataclasses.fields(batch)}
    if isinstance(batch, Mapping):
        return {key: pack(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        packed = [pack(value) for value in batch]
        return tuple(packed) if type(batch) is tuple else packed
    if isinstance(batch, slice):
        return [batch.start, batch.stop, batch.step]
    return batch


class ExplosionFiles:
    """Keeps the newest explosion of a run on disk, written beside the training."""

    def __init__(self, run_dir: Path | None, rebuild: Rebuild | None) -> None:
        self._writer: Writer | None = None
        if run_dir is not None:
            rank = collectives.rank()
            folder = FOLDER if rank == 0 else f"{FOLDER}-rank{rank}"
            self._writer = Writer(Durable(run_dir / folder, keep=1))
        self._rebuild = rebuild
        self._slot = Slot()
        self._noted: tuple[StepValues, Judgement, Tree] | None = None
        self._lacks: list[tuple[int, str]] = []
        """Steps whose weights could not be copied, and why."""

    def note(
        self, reading: StepValues, judgement: Judgement, state: TrainingState, rng: Tree | None
    ) -> None:
        """An explosion was seen: copy the weights as they are before they change.

        `rng` is None where there was no memory for the random streams.
        """
        if self._writer is None or self._writer.busy:
            return
        try:
            if rng is None:
                raise NoMemory("no memory for the random streams of its step")
            with memory_for("the weights that exploded"):
                self._slot.fill(state.capture()["parts"]["model"])
        except NoMemory as error:
            self._lacks.append((reading.step, str(error)))
            return
        self._noted = (reading, judgement, rng)

    def keep(self, attempt: int, batch: Any) -> None:
        """Begin to write what was noted, with the batch that exploded."""
        if self._noted is None or self._writer is None:
            return
        (reading, judgement, rng), self._noted = self._noted, None
        verdict = judgement.verdict
        meta = {
            "step": reading.step,
            "attempt": attempt,
            "metric": judgement.metric,
            "reason": verdict.reason,
            "values": dict(reading.values),
            "rebuild": None if self._rebuild is None else dataclasses.asdict(self._rebuild),
        }
        kept = {"model": self._slot.state(), "rng": rng, "batch": pack(batch)}
        self._writer.start(reading.step, kept, meta, reading.step)

    def failures(self) -> Iterator[tuple[int, str]]:
        """Steps whose explosion could not be written since the last call, and why."""
        lacks, self._lacks = self._lacks, []
        yield from lacks
        if self._writer is not None:
            for step, outcome in self._writer.outcomes():
                if isinstance(outcome, DurableError):
                    yield step, str(outcome)

    def close(self) -> None:
        """Wait for a write under way."""
        if self._writer is not None:
            self._writer.wait()


def find(directory: Path) -> Path:
    """The folder that holds the kept explosion, given that or the run directory."""
    inner = directory / FOLDER
    return inner if inner.is_dir() else directory


def load_kept(directory: Path) -> Loaded:
    """The explosion that a directory keeps. Nothing that its files name is run or imported."""
    loaded = Durable(find(directory)).load()
    if loaded is None:
        raise DurableError(f"{directory} holds no kept explosion")
    return loaded


def hint(loaded: Loaded) -> str:
    """The function that its training named for `replay --rebuild`; empty if none."""
    rebuild = loaded.meta.get("rebuild")
    return str(rebuild.get("function", "")) if isinstance(rebuild, Mapping) else ""


def reproduce(loaded: Loaded, build: Builder) -> list[Reproduced]:
    """Measure the batch of a kept explosion again on its weights, in a model that `build` makes."""
    rebuild = loaded.meta.get("rebuild") or {}
    model, probe = build(rebuild.get("config") or {})
    try:
        _load_weights(model, loaded.state["model"])
    except StateMismatch as error:
        raise DurableError(f"{loaded.path} does not fit the model: {error}") from error
    except NoMemory as error:
        raise DurableError(f"{loaded.path} cannot be loaded: {error}") from error
    restore_rng(loaded.state["rng"])
    values = probe(loaded.state["batch"]).values
    then = loaded.meta["values"]
    return [
        Reproduced(name, float(then[name]), float(values[name]))
        for name in then
        if name in values and then[name] is not None
    ]


@torch.no_grad()
def _load_weights(model: nn.Module, saved: Mapping[str, torch.Tensor]) -> None:
    state = TrainingState({"model": model})
    tree = state.capture()
    tree["parts"]["model"] = dict(saved)
    state.restore(tree)

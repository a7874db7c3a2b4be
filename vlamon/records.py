"""The record types that everything in vlamon passes around.

A source (socket, log file, journal) parses bytes into these once, at the edge; store, analysis and
views only ever see these. The module imports nothing heavy: `vlamon status` reads records too, so
NumPy appears in annotations alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vlamon.hardware import GpuSample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["trained", "watched"]
Severity = Literal["info", "warn", "error"]
RunState = Literal["training", "paused", "rolling_back", "checkpointing", "stopped", "ended"]
Phase = Literal["", "data", "forward", "backward", "step", "checkpoint"]
LinkState = Literal["waiting", "connecting", "live", "replay", "reconnecting", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a run says about one of its metrics; the catalogue knows the rest."""

    name: str
    """Name as logged, such as `closs` or `l1_loss_action_5`."""
    kind: Kind = "watched"
    """`trained` terms enter the weighted total, `watched` ones do not."""
    weight: float | None = None
    """Weight in the total at the start of the run; None for a watched metric."""
    unit: str = ""
    """Unit to print behind a value, empty for a pure number."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What identifies a run: a source's first record, repeated after each restart."""

    run_id: str
    """Stable over restarts of the same run directory."""
    name: str
    """What a person calls the run."""
    boot: str = ""
    """Differs for every start of the trainer process; empty for a log file."""
    host: str = ""
    """Host name of the training process."""
    pid: int = 0
    """Process id of the training process, 0 where unknown."""
    user: str = ""
    """Owner of the training process."""
    started: float = 0.0
    """Start of this boot, seconds since the epoch; 0 where unknown."""
    argv: tuple[str, ...] = ()
    """Command line of the training process."""
    world_size: int = 1
    """Number of ranks."""
    rank: int = 0
    """Rank that sends."""
    devices: tuple[str, ...] = ()
    """Names of the accelerators in use."""
    metrics: tuple[MetricSpec, ...] = ()
    """Metrics announced so far."""
    total_steps: int | None = None
    """Planned number of steps, where known."""
    steps_per_epoch: int | None = None
    """Batches in an epoch, where known."""
    vocab: int | None = None
    """Size of the vocabulary, where known: a random guess scores a closs of ln(vocab)."""
    control: bool = False
    """Whether commands are served at a step boundary."""
    source: str = ""
    """Path or socket that this came from, filled in by the reading side."""


@dataclass(frozen=True, slots=True)
class MetricsAnnounced:
    """Metrics seen for the first time after the run's start; comes before their first row."""

    metrics: tuple[MetricSpec, ...]
    """The new ones only."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over the rows of a block: values as logged, and which cells were logged at all."""

    values: NDArray[np.float64]
    """One value a row; NaN and inf are values that the training logged."""
    present: NDArray[np.bool_] | None = None
    """False where the row did not log this metric; None when every row did."""


@dataclass(frozen=True, slots=True)
class BatchBlock:
    """Consecutive batches of one attempt, columnar."""

    seq: int
    """Sequence number of the first row within the run; a restart with a journal counts on."""
    attempt: int
    """0 until the first rollback or restart, then one more each time."""
    step: NDArray[np.int64]
    """Global step of each row."""
    epoch: NDArray[np.float64]
    """Epoch of each row; fractional where the trainer logs it so, NaN where unknown."""
    time: NDArray[np.float64]
    """Seconds since the epoch of each row; NaN where a log has none."""
    columns: Mapping[str, Column]
    """Metric name to its column."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights in force from the first row on; empty when unchanged since the block before."""
    averaged: bool = False
    """Whether a row is the mean over all batches since the row before, as a log format may say."""

    @property
    def rows(self) -> int:
        """Number of batches in the block."""
        return len(self.step)


@dataclass(frozen=True, slots=True)
class EpochRow:
    """Averages over an epoch or an evaluation: a line of `log_train.txt` or `log_eval_*.txt`."""

    epoch: float
    """Epoch that ended."""
    split: str
    """`train`, `val_ind`, `val_ood` or whatever the run calls it."""
    metrics: Mapping[str, float]
    """Values by name, without the `train_` or `val_` prefix."""
    attempt: int = 0
    """Attempt that it belongs to."""
    step: int | None = None
    """Step at the epoch's end, where known."""
    time: float | None = None
    """When it was written, where known."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What a running-average log says about the batches between two of its lines."""

    epoch: int
    """Epoch of the line."""
    first: int | None
    """First iteration covered, inclusive; None where a resume leaves it unknown."""
    last: int
    """Last iteration covered, inclusive."""
    metrics: Mapping[str, float]
    """Recovered mean over first..last, for the meters that allow it."""
    bound: Mapping[str, float]
    """Largest possible error of each recovered mean."""
    printed: Mapping[str, tuple[float, ...]]
    """The numbers on the line, as printed."""
    step: int | None = None
    """Global step of `last`, where the log allows to know it."""
    time: float | None = None
    """Time stamp of the line, seconds since the epoch."""
    attempt: int = 0
    """Attempt that it belongs to."""
    not_inverted: tuple[str, ...] = ()
    """Meters whose interval mean cannot be recovered (not updated at every iteration)."""


@dataclass(frozen=True, slots=True)
class EpochBlock:
    """Consecutive epoch lines of one split, columnar: a log may hold a million of them."""

    split: str
    """`train`, `val_ind` … as in EpochRow."""
    epoch: NDArray[np.float64]
    """Epoch of each line."""
    columns: Mapping[str, Column]
    """Metric name, without the `train_` or `val_` prefix, to its column."""
    attempt: int = 0
    """Attempt that all of them belong to."""
    step: NDArray[np.int64] | None = None
    """Step at each epoch's end, where known."""
    time: NDArray[np.float64] | None = None
    """When each line was written, where known."""

    @property
    def rows(self) -> int:
        """Number of lines in the block."""
        return len(self.epoch)


@dataclass(frozen=True, slots=True)
class IntervalBlock:
    """Consecutive lines of a running-average log, columnar; what Interval is for one line."""

    epoch: NDArray[np.int64]
    """Epoch of each line."""
    first: NDArray[np.int64]
    """First iteration covered, inclusive; -1 where a resume leaves it unknown."""
    last: NDArray[np.int64]
    """Last iteration covered, inclusive."""
    metrics: Mapping[str, Column]
    """Recovered means; not present where a line allows none."""
    bound: Mapping[str, Column]
    """Largest possible error of each recovered mean."""
    printed: Mapping[str, tuple[Column, ...]]
    """The numbers on the lines, as printed: one column a number."""
    step: NDArray[np.int64] | None = None
    """Global step of each `last`, where the log allows to know it."""
    time: NDArray[np.float64] | None = None
    """Time stamp of each line, seconds since the epoch; NaN where unknown."""
    attempt: int = 0
    """Attempt that all of them belong to."""
    not_inverted: tuple[str, ...] = ()
    """Meters whose interval mean cannot be recovered (not updated at every iteration)."""

    @property
    def rows(self) -> int:
        """Number of lines in the block."""
        return len(self.last)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the run; never dropped."""

    id: str
    """Unique within the run; a command given because of an event carries it."""
    kind: str
    """`explode`, `rollback` and the like (docs/wire.md); unknown ones are shown as they are."""
    step: int
    """Step at which it happened; see `counted`."""
    attempt: int
    """Attempt during which it happened."""
    time: float
    """Seconds since the epoch; 0 where unknown."""
    severity: Severity = "info"
    """How loud to be."""
    text: str = ""
    """One line for a person."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Details by name; for an explosion `metric`, `value`, `z`, `ratio` and `samples`."""
    counted: bool = True
    """Whether `step` counts batches; False in a log without steps, whose lines it only numbers."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state that the trainer can go back to."""

    step: int
    """Step at which it was taken."""
    where: str
    """`ring` or the path of a durable checkpoint."""
    trusted: bool
    """Whether the detectors stayed quiet for long enough after it."""
    time: float = 0.0
    """When it was taken, seconds since the epoch."""
    closs: float | None = None
    """closs at that step, for the dialog."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the trainer is doing right now."""

    state: RunState
    """Training, paused, and so on."""
    step: int
    """Last finished step."""
    phase: Phase = ""
    """Part of the step that runs now, where the trainer says so."""
    epoch: float | None = None
    """Epoch of that step."""
    steps_per_second: float | None = None
    """Recent speed."""
    eta: float | None = None
    """Seconds left, where the number of steps is known."""
    snapshots: tuple[Snapshot, ...] = ()
    """States that a rollback can reach, newest last."""
    budget: int | None = None
    """Automatic rollbacks that are left."""
    guard: str = ""
    """`auto`, `ask`, `watch`, `off`; empty without a guard."""
    deadline: float | None = None
    """In ask mode: when the guard acts by itself, seconds since the epoch."""
    time: float = 0.0
    """Seconds since the epoch."""
    attempt: int = 0
    """Current attempt."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command, after it was executed or refused."""

    id: str
    """Id of the command."""
    ok: bool
    """Whether it was done."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """What was done: `step`, `seconds`, `path` …"""
    error: str = ""
    """Why it was refused, one sentence."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that this reader lost because it was too slow or a journal was torn."""

    rows: int
    """How many."""
    first_step: int | None
    """Step of the first lost row, where known."""
    last_step: int | None
    """Step of the last lost row, where known."""
    reason: str = ""
    """Why, one sentence."""


@dataclass(frozen=True, slots=True)
class Link:
    """The state of the source itself; made by the reading side, never sent."""

    state: LinkState
    """Whether records can be expected."""
    text: str = ""
    """One sentence for the status line."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """Older rows of a run whose newest ones are on screen already; never sent.

    A store gathers them separately until the last has arrived.
    """

    records: tuple[Record, ...]
    """The next ones."""
    done: bool
    """Whether they were the last."""
    before: bool = False
    """Whether they go before the rows shown; else they begin at the first row and replace them."""


Record = (
    RunInfo
    | MetricsAnnounced
    | BatchBlock
    | EpochRow
    | EpochBlock
    | Interval
    | IntervalBlock
    | GpuSample
    | Event
    | Status
    | Reply
    | Gap
    | Link
    | Backfill
)

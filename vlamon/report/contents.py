"""Compiles the data of a report: epochs, curves, shares, anomalies, convergence, diagnoses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vlamon.analysis.anomalies import Anomaly, anomalies, within
from vlamon.analysis.contributions import Contributions
from vlamon.analysis.convergence import Convergence
from vlamon.analysis.diagnosis import Diagnosis, diagnose
from vlamon.analysis.diagnosis.trend import judged
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.judgeable import Unjudged, unjudged
from vlamon.analysis.main_loss import is_loss
from vlamon.analysis.overview import Overview, overview
from vlamon.analysis.series import Series
from vlamon.records import Event
from vlamon.report.shares import shares_of

HEALTHY, WARNINGS, EXPLOSION, NOT_JUDGED = 0, 10, 20, 30
"""Exit codes of `vlamon analyze`."""
EpochStatus = Literal[
    "start", "explosion", "recovered", "rising", "falling", "steady", "non-finite", "absent"
]
"""What the main loss of an epoch is beside the one before."""
_STEADY = 0.02
_LISTED = ("explode", "rollback", "autopsy", "paused", "end")
"""Kinds of events that a report lists whatever their severity."""
_CHARTED = 6


@dataclass(frozen=True, slots=True)
class SourceNote:
    """One file that was read."""

    path: str
    """As given on the command line."""
    format: str
    """Format that was found."""
    unknown: int = 0
    """Lines that were not understood."""
    samples: tuple[tuple[int, str], ...] = ()
    """The first few of them, with their line numbers."""
    unknown_losses: int = 0
    """Unknown lines that speak of a loss."""
    guessed: bool = True
    """Whether its format may fit stray lines of any log."""


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One row of the table of epochs."""

    epoch: float
    """Which epoch."""
    metrics: Mapping[str, float]
    """Its averages: the epoch line's, or the batch log's where there is no such line."""
    batches: Mapping[str, float]
    """The batch log's averages beside an epoch line of its own; else empty."""
    validation: Mapping[str, float]
    """Validation averages as `val_ind closs`."""
    status: EpochStatus
    """What the main loss did."""
    change: float
    """Of the main loss since the last epoch that did not explode; NaN for the first."""


@dataclass(frozen=True, slots=True)
class Interpretation:
    """What a metric's present value means."""

    metric: str
    """Which metric."""
    value: float
    """Its present value."""
    guess: float | None
    """What a random guess scores, where there is such a thing."""
    first: float
    """Its first value."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report."""

    sources: tuple[SourceNote, ...]
    overview: Overview | None
    """What was read of the main loss; None where nothing was."""
    main: str | None
    """The loss that matters most."""
    mains: tuple[str, ...]
    """That one, and the batches' or the epoch lines' own where it is another."""
    columns: tuple[str, ...]
    """Metrics of the epoch table, most important first."""
    epochs: tuple[EpochLine, ...]
    curves: tuple[Series, ...]
    """What is worth a chart."""
    shares: Contributions | None
    """Shares of the weighted total at the end of the run."""
    shares_at: str
    """Where their values stand, if not all at the end; empty else."""
    assumed_weights: bool
    """Whether the reference's weights were taken because the logs name none."""
    anomalies: tuple[Anomaly, ...]
    convergence: tuple[Convergence, ...]
    diagnoses: tuple[Diagnosis, ...]
    readings: tuple[Interpretation, ...]
    events: tuple[Event, ...]
    """Events of the run that a report must not omit."""
    not_inverted: tuple[str, ...]
    """Meters of a running-average log whose interval means cannot be recovered."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Settings that were found in the logs, and where."""
    unjudged: Unjudged | None = None
    """Why the run is not judged, where it is not."""
    lang: str = "en"

    @property
    def exit_code(self) -> int:
        """0 healthy, 10 warnings, 20 explosion, 30 not judged."""
        severities = {diagnosis.severity for diagnosis in self.diagnoses}
        if "error" in severities:
            return EXPLOSION
        if self.unjudged is not None:
            return NOT_JUDGED
        return WARNINGS if "warn" in severities or self.anomalies else HEALTHY

    @property
    def verdict(self) -> str:
        """`healthy`, `warnings`, `explosion` or `not-judged`."""
        return {
            HEALTHY: "healthy",
            WARNINGS: "warnings",
            EXPLOSION: "explosion",
            NOT_JUDGED: "not-judged",
        }[self.exit_code]

    @property
    def explosions(self) -> tuple[Anomaly, ...]:
        """Explosions of the main losses."""
        return tuple(a for a in self.anomalies if a.level == "explode" and a.metric in self.mains)


def compile_report(
    evidence: Evidence, sources: Sequence[SourceNote] = (), lang: str = "en"
) -> Report:
    """Judge the evidence and arrange what there is to say."""
    found = anomalies(evidence)
    shares, shares_at = shares_of(evidence)
    columns = _columns(evidence)
    return Report(
        sources=tuple(sources),
        overview=overview(evidence),
        main=evidence.main,
        mains=evidence.mains,
        columns=columns,
        epochs=tuple(_epochs(evidence, found)),
        curves=tuple(_curves(evidence, columns)),
        shares=shares,
        shares_at=shares_at,
        assumed_weights=evidence.assumed,
        anomalies=tuple(found),
        convergence=tuple(
            state
            for name in dict.fromkeys(filter(None, (evidence.main, *evidence.weights)))
            if (state := judged(evidence, found, name)) is not None and state.enough
        ),
        diagnoses=tuple(diagnose(evidence, found, lang)),
        readings=tuple(_readings(evidence)),
        events=tuple(event for event in evidence.events if _is_listed(event)),
        not_inverted=evidence.not_inverted,
        origins=evidence.origins,
        unjudged=unjudged(
            evidence,
            sum(source.unknown for source in sources),
            sum(source.unknown_losses for source in sources),
            sum(source.unknown for source in sources if source.guessed),
        ),
        lang=lang,
    )


def _is_listed(event: Event) -> bool:
    return event.severity != "info" or event.kind in _LISTED


def _columns(evidence: Evidence) -> tuple[str, ...]:
    wanted = [
        evidence.main,
        *evidence.weights,
        *sorted(name for name in evidence.names if name.startswith("l1_loss_action")),
        "grad_norm",
        "grdn",
        "lr",
        "learning_rate",
    ]
    losses = [name for name in evidence.names if is_loss(name)]
    found = [n for n in [*wanted, *losses] if n is not None and n in evidence.names]
    return tuple(dict.fromkeys(found))


def _epochs(evidence: Evidence, found: Sequence[Anomaly]) -> list[EpochLine]:
    own, batches = _by_epoch(evidence.lines), _by_epoch(evidence.reduced)
    validation: dict[float, dict[str, float]] = {}
    for split, table in evidence.evaluations.items():
        for epoch, values in _by_epoch(table).items():
            named = {f"{split} {name}": value for name, value in values.items()}
            validation.setdefault(epoch, {}).update(named)
    epochs = np.array(sorted(own or batches), np.float64)
    exploded = set(epochs[within([a for a in found if _breaks(evidence, a)], epochs)].tolist())
    lines: list[EpochLine] = []
    level = before = math.nan
    for epoch in epochs.tolist():
        metrics = own.get(epoch) or batches[epoch]
        value = metrics.get(evidence.main or "", math.nan)
        there = evidence.main in metrics
        status: EpochStatus = (
            _status(value, level, before, epoch in exploded) if there else "absent"
        )
        lines.append(
            EpochLine(
                epoch=epoch,
                metrics=metrics,
                batches=batches.get(epoch, {}) if own else {},
                validation=validation.get(epoch, {}),
                status=status,
                change=value - level,
            )
        )
        if not there:
            continue
        before = math.inf if status in ("explosion", "non-finite") else value
        if math.isfinite(before):
            level = value
    return lines


def _status(value: float, level: float, before: float, exploded: bool) -> EpochStatus:
    if not math.isfinite(value):
        return "non-finite" if not math.isnan(level) or math.isinf(value) else "start"
    if exploded:
        return "explosion"
    if math.isinf(before):
        return "recovered"
    if math.isnan(level):
        return "start"
    change = value / level - 1 if level else 0.0
    if abs(change) < _STEADY:
        return "steady"
    return "rising" if change > 0 else "falling"


def _breaks(evidence: Evidence, anomaly: Anomaly) -> bool:
    """Whether the epochs that an anomaly lies in exploded."""
    return anomaly.level == "explode" and anomaly.metric in evidence.mains


def _by_epoch(table: Mapping[str, Series]) -> dict[float, dict[str, float]]:
    rows: dict[float, dict[str, float]] = {}
    for name, series in table.items():
        for epoch, value in zip(series.epoch.tolist(), series.values.tolist(), strict=True):
            if not math.isnan(epoch):
                rows.setdefault(epoch, {})[name] = value
    return rows


def _curves(evidence: Evidence, columns: Sequence[str]) -> list[Series]:
    curves: list[Series] = []
    slots = [name for name in columns if name.startswith("l1_loss_action")]
    for name in columns:
        if name in slots[1:]:
            continue
        fine = evidence.fine.get(name)
        for series in (fine, evidence.lines.get(name)):
            enough = series is not None and len(series.finite) >= 2
            if series is not None and enough and (series is fine or name == evidence.main):
                curves.append(series)
        if fine is None and name != evidence.main:
            other = evidence.by_epoch(name)
            if other is not None and len(other.finite) >= 2:
                curves.append(other)
    return curves[:_CHARTED]


def _readings(evidence: Evidence) -> list[Interpretation]:
    readings = []
    for name in _columns(evidence):
        value, series = evidence.latest(name), evidence.best(name)
        if value is None or series is None or not len(series.finite):
            continue
        guess = math.log(evidence.vocab) if name == "closs" else None
        readings.append(Interpretation(name, value, guess, float(series.finite[0])))
    return readings

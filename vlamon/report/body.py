"""Composes a written report: sections of blocks, which text, Markdown and HTML only set.

Every text in a block has passed the filter of `vlamon.safe_text`; a setter adds the escapes of its
own markup and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.contributions import Contributions
from vlamon.analysis.convergence import Convergence
from vlamon.analysis.series import Series
from vlamon.charts.numbers import number, percent
from vlamon.report.contents import EpochLine, Interpretation, Report
from vlamon.report.found import found_line
from vlamon.report.headline import headline
from vlamon.report.words import say
from vlamon.safe_text import line

COLUMNS = 8
"""Metrics in the table of epochs where the page does not say what fits."""
SLOTS = "l1_loss_action"
"""The decoded L1 has a value for each action of the horizon; a table has room for their mean."""
_EVENTS = 20
_ANOMALIES = 40
_FIRST, _LAST, _BROKEN = 10, 30, 30


@dataclass(frozen=True, slots=True)
class Table:
    """A header and rows of cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    flagged: Sequence[bool]
    """Rows that the eye should meet first."""

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers alone, and are set to the right."""
        return [all(_numeric(row[at]) for row in self.rows) for at in range(len(self.header))]


@dataclass(frozen=True, slots=True)
class Curve:
    """A chart of one metric."""

    title: str
    series: Series
    anomalies: Sequence[Anomaly]
    guide: float | None
    """The level of chance, where the metric has one."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The shares of the total as one bar, where the medium draws one."""

    shares: Contributions


@dataclass(frozen=True, slots=True)
class Items:
    """Lines, one below the other."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Note:
    """Small print."""

    text: str


@dataclass(frozen=True, slots=True)
class DiagnosisBlock:
    """A diagnosis."""

    id: str
    severity: str
    """`error`, `warn` or `info`."""
    label: str
    """The severity in the report's language."""
    title: str
    evidence: str
    advice: str
    advice_label: str


Block = Table | Curve | Bar | Items | Note | DiagnosisBlock


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Body:
    """A whole report, ready to be set."""

    title: str
    lang: str
    found: str
    """What was read, in a line; empty where nothing was."""
    verdict: str
    """`healthy`, `warnings`, `explosion` or `not-judged`."""
    head: str
    """The verdict in the report's language."""
    sentence: str
    files: Sequence[str]
    sections: Sequence[Section]
    footer: str


def compose(report: Report, fits: Callable[[Table], bool] | None = None) -> Body:
    """The report's body; the table of epochs has as many metrics as `fits` lets through."""
    return Body(
        title=say(report, "title"),
        lang=report.lang,
        found=line(found_line(report.overview, [s.format for s in report.sources], report.lang)),
        verdict=report.verdict,
        head=say(report, f"verdict-{report.verdict}"),
        sentence=line(headline(report)),
        files=[line(text) for text in (*_files(report), *_settings(report))],
        sections=[
            Section(say(report, key), blocks) for key, blocks in _sections(report, fits) if blocks
        ],
        footer=say(report, "made-by"),
    )


def _sections(
    report: Report, fits: Callable[[Table], bool] | None
) -> Iterator[tuple[str, list[Block]]]:
    yield "epochs", [_epochs(report, fits)] if report.epochs else []
    yield "curves", list(_curves(report))
    yield "shares", list(_shares(report))
    yield "anomalies", list(_anomalies(report))
    yield "events", _items(_event_lines(report))
    yield "convergence", _items([_convergence(report, state) for state in report.convergence])
    yield "readings", _items([_reading(report, reading) for reading in report.readings])
    yield "diagnoses", list(_diagnoses(report))


def _items(lines: Sequence[str]) -> list[Block]:
    return [Items(list(map(line, lines)))] if lines else []


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], flagged: Sequence[bool] = ()
) -> Table:
    """A table of foreign texts, filtered."""
    return Table(
        list(map(line, header)),
        [list(map(line, row)) for row in rows],
        list(flagged) or [False] * len(rows),
    )


def _epochs(report: Report, fits: Callable[[Table], bool] | None) -> Table:
    if fits is None:
        return _epoch_table(report, COLUMNS)
    for columns in range(len(report.columns), 1, -1):
        candidate = _epoch_table(report, columns)
        if fits(candidate):
            return candidate
    return _epoch_table(report, 1)


def _curves(report: Report) -> Iterator[Block]:
    guesses = {reading.metric: reading.guess for reading in report.readings}
    for curve in report.curves:
        title = line(f"{curve.name} · {say(report, f'grain-{_grain(curve)}')}")
        yield Curve(title, curve, report.anomalies, guesses.get(curve.name))


def _grain(series: Series) -> str:
    """What one value of a series stands for: rows of a log need not be batches."""
    if series.grain != "batch" or len(series) < 2:
        return series.grain
    if np.all(np.diff(series.epoch) >= 1):
        return "epoch"
    if series.averaged.any():
        return "means"
    return "batch" if np.median(np.diff(series.step)) <= 1 else "steps"


def _shares(report: Report) -> Iterator[Block]:
    if report.shares is None:
        return
    yield Bar(report.shares)
    header = [say(report, key) for key in ("metric", "value", "weight", "weighted", "share")]
    rows = [
        [
            term.name,
            number(term.value),
            f"{term.weight:g}",
            number(term.weighted),
            percent(term.share),
        ]
        for term in report.shares.terms
    ]
    rows.append([say(report, "total"), "", "", number(report.shares.total), ""])
    yield table(header, rows)
    if report.shares_at:
        yield Note(line(say(report, "values-at", places=report.shares_at)))
    if report.assumed_weights:
        yield Note(say(report, "assumed"))
    yield Note(say(report, "not-pull"))


def _anomalies(report: Report) -> Iterator[Block]:
    """Where each anomaly begins, and its worst value."""
    shown = report.anomalies[:_ANOMALIES]
    if shown:
        header = [
            say(report, key) for key in ("metric", "from", "worst", "usual", "ratio", "level")
        ]
        rows = [
            [a.metric, a.onset, number(a.value), number(a.usual), _times(a), say(report, a.level)]
            for a in shown
        ]
        yield table(header, rows, [a.level == "explode" for a in shown])
    else:
        yield Items([say(report, "none")])
    epochs = len(report.epochs) - len(_shown_epochs(report))
    others = len(report.anomalies) - len(shown)
    if epochs or others:
        yield Note(say(report, "not-shown", epochs=epochs, anomalies=others))


def _diagnoses(report: Report) -> Iterator[Block]:
    for diagnosis in report.diagnoses:
        yield DiagnosisBlock(
            id=diagnosis.id,
            severity=diagnosis.severity,
            label=say(report, diagnosis.severity),
            title=line(diagnosis.title),
            evidence=line(diagnosis.evidence),
            advice=line(diagnosis.advice),
            advice_label=say(report, "advice"),
        )
    if not report.diagnoses:
        yield Items([say(report, "none")])
    if report.not_inverted:
        names = ", ".join(report.not_inverted)
        yield Note(line(say(report, "not-inverted", names=names)))


def _epoch_table(report: Report, columns: int) -> Table:
    """The epochs with at most so many metric columns."""
    names = [n for n in report.columns if any(n in row.metrics for row in report.epochs)]
    names = list(dict.fromkeys(SLOTS if name.startswith(SLOTS) else name for name in names))
    names = names[:columns]
    beside = bool(report.main) and any(report.main in row.batches for row in report.epochs)
    validation = _validation(report)
    header = [say(report, "epoch"), *names]
    if beside:
        header.insert(2, f"{report.main} ({say(report, 'batches')})")
    header += [*validation, say(report, "change"), say(report, "status")]
    shown = _shown_epochs(report)
    rows = []
    for epoch in shown:
        row = [f"{epoch.epoch:g}", *(_cell(_value(epoch.metrics, name)) for name in names)]
        if beside:
            row.insert(2, _cell(epoch.batches.get(report.main or "")))
        row += [_cell(epoch.validation.get(name)) for name in validation]
        rows.append([*row, _signed(epoch.change), say(report, epoch.status)])
    return table(header, rows, list(map(_broken, shown)))


def _validation(report: Report) -> list[str]:
    """The two validation averages that a table has room for."""
    names = dict.fromkeys(name for row in report.epochs for name in row.validation)
    return [name for name in names if name.endswith((f" {report.main}", " loss"))][:2]


def _value(metrics: Mapping[str, float], name: str) -> float | None:
    """A metric's value; the mean over its slots for the decoded L1."""
    if name != SLOTS:
        return metrics.get(name)
    values = [value for slot, value in metrics.items() if slot.startswith(SLOTS)]
    return sum(values) / len(values) if values else None


def _shown_epochs(report: Report) -> list[EpochLine]:
    """All epochs, or of many the first, the last, and those that broke."""
    epochs = list(report.epochs)
    if len(epochs) <= _FIRST + _LAST + _BROKEN:
        return epochs
    middle = [epoch for epoch in epochs[_FIRST:-_LAST] if _broken(epoch)]
    return [*epochs[:_FIRST], *middle[:_BROKEN], *epochs[-_LAST:]]


def _broken(epoch: EpochLine) -> bool:
    return epoch.status in ("explosion", "non-finite")


def _convergence(report: Report, state: Convergence) -> str:
    word = say(report, "converged" if state.converged else "moving")
    changes = ", ".join(_signed(change) for change in state.changes)
    text = f"{state.metric}: {word}; {number(state.first)} → {number(state.last)}; "
    text += f"{say(report, 'last-changes')}: {changes}"
    if state.left_out:
        text += f"; {say(report, 'left-out')}: {', '.join(state.left_out)}"
    return text


def _reading(report: Report, reading: Interpretation) -> str:
    """What one value means."""
    text = f"{reading.metric} {number(reading.value)}, "
    text += say(report, "since", first=number(reading.first))
    if reading.guess:
        share = percent(reading.value / reading.guess, 0)
        text += "; " + say(report, "of-guess", share=share, guess=number(reading.guess))
    return text


def _event_lines(report: Report) -> list[str]:
    """What the run itself reported, one line an event."""
    lines = [f"step {event.step}: {event.kind}, {event.text}" for event in report.events[:_EVENTS]]
    more = len(report.events) - _EVENTS
    return [*lines, f"+{more}"] if more > 0 else lines


def _files(report: Report) -> Iterator[str]:
    for source in report.sources:
        text = f"{source.path} ({source.format})"
        if source.unknown:
            text += ", " + say(report, "unknown", count=source.unknown)
        yield f"{say(report, 'files')}: {text}"


def _settings(report: Report) -> Iterator[str]:
    """Settings that the logs print, each with its place."""
    for setting, where in report.origins.items():
        yield f"{say(report, 'setting')}: {setting} ({where})"


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def _signed(change: float) -> str:
    if math.isnan(change):
        return ""
    text = f"{abs(change):.3g}" if math.isfinite(change) else number(abs(change))
    return ("+" if change >= 0 else "−") + text


def _times(anomaly: Anomaly) -> str:
    ratio = anomaly.ratio
    return "–" if not math.isfinite(ratio) else f"{ratio:.1f}×"


def _numeric(text: str) -> bool:
    if text in ("", "–"):
        return True
    try:
        float(text.replace("−", "-").lstrip("~").rstrip("×% "))
    except ValueError:
        return False
    return True

"""The report as Markdown, for an issue or a wiki; charts become sparklines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vlamon.analysis.evidence import Series
from vlamon.charts.numbers import number
from vlamon.report.contents import Report
from vlamon.report.drawing import columns_of
from vlamon.report.sentences import (
    anomaly_table,
    convergence_sentence,
    curve_title,
    epoch_table,
    event_lines,
    files,
    left_out,
    reading_sentence,
    say,
    shares_table,
    verdict,
)

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 48
_COLUMNS = 8


def as_markdown(report: Report) -> str:
    """The whole report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    head = say(report, f"verdict-{report.verdict}")
    yield f"# {say(report, 'title')}: {head}"
    yield ""
    yield f"**{verdict(report)}**"
    yield ""
    yield from (f"- {say(report, 'files')}: {line}" for line in files(report))
    if report.epochs:
        yield from _section(report, "epochs")
        header, rows = epoch_table(report, _COLUMNS)
        bold = {say(report, "explosion"), say(report, "non-finite")}
        marked = [[f"**{c}**" if c and row[-1] in bold else c for c in row] for row in rows]
        yield from _table(header, marked)
    if report.curves:
        yield from _section(report, "curves")
        for curve in report.curves:
            low, high = columns_of(curve, _SPARK).range
            span = f"{number(low, 3)} … {number(high, 3)}"
            yield f"- {curve_title(report, curve)}: `{sparkline(curve)}` ({span})"
    if report.shares is not None:
        yield from _section(report, "shares")
        yield from _table(*shares_table(report))
        yield ""
        if report.assumed_weights:
            yield f"_{say(report, 'assumed')}._"
        yield f"_{say(report, 'not-pull')}._"
    yield from _section(report, "anomalies")
    if report.anomalies:
        yield from _table(*anomaly_table(report))
    else:
        yield say(report, "none")
    if left_out(report):
        yield ""
        yield f"_{left_out(report)}_"
    if report.events:
        yield from _section(report, "events")
        yield from (f"- {line}" for line in event_lines(report))
    if report.convergence:
        yield from _section(report, "convergence")
        yield from (f"- {convergence_sentence(report, state)}" for state in report.convergence)
    if report.readings:
        yield from _section(report, "readings")
        yield from (f"- {reading_sentence(report, reading)}" for reading in report.readings)
    yield from _section(report, "diagnoses")
    for diagnosis in report.diagnoses:
        severity = say(report, diagnosis.severity)
        yield f"### {diagnosis.title} (`{diagnosis.id}`, {severity})"
        yield ""
        yield diagnosis.evidence
        yield ""
        yield f"**{say(report, 'advice')}**: {diagnosis.advice}"
        yield ""
    if not report.diagnoses:
        yield say(report, "none")
    if report.not_inverted:
        yield f"_{say(report, 'not-inverted', names=', '.join(report.not_inverted))}_"


def sparkline(curve: Series) -> str:
    """A curve in one line: the greatest value of each column."""
    drawn = columns_of(curve, min(_SPARK, len(curve)))
    values = np.log(drawn.high) if drawn.log else drawn.high
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    low, span = float(np.min(finite)), float(np.ptp(finite)) or 1.0
    signs = []
    for value, broken in zip(values.tolist(), drawn.broken.tolist(), strict=True):
        if broken or value != value:
            signs.append("✕" if broken else " ")
        else:
            signs.append(_BARS[round((value - low) / span * (len(_BARS) - 1))])
    return "".join(signs)


def _section(report: Report, key: str) -> Iterator[str]:
    yield ""
    yield f"## {say(report, key)}"
    yield ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"

"""Sentences and cells that the text, the Markdown and the HTML report share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.convergence import Convergence
from vlamon.charts.numbers import number, percent
from vlamon.report.contents import EpochLine, Reading, Report
from vlamon.report.words import LANGUAGES

_PLACES = 4
_EVENTS = 20
_ANOMALIES = 40
_FIRST, _LAST, _BROKEN = 10, 30, 30
SLOTS = "l1_loss_action"
"""The decoded L1 has a value for each action of the horizon; a table has room for their mean."""


def say(report: Report, key: str, **facts: object) -> str:
    """A fixed text in the report's language."""
    return LANGUAGES[report.lang][key].format(**facts)


def verdict(report: Report) -> str:
    """The one sentence at the top."""
    if report.verdict == "explosion" and report.explosions:
        spikes = report.explosions
        places = "; ".join(f"{a.span}: {number(a.value)}" for a in spikes[:_PLACES])
        more = f"; +{len(spikes) - _PLACES}" if len(spikes) > _PLACES else ""
        return say(report, "say-explosion", metric=spikes[0].metric, places=places + more)
    if report.verdict == "explosion":
        return say(report, "say-nonfinite")
    if report.verdict == "warnings":
        count = sum(diagnosis.severity == "warn" for diagnosis in report.diagnoses)
        return say(report, "say-warnings", count=count)
    return say(report, "say-healthy")


def epoch_table(report: Report, columns: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the epoch table with at most so many metric columns."""
    names = [n for n in report.columns if any(n in line.metrics for line in report.epochs)]
    names = list(dict.fromkeys(SLOTS if name.startswith(SLOTS) else name for name in names))
    names = names[:columns]
    beside = bool(report.main) and any(report.main in line.batches for line in report.epochs)
    validation = list(
        dict.fromkeys(
            name
            for line in report.epochs
            for name in line.validation
            if name.endswith((f" {report.main}", " loss"))
        )
    )[:2]
    header = [say(report, "epoch"), *names]
    if beside:
        header.insert(2, f"{report.main} ({say(report, 'batches')})")
    header += [*validation, say(report, "change"), say(report, "status")]
    rows = []
    for line in shown_epochs(report):
        row = [f"{line.epoch:g}", *(_cell(_value(line.metrics, name)) for name in names)]
        if beside:
            row.insert(2, _cell(line.batches.get(report.main or "")))
        row += [_cell(line.validation.get(name)) for name in validation]
        rows.append([*row, _signed(line.change), say(report, line.status)])
    return header, rows


def _value(metrics: Mapping[str, float], name: str) -> float | None:
    """A metric's value; the mean over its slots for the decoded L1."""
    if name != SLOTS:
        return metrics.get(name)
    values = [value for slot, value in metrics.items() if slot.startswith(SLOTS)]
    return sum(values) / len(values) if values else None


def shown_epochs(report: Report) -> list[EpochLine]:
    """All epochs, or of many the first, the last, and those that broke."""
    lines = list(report.epochs)
    if len(lines) <= _FIRST + _LAST + _BROKEN:
        return lines
    middle = [line for line in lines[_FIRST:-_LAST] if broken(line)]
    return [*lines[:_FIRST], *middle[:_BROKEN], *lines[-_LAST:]]


def left_out(report: Report) -> str:
    """A line on what the tables do not show, empty where they show all."""
    epochs = len(report.epochs) - len(shown_epochs(report))
    others = max(0, len(report.anomalies) - _ANOMALIES)
    return say(report, "not-shown", epochs=epochs, anomalies=others) if epochs or others else ""


def broken(line: EpochLine) -> bool:
    """Whether a line of the table wants the reader's eye."""
    return line.status in ("explosion", "non-finite")


def shares_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the shares."""
    header = [say(report, key) for key in ("metric", "value", "weight", "weighted", "share")]
    rows = []
    if report.shares is not None:
        for term in report.shares.terms:
            weighted, share = term.weighted, term.share
            rows.append(
                [
                    term.name,
                    number(term.value),
                    f"{term.weight:g}",
                    number(weighted),
                    "–" if share is None else percent(share),
                ]
            )
        rows.append([say(report, "total"), "", "", number(report.shares.total), ""])
    return header, rows


def anomaly_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the anomalies: where each begins, and its worst value."""
    header = [say(report, key) for key in ("metric", "from", "worst", "usual", "ratio", "level")]
    rows = [
        [
            a.metric,
            a.onset,
            number(a.value),
            number(a.usual),
            _times(a),
            say(report, a.level),
        ]
        for a in report.anomalies[:_ANOMALIES]
    ]
    return header, rows


def convergence_sentence(report: Report, state: Convergence) -> str:
    """One line on one metric."""
    word = say(report, "converged" if state.converged else "moving")
    changes = ", ".join(_signed(change) for change in state.changes)
    text = f"{state.metric}: {word}; {number(state.first)} → {number(state.last)}; "
    text += f"{say(report, 'last-changes')}: {changes}"
    if state.left_out:
        text += f"; {say(report, 'left-out')}: {', '.join(state.left_out)}"
    return text


def reading_sentence(report: Report, reading: Reading) -> str:
    """What one value means."""
    text = f"{reading.metric} {number(reading.value)}, "
    text += say(report, "since", first=number(reading.first))
    if reading.guess:
        share = percent(reading.value / reading.guess, 0)
        text += "; " + say(report, "of-guess", share=share, guess=number(reading.guess))
    return text


def curve_title(report: Report, curve: object) -> str:
    """A chart's title: the metric and what one value is."""
    name, grain = getattr(curve, "name", ""), getattr(curve, "grain", "")
    return f"{name} · {say(report, f'grain-{grain}')}"


def event_lines(report: Report) -> list[str]:
    """What the run itself told, one line an event."""
    lines = [f"step {event.step}: {event.kind}, {event.text}" for event in report.events[:_EVENTS]]
    more = len(report.events) - _EVENTS
    return [*lines, f"+{more}"] if more > 0 else lines


def files(report: Report) -> Sequence[str]:
    """One line a file."""
    lines = []
    for source in report.sources:
        text = f"{source.path} ({source.format})"
        if source.unknown:
            text += ", " + say(report, "unknown", count=source.unknown)
        lines.append(text)
    return lines


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

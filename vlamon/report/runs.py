"""Several runs beside each other: a row a run, with its final and best loss and its state."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vlamon.analysis.diagnosis.explosion import CRASHED
from vlamon.charts.numbers import number
from vlamon.report.body import Body, Items, Section, table
from vlamon.report.contents import EXPLOSION, HEALTHY, NOT_JUDGED, WARNINGS, Report
from vlamon.report.found import number_at, span
from vlamon.report.headline import headline
from vlamon.report.json import objects
from vlamon.report.words import LANGUAGES
from vlamon.safe_text import line
from vlamon.views.json_lines import json_bytes, plain

_WORST = (EXPLOSION, NOT_JUDGED, WARNINGS, HEALTHY)


def worst(reports: Mapping[str, Report]) -> int:
    """The exit code of several runs: that of the run which is worst off."""
    return min((report.exit_code for report in reports.values()), key=_WORST.index)


def runs_body(reports: Mapping[str, Report], lang: str) -> Body:
    """The table of these runs, by name, and a sentence on each."""
    say = LANGUAGES[lang]
    states = Counter(say[f"verdict-{report.verdict}"] for report in reports.values())
    listed = say["comma"].join(f"{count} {state}" for state, count in states.items())
    verdict = next(r.verdict for r in reports.values() if r.exit_code == worst(reports))
    keys = ("run", "metric", "rows", "steps", "final", "best", "best-at", "spikes", "state")
    rows = [_row(name, report, say) for name, report in reports.items()]
    broken = [report.exit_code == EXPLOSION for report in reports.values()]
    beside = table([say[key] for key in keys], rows, broken)
    sentences = [f"{name}: {headline(report)}" for name, report in reports.items()]
    return Body(
        title=say["runs-title"],
        lang=lang,
        found="",
        verdict=verdict,
        head=say[f"verdict-{verdict}"],
        sentence=line(say["runs-sentence"].format(count=len(reports), states=listed)),
        files=[],
        sections=[Section(say["runs-title"], [beside, Items(list(map(line, sentences)))])],
        footer=say["made-by"],
    )


def runs_json(reports: Mapping[str, Report]) -> str:
    """One JSON object: the whole report of each run, by name."""
    runs: dict[str, Any] = {name: objects(report) for name, report in reports.items()}
    whole = {"kind": "runs", "exit_code": worst(reports), "runs": runs}
    return json_bytes(plain(whole), indent=True).decode()


def _row(name: str, report: Report, say: Mapping[str, str]) -> Sequence[str]:
    found = report.overview
    if found is None:
        return [name, "–", "0", "", "", "", "", "", _state(report, say)]
    has_best = not math.isnan(found.best)
    return [
        name,
        found.metric or "–",
        f"{found.rows:,}",
        span(found, report.lang).removeprefix("steps "),
        number(found.last) if has_best else "",
        number(found.best) if has_best else "",
        number_at(found.best_at) if has_best else "",
        str(sum(anomaly.metric in report.mains for anomaly in report.anomalies)),
        _state(report, say),
    ]


def _state(report: Report, say: Mapping[str, str]) -> str:
    """The verdict, and how the run ended where the log says that it did not end well."""
    verdict = say[f"verdict-{report.verdict}"]
    crash = next((d for d in report.diagnoses if d.id == CRASHED), None)
    return (
        verdict
        if crash is None
        else say["comma"].join([verdict, say[f"end-{crash.facts['kind']}"]])
    )

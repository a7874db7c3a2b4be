"""The one sentence at the top of a report."""

from __future__ import annotations

from vlamon.analysis.diagnosis import Diagnosis
from vlamon.analysis.diagnosis.averaging import REFUTED
from vlamon.analysis.diagnosis.explosion import CRASHED
from vlamon.analysis.judgeable import Unjudged
from vlamon.analysis.main_loss import MAIN_LOSSES
from vlamon.charts.numbers import number
from vlamon.report.contents import Report
from vlamon.report.words import say

_PLACES = 4


def headline(report: Report) -> str:
    """What matters most: how the run ended, what exploded, or why nothing can be said."""
    crash = _diagnosis(report, CRASHED)
    said = _judgement(report, crash)
    if crash is None:
        return said
    kind = crash.facts["kind"]
    key = f"say-{kind}" if kind in ("killed", "nan") else "say-crashed"
    end = say(report, key, line=crash.facts["line"], last=crash.facts["last"])
    return f"{end}; {said}" if said else end


def _judgement(report: Report, crash: Diagnosis | None) -> str:
    """The verdict in words; empty where a crash is all there is to say."""
    if report.verdict == "explosion":
        return _explosion(report, crash)
    if report.unjudged is not None:
        return _unjudged(report, report.unjudged)
    if report.verdict == "healthy":
        return say(report, "say-healthy")
    refuted = _diagnosis(report, REFUTED)
    if refuted is not None:
        return say(report, "say-refuted", examples=refuted.facts["examples"])
    count = sum(d.severity == "warn" and d is not crash for d in report.diagnoses)
    count += len({anomaly.metric for anomaly in report.anomalies})
    if not count:
        return ""
    return say(report, "say-warning" if count == 1 else "say-warnings", count=count)


def _explosion(report: Report, crash: Diagnosis | None) -> str:
    spikes = report.explosions
    if not spikes:
        return "" if crash is not None else say(report, "say-nonfinite")
    places = "; ".join(f"{a.span}: {number(a.value)}" for a in spikes[:_PLACES])
    more = f"; +{len(spikes) - _PLACES}" if len(spikes) > _PLACES else ""
    return say(report, "say-explosion", metric=spikes[0].metric, places=places + more)


def _unjudged(report: Report, why: Unjudged) -> str:
    return say(
        report,
        f"say-{why.reason}",
        metrics=", ".join(why.metrics),
        metric=report.main,
        values=why.values,
        unknown=why.unknown,
        names=", ".join(MAIN_LOSSES),
    )


def _diagnosis(report: Report, wanted: str) -> Diagnosis | None:
    return next((d for d in report.diagnoses if d.id == wanted), None)

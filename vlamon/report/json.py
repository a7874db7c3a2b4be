"""The report for scripts; the schema is documented in docs/json.md."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.overview import Overview
from vlamon.report.contents import EpochLine, Report
from vlamon.views.json_lines import json_bytes, plain


def as_json(report: Report) -> str:
    """One JSON object; what is not finite becomes the strings "nan", "inf" and "-inf"."""
    return json_bytes(plain(objects(report)), indent=True).decode()


def objects(report: Report) -> dict[str, Any]:
    """The report as plain objects."""
    return {
        "kind": "report",
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "files": [
            {"path": source.path, "format": source.format, "unknown_lines": source.unknown}
            for source in report.sources
        ],
        "found": _overview(report.overview),
        "main": report.main,
        "epochs": [_epoch(line) for line in report.epochs],
        "anomalies": [_anomaly(anomaly) for anomaly in report.anomalies],
        "contributions": _contributions(report),
        "contributions_at": report.shares_at or None,
        "total": None if report.shares is None else report.shares.total,
        "settings": dict(report.origins),
        "assumed_weights": report.assumed_weights,
        "convergence": [asdict(state) for state in report.convergence],
        "diagnoses": [asdict(diagnosis) for diagnosis in report.diagnoses],
        "events": [
            {"event": event.kind, "step": event.step, "text": event.text} for event in report.events
        ],
        "not_inverted": list(report.not_inverted),
    }


def _overview(found: Overview | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "rows": found.rows,
        "grain": found.grain,
        "axis": "epoch" if found.by_epoch else "step",
        "begin": _known(found.begin),
        "end": _known(found.end),
        "metric": found.metric or None,
        "first": _known(found.first),
        "last": _known(found.last),
        "best": _known(found.best),
        "best_at": _known(found.best_at),
    }


def _epoch(line: EpochLine) -> dict[str, Any]:
    return {
        "epoch": int(line.epoch) if line.epoch.is_integer() else line.epoch,
        "status": line.status,
        "change": _known(line.change),
        "metrics": dict(line.metrics),
        "batches": dict(line.batches),
        "validation": dict(line.validation),
    }


def _anomaly(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "metric": anomaly.metric,
        "where": anomaly.where,
        "value": anomaly.value,
        "level": anomaly.level,
        "usual": _known(anomaly.usual),
        "ratio": _known(anomaly.ratio),
        "grain": anomaly.grain,
        "epoch": _known(anomaly.epoch),
        "step": anomaly.step,
        "first": anomaly.first if anomaly.first >= 0 else None,
        "last": anomaly.last if anomaly.last >= 0 else None,
        "onset": anomaly.onset,
        "onset_epoch": _known(anomaly.onset_epoch),
        "onset_step": anomaly.onset_step,
        "length": anomaly.length,
        "lasting": anomaly.lasting,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _contributions(report: Report) -> list[dict[str, Any]]:
    if report.shares is None:
        return []
    return [
        {
            "metric": term.name,
            "value": term.value,
            "weight": term.weight,
            "weighted": term.weighted,
            "share": term.share,
        }
        for term in report.shares.terms
    ]

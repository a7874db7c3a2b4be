"""The report for scripts; the schema is documented in docs/json.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from vlamon.report.contents import Report


def as_json(report: Report) -> str:
    """One JSON object; what is not finite becomes the strings "nan", "inf" and "-inf"."""
    return orjson.dumps(_plain(objects(report)), option=orjson.OPT_INDENT_2).decode() + "\n"


def objects(report: Report) -> dict[str, Any]:
    """The report as plain objects."""
    return {
        "kind": "report",
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "files": [
            {
                "path": source.path,
                "format": source.format,
                "unknown_lines": source.unknown,
            }
            for source in report.sources
        ],
        "main": report.main,
        "epochs": [
            {
                "epoch": int(line.epoch) if line.epoch.is_integer() else line.epoch,
                "status": line.status,
                "change": None if math.isnan(line.change) else line.change,
                "metrics": dict(line.metrics),
                "batches": dict(line.batches),
                "validation": dict(line.validation),
            }
            for line in report.epochs
        ],
        "anomalies": [
            {
                "metric": a.metric,
                "where": a.where,
                "value": a.value,
                "level": a.level,
                "usual": None if math.isnan(a.usual) else a.usual,
                "ratio": None if math.isnan(a.ratio) else a.ratio,
                "grain": a.grain,
                "epoch": None if math.isnan(a.epoch) else a.epoch,
                "step": a.step,
                "first": a.first if a.first >= 0 else None,
                "last": a.last if a.last >= 0 else None,
            }
            for a in report.anomalies
        ],
        "contributions": _contributions(report),
        "total": None if report.shares is None else report.shares.total,
        "assumed_weights": report.assumed_weights,
        "convergence": [
            {
                "metric": state.metric,
                "converged": state.converged,
                "changes": list(state.changes),
                "quiet": state.quiet,
                "first": state.first,
                "last": state.last,
                "unit": state.unit,
                "left_out": list(state.left_out),
            }
            for state in report.convergence
        ],
        "diagnoses": [
            {
                "id": diagnosis.id,
                "severity": diagnosis.severity,
                "title": diagnosis.title,
                "evidence": diagnosis.evidence,
                "advice": diagnosis.advice,
                "facts": dict(diagnosis.facts),
            }
            for diagnosis in report.diagnoses
        ],
        "events": [
            {"event": event.kind, "step": event.step, "text": event.text} for event in report.events
        ],
        "not_inverted": list(report.not_inverted),
    }


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


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value

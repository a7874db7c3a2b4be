"""Rules about single ranks, from what they reported of each other while the run went on."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.records import Event


def rank_lost(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Ranks that stopped reporting and did not come back."""
    lost: dict[int, Event] = {}
    for event in evidence.events:
        for rank in _ranks(event):
            if event.data.get("finding") == "silent":
                lost[rank] = event
            elif event.data.get("finding") == "back":
                lost.pop(rank, None)
    if not lost:
        return []
    facts = {
        "ranks": _listed(lost),
        "count": len(lost),
        "text": next(iter(lost.values())).text,
    }
    return [Finding("rank-lost", "error", facts)]


def rank_straggles(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Ranks that kept all others waiting."""
    return _last_of(evidence, "straggler", "straggler")


def rank_throttled(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """GPUs that heat or a fault held back."""
    return _last_of(evidence, "throttled", "rank-throttled")


def ranks_apart(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Replicas that are no longer equal."""
    return _last_of(evidence, "apart", "ranks-apart")


def _last_of(evidence: Evidence, finding: str, name: str) -> list[Finding]:
    events = [event for event in evidence.events if event.data.get("finding") == finding]
    if not events:
        return []
    ranks = sorted({rank for event in events for rank in _ranks(event)})
    return [Finding(name, "warn", {"ranks": _listed(ranks), "text": events[-1].text})]


def rank_with_broken_batch(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The ranks on which the first non-finite value came, before it spread."""
    broken = [event for event in evidence.events if event.data.get("finding") == "broken"]
    if not broken:
        return []
    first = broken[0]
    facts = {
        "ranks": _listed(_ranks(first)),
        "metric": str(first.data.get("metric", "")),
        "step": first.step,
    }
    return [Finding("broken-batch-of-rank", "error", facts)]


def _ranks(event: Event) -> list[int]:
    ranks = event.data.get("ranks")
    return [int(rank) for rank in ranks] if isinstance(ranks, list | tuple) else []


def _listed(ranks: Sequence[int] | dict[int, Event]) -> str:
    shown = sorted(ranks)
    return ", ".join(map(str, shown[:8])) + (f" and {len(shown) - 8} more" if shown[8:] else "")

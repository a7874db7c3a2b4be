"""Reports what the guard does: events through the emitter, lines in the audit, both or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlamon.detect.spikes import Judgement
from vlamon.guard import collectives
from vlamon.guard.audit import Audit, finite
from vlamon.guard.autopsy import AutopsyResult
from vlamon.guard.worth import sums_text
from vlamon.records import Severity
from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon import Emitter

LOUD = ("explode", "rollback", "paused", "resumed", "recovered")
"""Kinds of events that are written to stderr too: an unwatched job has only its output."""
_TITLES = {
    "recovered": "recovered: ",
    "explode": "explosion: ",
    "paused": "paused: ",
    "rollback": "rollback: ",
}
QUIET_STEPS = 12
"""Steps without an alarm that end an episode."""


class Reporter:
    """Sends the guard's events, and an alarm once an episode instead of once a batch."""

    def __init__(self, emitter: Emitter | None, audit: Audit) -> None:
        self.emitter = emitter
        self.audit = audit
        self._leads = collectives.rank() == 0
        self.attempt = emitter.attempt if emitter else 0
        self._loss_reported = False
        self._last: dict[tuple[str, str], int] = {}

    def event(
        self, kind: str, step: int, text: str, severity: Severity = "info", **data: Any
    ) -> str:
        """An event, and its line in the audit. Returns the event's id."""
        identity = ""
        if self.emitter is not None:
            identity = self.emitter.event(
                kind, step=step, text=text, severity=severity, **finite(data)
            )
        self.audit.write(kind, step, self.attempt, text=text, id=identity, **data)
        if kind in LOUD and self._leads:
            self.audit.say(f"vlamon: step {step}: {_TITLES.get(kind, '')}{line(text)}")
        return identity

    def warn(self, step: int, judgement: Judgement, values: Mapping[str, float | None]) -> None:
        """A component warns; silent while the same one keeps warning."""
        for metric, verdict in judgement.verdicts.items():
            if verdict.level != "warn":
                continue
            before = self._last.get(("warn", metric), -(10**9))
            self._last["warn", metric] = step
            if 0 <= step - before <= QUIET_STEPS:
                continue
            self.event("warn", step, f"{metric} {value_text(values.get(metric))}: {verdict.reason}",
                       "warn", **_numbers(metric, judgement, values))  # fmt: skip

    def explode(
        self,
        step: int,
        judgement: Judgement,
        values: Mapping[str, float | None],
        samples: Any,
        ranks: Sequence[int],
    ) -> str:
        """A component exploded."""
        metric = judgement.metric or "closs"
        reason = judgement.verdict.reason or "seen on another rank"
        place = f" on rank {', '.join(map(str, ranks))}" if ranks != [0] else ""
        return self.event(
            "explode",
            step,
            f"{metric} {value_text(values.get(metric))}{place}: {reason}",
            "error",
            **_numbers(metric, judgement, values),
            samples=plain_samples(samples),
            ranks=list(ranks),
        )

    def autopsy(self, step: int, slot: int, finding: AutopsyResult) -> None:
        """Why it exploded, seen from the snapshot of step `slot`; the samples to blame by name."""
        samples = [{"step": step, "attempt": self.attempt, **sample} for sample in finding.samples]
        self.audit.blame(samples)
        self.event(
            "autopsy",
            step,
            finding.text,
            "warn",
            verdict=finding.cause,
            slot=slot,
            evidence=finding.evidence,
            samples=samples[:64],
        )

    def sum_up(self, step: int, sums: dict[str, Any]) -> None:
        """What the guard was worth: with the run's end, and in the audit where anything was."""
        if self.emitter is not None:
            self.emitter.at_end(guard=sums)
        if sums["explosions"] or sums["rollbacks"]:
            self.audit.write("summary", step, self.attempt, text=sums_text(sums), **sums)

    def poll_audit(self, step: int) -> None:
        """Say once that the audit loses lines."""
        if self.audit.failure and not self._loss_reported:
            self._loss_reported = True
            text = f"guard.jsonl loses lines: {self.audit.failure}"
            self.event("note", step, text, "warn")

    def status(self, **fields: Any) -> None:
        """What the trainer does now."""
        if self.emitter is not None:
            self.emitter.status(**fields)

    def set_attempt(self, attempt: int) -> None:
        """Another branch begins."""
        self.attempt = attempt
        if self.emitter is not None:
            self.emitter.set_attempt(attempt)


def value_text(value: float | None) -> str:
    """A value in a sentence."""
    return "" if value is None else f"{value:.4g}"


def _numbers(
    metric: str, judgement: Judgement, values: Mapping[str, float | None]
) -> dict[str, Any]:
    verdict = judgement.verdicts.get(metric)
    if verdict is None:
        return {"metric": metric, "value": values.get(metric)}
    return {
        "metric": metric,
        "value": values.get(metric),
        "z": verdict.z,
        "ratio": verdict.ratio,
        "reason": verdict.reason,
    }


def plain_samples(samples: Any) -> list[Any]:
    """Ids of samples as a list that fits into an event."""
    if samples is None:
        return []
    tolist = getattr(samples, "tolist", None)
    return list(tolist() if tolist else samples)[:256]

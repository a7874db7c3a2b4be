"""Decides when a monitor requests a rollback by itself: `vlamon watch --auto-rollback`.

For trainings whose own detection is off or only watches, and which still have snapshots. A command
is given for a *live* explosion alone, never for one out of history, and it carries the explosion's
id, so that any number of monitors make the trainer roll back once. Pure: records in, commands out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from vlamon.detect.components import ComponentDetectors, Judgement
from vlamon.detect.monitor import BY
from vlamon.detect.rules import SpikeRules
from vlamon.guard_modes import mode_acts, mode_detects
from vlamon.hardware import GpuSample
from vlamon.records import BatchBlock, Event, MetricSpec, Record, RunInfo, Status
from vlamon.records import MetricsAnnounced as Announced

RECENT = 15.0
"""Seconds of the trainer's clock within which something counts as happening now."""
BACKLOG = 1024
"""Rows of history from which the detectors learn what is usual."""
BUDGET = 3
"""Rollbacks within BUDGET_ROWS rows; a training that explodes more often needs a person."""
BUDGET_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """A rollback to request now."""

    event: str
    """Id of the explosion, the same in every monitor."""
    step: int
    """Where it was seen."""
    text: str
    """What was seen, one line."""


class AutoRollback:
    """Reads a source's records and says when to request a rollback."""

    def __init__(self, rules: SpikeRules | None = None) -> None:
        self.detectors = ComponentDetectors(rules=rules)
        self._boot = ""
        self._weights: dict[str, float] = {}
        self._status: Status | None = None
        self._clock = 0.0
        """Newest time that the trainer has sent."""
        self._backlog: deque[BatchBlock] = deque()
        self._answered: set[str] = set()
        self._rows = 0
        self._requested_at: list[int] = []
        """Row counts at which rollbacks were requested."""

    @property
    def spent(self) -> bool:
        """Whether the budget of rollbacks is used up."""
        return sum(self._rows - at <= BUDGET_ROWS for at in self._requested_at) >= BUDGET

    def observe(self, record: Record) -> RollbackRequest | None:
        """Take one more record; returns a rollback to request, or None."""
        if isinstance(record, RunInfo):
            self._begin(record)
        elif isinstance(record, Announced):
            self._learn(record.metrics)
        elif isinstance(record, Status):
            self._status = record
            self._clock = max(self._clock, record.time)
        elif isinstance(record, GpuSample):
            self._clock = max(self._clock, record.time)
        elif isinstance(record, Event):
            return self._answer_event(record)
        elif isinstance(record, BatchBlock) and record.rows:
            return self._observe_rows(record)
        return None

    def _begin(self, info: RunInfo) -> None:
        if info.boot != self._boot:
            self._boot, self._status = info.boot, None
            self.detectors = ComponentDetectors(rules=self.detectors.rules)
            self._backlog.clear()
        self._learn(info.metrics)

    def _learn(self, specs: tuple[MetricSpec, ...]) -> None:
        self._weights |= {spec.name: spec.weight for spec in specs if spec.weight}

    def _live(self, when: float) -> bool:
        """Whether something of this time happens now; never before the first status."""
        return self._status is not None and when >= self._clock - RECENT

    def _trainer_acts(self) -> bool:
        return self._status is not None and mode_acts(self._status.guard)

    def _answer_event(self, event: Event) -> RollbackRequest | None:
        if event.data.get("by") == BY:
            return None  # what the explosion monitor saw here is judged in this class, too
        if event.kind != "explode" or self._trainer_acts() or not self._live(event.time):
            return None
        return self._request(event.id, event.step, event.text)

    def _observe_rows(self, block: BatchBlock) -> RollbackRequest | None:
        if block.weights:
            self._weights = dict(block.weights)
        when = float(block.time[-1])
        self._clock = max(self._clock, when) if self._status is not None else self._clock
        self._rows += block.rows
        if not self._live(when):
            self._backlog.append(block)
            while len(self._backlog) > 1 and (
                sum(known.rows for known in self._backlog) - self._backlog[0].rows >= BACKLOG
            ):
                self._backlog.popleft()
            return None
        while self._backlog:
            for _ in self.detectors.observe_rows(self._backlog.popleft(), self._weights):
                pass  # history sets the usual level and requests nothing
        request = None
        for row, judgement in self.detectors.observe_rows(block, self._weights):
            live = self._live(float(block.time[row]))
            if judgement.level == "explode" and request is None and live:
                request = self._own_explosion(block, row, judgement)
        return request

    def _own_explosion(
        self, block: BatchBlock, row: int, judgement: Judgement
    ) -> RollbackRequest | None:
        status = self._status
        if status is not None and mode_detects(status.guard):
            return None  # the trainer's own event is answered, by itself or here
        # One id an attempt: a rollback begins another one, and until then it is the same trouble.
        value = float(block.columns[judgement.metric].values[row])
        text = f"{judgement.metric} {value:.4g}: {judgement.verdict.reason}"
        return self._request(f"{self._boot[:8]}-attempt{block.attempt}", int(block.step[row]), text)

    def _request(self, identity: str, step: int, text: str) -> RollbackRequest | None:
        if identity in self._answered or self.spent:
            return None
        self._answered.add(identity)
        self._requested_at.append(self._rows)
        return RollbackRequest(identity, step, text)

"""Judges the ranks by their reports: which one is slow, silent, or has a broken batch.

Every rank reports a few numbers twice a second, in a large job less often; what rank 0 has of them
is judged here. All ranks of a synchronous training have the same step time because they wait
for each other. Which one keeps the others waiting shows in the phases before the gradients meet,
loading data and the forward pass. Pure: reports and time in, columns and findings out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from vlamon.detect.rank_losses import RankLosses

PREFIX = "ranks_"
"""Begins every column."""
GPU_NAMES = ("gpu_util", "gpu_memory", "gpu_temperature", "gpu_power")
"""Of the rank's own GPU: busy and used in percent, degrees Celsius, watts."""
NAMES = ("closs", "grad_norm", "step_time", "data_wait", *GPU_NAMES)
EVERY = 0.5
"""Seconds between two reports of a rank, in a job of up to 128 ranks."""
REPORTS = 256
"""Reports of all ranks in a second; more ranks report less often."""
SILENT = 6.0
"""Seconds without a report after which a rank was killed or stopped."""
AWAY = 4
"""Reports that rank 0 itself missed when it stood still: then no other rank was silent."""
SLOW_FOR = 4.0
"""Seconds for which a rank must be slow."""
FEWEST_LOOKS = 3
"""Looks in a row for which it must be slow, however seldom ranks report."""
SLOWER = 2.0
"""Ratio to the median from which a phase is slow."""
SHARE = 0.15
"""Share of the step that it must cost besides."""
LATE = 3.0
"""Seconds that the other ranks have to reach the step at which one has a broken batch."""

Kind = Literal[
    "silent", "back", "straggler", "throttled", "apart", "recovered", "broken", "unseen", "seen"
]


@dataclass(frozen=True, slots=True)
class RankReport:
    """What one rank reports of itself."""

    count: int
    """Grows with every report."""
    step: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    """Newest value by name, of NAMES; times in seconds a step."""
    forward: float | None = None
    """Seconds a step in the forward pass."""
    broken: tuple[int, str] | None = None
    """First step and metric that was not finite."""
    host: str = ""
    pid: int = 0
    ended: str = ""
    """How it ended; empty while it runs."""
    throttle: str = ""
    """Why the clocks of its GPU are held back by heat or a fault; empty where they are not."""


@dataclass(frozen=True, slots=True)
class RankFinding:
    """Something to report about a rank."""

    kind: Kind
    ranks: tuple[int, ...]
    step: int | None
    text: str
    data: Mapping[str, object] = field(default_factory=dict)


def interval(world_size: int) -> float:
    """Seconds between two reports of a rank."""
    return max(EVERY, world_size / REPORTS)


@dataclass(slots=True)
class RankJudge:
    """What is known of every rank that has reported at least once."""

    every: float = EVERY
    """Seconds between two reports of a rank."""
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Newest count of a rank, and when it came."""
    _last: dict[int, RankReport] = field(default_factory=dict)
    """Newest report of a rank: what is no longer a report must not hide that it is silent."""
    _looked: float | None = None
    _silent: set[int] = field(default_factory=set)
    _holding: dict[tuple[int, str], tuple[int, int | None]] = field(default_factory=dict)
    """Looks in a row that something held for a rank, and the step at the first."""
    _reported: set[tuple[int, str]] = field(default_factory=set)
    _losses: RankLosses = field(default_factory=RankLosses)
    _broken_since: float | None = None
    _broken_reported: bool = False

    def observe(self, reports: Mapping[int, RankReport], now: float) -> list[RankFinding]:
        """Judge the newest report of every rank, at `now` seconds on a monotonic clock."""
        if self._looked is not None and now - self._looked > AWAY * self.every:
            self._seen = {rank: (count, now) for rank, (count, _) in self._seen.items()}
        self._looked = now
        self._remember(reports, now)
        return [
            *self._silences(now, max(SILENT, 3 * self.every)),
            *self._stragglers_among(self._reporting(reports)),
            *self._throttled_among(self._reporting(reports)),
            *self._apart_among(self._reporting(reports)),
            *self._broken(reports, now),
        ]

    def at_the_end(
        self, reports: Mapping[int, RankReport], now: float, silence: float
    ) -> list[RankFinding]:
        """After a failure: ranks that were silent for `silence` seconds may be the cause."""
        self._remember(reports, now)
        return [*self._silences(now, silence), *self._broken(reports, math.inf)]

    def _reporting(self, reports: Mapping[int, RankReport]) -> dict[int, RankReport]:
        return {
            rank: report
            for rank, report in reports.items()
            if rank not in self._silent and not report.ended
        }

    def _remember(self, reports: Mapping[int, RankReport], now: float) -> None:
        self._last |= reports
        for rank, report in reports.items():
            if self._seen.get(rank, (-1, 0.0))[0] != report.count:
                self._seen[rank] = (report.count, now)

    def _silences(self, now: float, silence: float) -> Iterator[RankFinding]:
        for rank, report in self._last.items():
            quiet = now - self._seen[rank][1]
            if report.ended or quiet < silence:
                if rank in self._silent:
                    self._silent.discard(rank)
                    text = f"{_called(rank, report)} reports again"
                    yield RankFinding("back", (rank,), report.step, text)
            elif rank not in self._silent:
                self._silent.add(rank)
                at = "" if report.step is None else f"; its last step is {report.step}"
                text = (
                    f"{_called(rank, report)} has reported nothing for {quiet:.0f} s: "
                    f"killed, stopped, or cut off{at}"
                )
                yield RankFinding(
                    "silent", (rank,), report.step, text,
                    {"host": report.host, "pid": report.pid},
                )  # fmt: skip

    def _stragglers_among(self, reporting: Mapping[int, RankReport]) -> Iterator[RankFinding]:
        for phase, what in (("data", "loading data"), ("forward", "the forward pass")):
            times = {rank: _time(report, phase) for rank, report in reporting.items()}
            known = {rank: time for rank, time in times.items() if time is not None}
            if len(known) < 2:
                continue
            steps = [report.values.get("step_time", 0.0) for report in reporting.values()]
            usual, step_time = statistics.median_low(known.values()), statistics.median(steps)
            for rank, time in known.items():
                slow = time > SLOWER * usual and time - usual > SHARE * step_time > 0.0
                text = (
                    f"is a straggler: {what} takes {1000 * time:.0f} ms a step there and "
                    f"{1000 * usual:.0f} ms elsewhere, and every rank waits"
                )
                data = {"phase": phase, "seconds": time, "usual": usual}
                finding = RankFinding("straggler", (rank,), reporting[rank].step, text, data)
                over = f"keeps up again ({what})"
                yield from self._lasting(finding, phase, slow, reporting[rank], over)

    def _throttled_among(self, reporting: Mapping[int, RankReport]) -> Iterator[RankFinding]:
        """Heat or a fault of one GPU; where half of them are held back it is the room's."""
        held = sum(bool(report.throttle) for report in reporting.values())
        for rank, report in reporting.items():
            degrees = report.values.get("gpu_temperature")
            at = "" if degrees is None else f" at {degrees:.0f} °C"
            text = f"has a GPU that is held back{at} ({report.throttle})"
            data = {"reasons": report.throttle, "temperature": degrees}
            finding = RankFinding("throttled", (rank,), report.step, text, data)
            alone = bool(report.throttle) and 2 * held <= len(reporting)
            over = "has a GPU at full clocks again"
            yield from self._lasting(finding, "gpu", alone, report, over)

    def _apart_among(self, reporting: Mapping[int, RankReport]) -> Iterator[RankFinding]:
        """Replicas whose parameters should be equal, and are not: the loss of one rises away."""
        newest = {
            rank: (report.count, report.values.get("closs")) for rank, report in reporting.items()
        }
        for rank, compared in self._losses.compare(newest).items():
            report = reporting[rank]
            text = (
                f"has drifted apart: its loss is {compared.loss:.4g}, "
                f"that of the others {compared.usual:.4g}"
            )
            data = {"closs": compared.loss, "usual": compared.usual}
            finding = RankFinding("apart", (rank,), report.step, text, data)
            over = "has a loss like the others' again"
            yield from self._lasting(finding, "apart", compared.far, report, over)

    def _lasting(
        self, finding: RankFinding, about: str, so: bool, report: RankReport, over: str
    ) -> Iterator[RankFinding]:
        """What holds for some looks in a row is reported once, and its end once."""
        (rank,) = finding.ranks
        key = (rank, about)
        looks, since = self._holding.get(key, (0, None))
        since = report.step if not looks else since
        enough = max(FEWEST_LOOKS, round(SLOW_FOR / self.every))
        looks = min(looks + 1, enough) if so else max(looks - 1, 0)
        self._holding[key] = (looks, since)
        if looks == enough and key not in self._reported:
            self._reported.add(key)
            text = f"{_called(rank, report)} {finding.text} (since step {since})"
            yield replace(finding, text=text, data={**finding.data, "since": since})
        elif looks == 0 and key in self._reported:
            self._reported.discard(key)
            text = f"{_called(rank, report)} {over}"
            yield RankFinding("recovered", (rank,), report.step, text, {"phase": about})

    def _broken(self, reports: Mapping[int, RankReport], now: float) -> Iterator[RankFinding]:
        """The ranks whose batch broke: one step later all have it, through the gradients."""
        broken = {rank: r.broken for rank, r in reports.items() if r.broken is not None}
        if not broken or self._broken_reported:
            return
        self._broken_since = now if self._broken_since is None else self._broken_since
        first = min(step for step, _ in broken.values())
        reached = all(r.step is not None and r.step >= first for r in reports.values())
        if not reached and now - self._broken_since < LATE:
            return
        self._broken_reported = True
        ranks = tuple(sorted(rank for rank, (step, _) in broken.items() if step == first))
        metric = broken[ranks[0]][1]
        others = len(reports) - len(ranks)
        text = f"{metric} is not finite on {_ranks(ranks)} at step {first}" + (
            f", and finite on the other {others}: look at the batch there" if others else ""
        )
        yield RankFinding("broken", ranks, first, text, {"metric": metric})


def columns(reports: Mapping[int, RankReport]) -> dict[str, float]:
    """Median, least and greatest of each value over the ranks, and which rank has the greatest."""
    found: dict[str, float] = {}
    for name in NAMES:
        values = {
            rank: report.values[name]
            for rank, report in reports.items()
            if math.isfinite(report.values.get(name, math.nan))
        }
        if len(values) < 2:
            continue
        worst = max(values, key=lambda rank: values[rank])
        found[f"{PREFIX}{name}_median"] = statistics.median(values.values())
        found[f"{PREFIX}{name}_min"] = min(values.values())
        found[f"{PREFIX}{name}_max"] = values[worst]
        found[f"{PREFIX}{name}_max_rank"] = float(worst)
    return found


def _time(report: RankReport, phase: str) -> float | None:
    return report.values.get("data_wait") if phase == "data" else report.forward


def _called(rank: int, report: RankReport) -> str:
    where = f" ({report.host}, pid {report.pid})" if report.host else ""
    return f"rank {rank}{where}"


def _ranks(ranks: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (" …" if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"

"""vlamon's detector beside the rules of other trainers: `python -m tests.bench.detectors`.

Synthetic traces are labelled by construction (tests/bench/traces.py), real ones (the folder in
$VLAMON_TRACES) by tests/bench/trace_labels.json; docs/detector.md says how those were made. An
event counts as found if an alarm falls between its onset and its end + 30 batches; alarms elsewhere
are false, and those within 50 batches of one another are one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench import traces
from tests.bench.incumbents import RULES, Rule
from tests.bench.traces import Trace

LABELS = Path(__file__).with_name("trace_labels.json")
GRACE, CLUSTER, RESAMPLES = 30, 50, 1000


@dataclass(frozen=True, slots=True)
class Score:
    """One rule on one trace."""

    kind: str
    events: int
    found: int
    false: int
    points: int
    latencies: tuple[int, ...]


def score(rule: Rule, trace: Trace) -> Score:
    """Run one rule over one trace."""
    alarms = [t for t, value in enumerate(trace.values.tolist()) if rule.alarms(value)]
    latencies = []
    for onset, end in trace.events:
        hits = [t for t in alarms if onset <= t <= end + GRACE]
        if hits:
            latencies.append(hits[0] - onset)
    false, last = 0, -(10**9)
    for t in alarms:
        if any(onset <= t <= end + GRACE for onset, end in trace.events):
            continue
        false += t - last > CLUSTER
        last = t
    return Score(
        trace.kind, len(trace.events), len(latencies), false, len(trace.values), tuple(latencies)
    )


def row(name: str, scores: Sequence[Score], microseconds: float) -> str:
    """One line of the table, with 95 % intervals from a bootstrap over traces."""
    counts = np.array([[s.events, s.found, s.false, s.points] for s in scores], float)
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(scores), (RESAMPLES, len(scores)))
    drawn = counts[picks].sum(axis=1)
    events, found, false, points = counts.sum(axis=0)
    late = sorted(latency for s in scores for latency in s.latencies)
    said = np.maximum(drawn[:, 1:3].sum(axis=1), 1)
    cells = [
        name,
        _interval(found / events, drawn[:, 1] / np.maximum(drawn[:, 0], 1)) if events else "–",
        _interval(found / max(found + false, 1), drawn[:, 1] / said) if events else "–",
        _interval(1e4 * false / points, 1e4 * drawn[:, 2] / drawn[:, 3], 2),
        f"{late[len(late) // 2]} / {late[int(0.9 * (len(late) - 1))]}" if late else "–",
        f"{microseconds:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _interval(value: float, drawn: NDArray[np.float64], digits: int = 3) -> str:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(data: Sequence[Trace]) -> str:
    """All rules on the same traces."""
    lines = [
        "| rule | recall | precision | false alarms per 10k | latency, median / p90 | µs a point |",
        "|---|---|---|---|---|---|",
    ]
    for name, make in RULES.items():
        begun = time.process_time()
        scores = [score(make(), trace) for trace in data]
        spent = time.process_time() - begun
        lines.append(row(name, scores, 1e6 * spent / sum(s.points for s in scores)))
    return "\n".join(lines)


def by_kind(data: Sequence[Trace]) -> str:
    """Our recall and false alarms by kind of trace."""
    events, found, false = Counter[str](), Counter[str](), Counter[str]()
    for trace in data:
        result = score(RULES["vlamon"](), trace)
        events[trace.kind] += result.events
        found[trace.kind] += result.found
        false[trace.kind] += result.false
    lines = ["| kind | found | false alarms |", "|---|---|---|"]
    for kind in dict.fromkeys(trace.kind for trace in data):
        share = f"{found[kind]} of {events[kind]}" if events[kind] else "–"
        lines.append(f"| {kind} | {share} | {false[kind]} |")
    return "\n".join(lines)


def real_traces(folder: Path) -> dict[str, list[Trace]]:
    """The labelled real traces, by group."""
    groups: dict[str, list[Trace]] = {}
    for key, label in json.loads(LABELS.read_text())["traces"].items():
        file, _, column = key.partition(":")
        values = _column(folder / file, column)
        events = tuple((int(a), int(b)) for a, b in label["events"])
        groups.setdefault(label["group"], []).append(Trace(key, np.array(values), events))
    return groups


def _column(path: Path, name: str) -> list[float]:
    with open(path, newline="") as file:
        return [float(line[name]) for line in csv.DictReader(file) if line[name]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1000, help="fresh traces for every seed")
    parser.add_argument("--each", type=int, default=40, help="traces of each kind")
    chosen = parser.parse_args([] if arguments is None else arguments)
    data = traces.dataset(chosen.seed, chosen.each)
    points = sum(len(trace.values) for trace in data)
    print(f"Synthetic: {len(data)} traces, {points:,} points, seed {chosen.seed}\n")
    print(table(data))
    print("\n" + by_kind(data))
    folder = os.environ.get("VLAMON_TRACES")
    if not folder:
        print("\nThe real traces are left out: set $VLAMON_TRACES to their folder.")
        return
    for group, found in real_traces(Path(folder)).items():
        points = sum(len(trace.values) for trace in found)
        events = sum(len(trace.events) for trace in found)
        print(f"\nReal, {group}: {len(found)} columns, {points:,} points, {events} events\n")
        print(table(found))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

"""What the ladder does on the losses of real training runs: `python -m tests.bench.ladder`.

Every labelled trace of the folder in $VLAMON_TRACES (tests/bench/trace_labels.json) is played
through a whole guard, row by row: `check` before an update and `after_step` behind it, in a loop
that owns its counter. A parameter whose gradient has the recorded norm stands in for the model;
where a run recorded none the norm is constant, and `clip` has nothing to do. Budget and back-offs
are without limit, so that one false action does not hide the next.

A trace is what happened without a guard: it shows what a rung would have done and when, not how
the training would have gone on.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.bench import traces
from tests.bench.detectors import GRACE, real_traces
from tests.bench.steps_lost import LADDERS, quiet
from tests.bench.traces import Trace
from tests.vlamon.guard.toy import Emitter
from vlamon.guard import Guard, GuardSettings

ENDLESS = 10**6
"""Budget and back-offs."""
NORM = "grad_norm"


@dataclass(slots=True)
class Actions:
    """The rows at which each rung acted."""

    clip: list[int] = field(default_factory=list)
    skip: list[int] = field(default_factory=list)
    lr: list[int] = field(default_factory=list)
    rollback: list[int] = field(default_factory=list)

    def by_rung(self) -> Mapping[str, list[int]]:
        """The same by name, in the order of the ladder."""
        return {"clip": self.clip, "skip": self.skip, "lr": self.lr, "rollback": self.rollback}


def play(trace: Trace, norms: Sequence[float] | None, ladder: Sequence[str]) -> Actions:
    """Play a trace through a guard with this ladder."""
    weight = nn.Linear(1, 1, bias=False)
    optimizer, emitter = torch.optim.SGD(weight.parameters(), lr=0.0), Emitter()
    rungs: Any = tuple(ladder)
    settings = GuardSettings(ladder=rungs, budget=ENDLESS, backoffs=ENDLESS)
    guard = Guard(
        weight,
        optimizer,
        emitter=emitter,  # type: ignore[arg-type]
        settings=settings,
        weights={"closs": 1.0},
    )
    guard.start()
    found, asked = Actions(), "clip" in ladder or "skip" in ladder
    for row, value in enumerate(trace.values.tolist()):
        norm = norms[row] if norms is not None else 1.0
        weight.weight.grad = torch.full((1, 1), norm)
        whole = float(weight.weight.grad)
        values = {"closs": value} if norms is None else {"closs": value, NORM: norm}
        if asked:
            may = guard.check(row, **values)
            if not may and math.isfinite(value):
                found.skip.append(row)
            elif float(weight.weight.grad) < whole:
                found.clip.append(row)
            values = {}
        backoffs, rollbacks = guard.ledger.backoffs, guard.ledger.rollbacks
        guard.after_step(row, goes_back=False, **values)
        if guard.ledger.rollbacks > rollbacks:
            found.rollback.append(row)
        elif guard.ledger.backoffs > backoffs:
            found.lr.append(row)
    guard.close()
    return found


@dataclass(frozen=True, slots=True)
class Score:
    """What a ladder did on one trace."""

    events: int
    answered: int
    """Explosions at which a rung acted."""
    prevented: int
    """Those at which the update of the first bad batch was skipped or clipped."""
    rolled_back: int
    """Those that came to a rollback."""
    delays: tuple[int, ...]
    """Rows from the onset to the first action, of each that was answered."""
    false: Mapping[str, int]
    """Actions outside of any explosion, by rung."""


def score(trace: Trace, actions: Actions) -> Score:
    """Hold the actions against the labels; what follows within `GRACE` rows is of the explosion."""
    answered = prevented = rolled_back = 0
    delays, inside = [], set()
    for onset, end in trace.events:
        window = range(onset, end + GRACE + 1)
        inside.update(window)
        rows = sorted(row for each in actions.by_rung().values() for row in each if row in window)
        if not rows:
            continue
        answered += 1
        delays.append(rows[0] - onset)
        prevented += onset in actions.skip or onset in actions.clip
        rolled_back += any(row in window for row in actions.rollback)
    false = {
        rung: sum(row not in inside for row in rows) for rung, rows in actions.by_rung().items()
    }
    return Score(len(trace.events), answered, prevented, rolled_back, tuple(delays), false)


def line(group: str, ladder: Sequence[str], rows: int, scores: Sequence[Score]) -> str:
    """A line of the table."""
    events = sum(each.events for each in scores)
    delays = sorted(delay for each in scores for delay in each.delays)
    cells = [group, " → ".join(ladder), f"{rows:,}"]
    if events:
        late = delays[int(0.9 * (len(delays) - 1))] if delays else 0
        cells += [
            f"{sum(each.answered for each in scores)} of {events}",
            str(sum(each.prevented for each in scores)),
            str(sum(each.rolled_back for each in scores)),
            f"{statistics.median(delays):g} / {late}" if delays else "–",
        ]
    else:
        cells += ["–", "–", "–", "–"]
    for rung in ("clip", "skip", "lr", "rollback"):
        used = rung in ladder
        cells.append(str(sum(each.false[rung] for each in scores)) if used else "")
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| group | ladder | rows | explosions answered | first update prevented | rolled back "
    "| rows to the first action, median / p90 | false: clip | skip | lr | rollback |\n"
    + "|---" * 11
    + "|"
)


def norms_of(folder: Path, key: str, rows: int) -> list[float] | None:
    """The gradient norms beside a column of losses; None where the run recorded none."""
    file, _, column = key.partition(":")
    with open(folder / file, newline="") as opened:
        lines = [each for each in csv.DictReader(opened) if each[column]]
    norms = [float(each[NORM]) for each in lines if each.get(NORM)]
    return norms if len(norms) == rows else None


def grouped(folder: Path) -> dict[str, list[tuple[Trace, list[float] | None]]]:
    """The real traces by group; those with gradient norms, which `clip` needs, by themselves."""
    groups: dict[str, list[tuple[Trace, list[float] | None]]] = {}
    for group, found in real_traces(folder).items():
        for trace in found:
            norms = norms_of(folder, trace.kind, len(trace.values))
            name = group if norms is None else f"{group}, with gradient norms"
            groups.setdefault(name, []).append((trace, norms))
    return groups


def table(
    group: str,
    found: Sequence[tuple[Trace, list[float] | None]],
    ladders: Sequence[Sequence[str]] = LADDERS,
    say: Callable[[str], None] = print,
) -> None:
    """Say the lines of a group, each as soon as it is known."""
    for ladder in ladders:
        with quiet():
            scores = [score(trace, play(trace, norms, ladder)) for trace, norms in found]
        say(line(group, ladder, sum(len(trace.values) for trace, _ in found), scores))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; without real traces that of a few synthetic ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=2, help="synthetic traces of each kind")
    parser.add_argument("--group", default="", help="only real traces of groups named like this")
    chosen = parser.parse_args([] if arguments is None else arguments)
    torch.set_num_threads(1)
    print(HEAD)
    folder = os.environ.get("VLAMON_TRACES")
    if folder:
        for group, found in grouped(Path(folder)).items():
            if chosen.group in group:
                table(group, found)
        return
    for name, kinds in (("explosions", traces.EXPLOSIONS), ("clean", traces.CLEAN)):
        made = [
            (traces.make(kind, 7_000_000 + i), None) for kind in kinds for i in range(chosen.each)
        ]
        table(f"synthetic {name}", made)
    print("\nThe real traces are left out: set $VLAMON_TRACES to their folder.")


if __name__ == "__main__":
    import sys

    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])

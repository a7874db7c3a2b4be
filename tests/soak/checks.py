"""What must hold after all that: one function a promise, each returning what is broken."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.soak.training import SEGMENT, TRUTH
from vlamon.records import BatchBlock, Gap
from vlamon.sources.journal import JournalSource

GROWTH = 96 << 20
"""Bytes that a training may grow by: 64 MiB of rows for those who join late, and the rest."""
LEFT_OVER = re.compile(r"\.writing|\.latest|\.retired|\.tmp|\.sock|\.lock|^\.")


class Step(NamedTuple):
    """One step that was computed."""

    attempt: int
    step: int
    loss: float


def read_truth(path: Path) -> list[Step]:
    """The steps in a file of the training's own, in order."""
    if not path.exists():
        return []
    data = path.read_bytes()
    return [
        Step(*found) for found in TRUTH.iter_unpack(data[: len(data) // TRUTH.size * TRUTH.size])
    ]


@dataclass(frozen=True, slots=True)
class Calm:
    """What a training holds while nobody disturbs it."""

    pid: int
    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Calm:
        """From /proc."""
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        threads = len(os.listdir(f"/proc/{pid}/task"))
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(pid, descriptors, threads, resident * os.sysconf("SC_PAGESIZE"))


def of_calm_moments(moments: Sequence[Calm]) -> list[str]:
    """No descriptor, no thread, and no more memory than is stated, from first to last of a boot.

    One of each may be there at the moment: a checkpoint that is being written.
    """
    broken = []
    for pid in {moment.pid for moment in moments}:
        own = [moment for moment in moments if moment.pid == pid]
        first, last = own[0], own[-1]
        if last.descriptors > first.descriptors + 2:
            broken.append(f"{first.descriptors} descriptors became {last.descriptors}")
        if last.threads > first.threads + 1:
            broken.append(f"{first.threads} threads became {last.threads}")
        if last.memory > first.memory + GROWTH:
            broken.append(f"{first.memory >> 20} MiB became {last.memory >> 20} MiB")
    return broken


def of_numbers(noisy: Sequence[Step], twin: Sequence[Step], explode_at: int) -> list[str]:
    """Every step before the explosion is the quiet twin's, to the last bit."""
    quiet: dict[int, float] = {}
    for step in twin:
        quiet.setdefault(step.step, step.loss)
    end = next((at for at, step in enumerate(noisy) if step.step == explode_at), None)
    if end is None:
        return [f"the explosion at step {explode_at} was never reached"]
    if not any(step.step <= explode_at for step in noisy[end + 1 :]):
        return ["the explosion was not rolled back"]
    wrong = [step for step in noisy[: end + 1] if quiet[step.step] != step.loss]
    return [f"{len(wrong)} steps differ from the twin's, the first {wrong[0]}"] if wrong else []


def of_journal(path: Path, truth: Sequence[Step], killed: set[int]) -> list[str]:
    """Every row is in the journal once; only what a kill cut off is missing, at its end."""
    source = JournalSource(path, follow=False)
    rows: list[tuple[int, int]] = []
    gaps = 0
    while not source.finished:
        for record in source.read(0.0):
            if isinstance(record, BatchBlock):
                rows += [(record.attempt, int(step)) for step in record.step]
            gaps += isinstance(record, Gap)
    broken = [f"the journal has {gaps} gaps"] if gaps else []
    return broken + _complete("the journal", rows, truth, killed)


def of_monitors(
    told: Sequence[Sequence[dict[str, Any]]], truth: Sequence[Step], killed: set[int]
) -> list[str]:
    """An undisturbed monitor has every row once, or was told of a gap."""
    broken = []
    for number, lines in enumerate(told):
        rows = [(line["attempt"], line["step"]) for line in lines if line.get("kind") == "batch"]
        if any(line.get("kind") == "gap" for line in lines):
            continue
        last = rows[-1][0] if rows else -1
        expected = [step for step in truth if step.attempt <= last]
        ended_early = {last} if truth and last < truth[-1].attempt else set()
        cut = killed | ended_early  # it ends with the boot that it watches
        broken += _complete(f"monitor {number}", rows, expected, cut)
    return broken


def _complete(
    who: str, rows: Sequence[tuple[int, int]], truth: Sequence[Step], cut: set[int]
) -> list[str]:
    broken = []
    if len(set(rows)) != len(rows):
        broken.append(f"{who} has {len(rows) - len(set(rows))} rows twice")
    for attempt in sorted({step.attempt for step in truth}):
        expected = [step.step for step in truth if step.attempt == attempt]
        found = [step for number, step in rows if number == attempt]
        if found != (expected[: len(found)] if attempt in cut else expected):
            missing = sorted(set(expected) - set(found))[:5]
            broken.append(
                f"{who} has {len(found)} of {len(expected)} rows of attempt {attempt}, "
                f"without {missing}"
            )
    return broken


def of_log(run_dir: Path, truth: Sequence[Step], killed: set[int]) -> list[str]:
    """Every line of the training's own log is whole and there, in one of the rotated files."""
    said: dict[int, set[str]] = {}
    broken = []
    for path in run_dir.glob("output.*"):
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) != 4:
                broken.append(f"{path.name} has half a line: {line!r}")
            else:
                said.setdefault(int(words[1]), set()).add(words[3])
    kept = [step for step in truth if step.step % SEGMENT == 0 and step.attempt not in killed]
    missing = [step for step in kept if repr(step.loss) not in said.get(step.step, ())]
    if missing:
        broken.append(f"the log lacks {len(missing)} lines, the first of step {missing[0].step}")
    return broken


def of_left_overs(folder: Path, run_dir: Path) -> list[str]:
    """No socket, lock, temporary file or half-written directory remains."""
    names = [
        path
        for place in (folder, run_dir, run_dir / "checkpoints", run_dir / "explosion")
        for path in (place.iterdir() if place.is_dir() else ())
    ]
    return [f"{path} was left" for path in names if LEFT_OVER.search(path.name)]


def children() -> set[int]:
    """The processes that this one started and that are not reaped."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return {int(pid) for pid in text.split()}
    return set()


def of_processes(before: set[int]) -> list[str]:
    """No process of the session is alive; what stood `before` it is another's."""
    return [f"process {pid} is alive" for pid in sorted(children() - before)]

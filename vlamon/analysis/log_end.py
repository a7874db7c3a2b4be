"""Finds how a log ends: in a crash, out of memory, killed, stopped by a loss that is NaN.

Only what follows the last row counts: a run that caught an error and trained on did not end in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["nan", "out-of-memory", "nccl", "killed", "traceback"]

_ROW = re.compile(r"loss\w*[\"']?\s?[:=]?\s?[\"']?\d", re.IGNORECASE)
_CAUSES: Sequence[tuple[Kind, re.Pattern[str]]] = (
    ("nan", re.compile(r"\bloss is [-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)),
    ("killed", re.compile(r"DUE TO (?:TIME LIMIT|PREEMPTION|NODE FAIL\w*)")),
    ("out-of-memory", re.compile(r"out of memory|OutOfMemoryError|oom[-_ ]kill", re.IGNORECASE)),
)
"""What ends a run whatever else is said around it, the most telling first."""
_SEQUELS: Sequence[tuple[Kind, re.Pattern[str]]] = (
    (
        "killed",
        re.compile(
            r"^\s*(?:Killed|Terminated)\b|CANCELLED AT|got signal: \d+"
            r"|[Rr]eceived (?:signal )?(?:15\b|(?:Signals\.)?SIG(?:TERM|INT|KILL))"
            r"|^KeyboardInterrupt"
        ),
    ),
    ("nccl", re.compile(r"collective operation timeout|nccl\w*Error|NCCL (?:error|time-?out)")),
)
"""Each brings the other: killed ranks break the collectives of the rest, and what sees those time
out cancels the job. What comes first is the cause."""
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"^\s*[\w.]*(?:Error|Exception|Exit)\b(?:: .*)?$")
_LAUNCHER = "ChildFailedError"
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class LogEnd:
    """What a log ends in."""

    kind: Kind
    """Which cause."""
    line: str
    """The line that says so."""


def log_end(lines: Sequence[str]) -> LogEnd | None:
    """What the last lines of a log say of the end; None where the run just stops or is done."""
    begin = next((at + 1 for at in reversed(range(len(lines))) if _ROW.search(lines[at])), 0)
    rest = lines[begin:]
    for kind, pattern in _CAUSES:
        for line in rest:
            if pattern.search(line):
                return LogEnd(kind, line.strip()[:_LONGEST])
    for line in rest:
        for kind, pattern in _SEQUELS:
            if pattern.search(line):
                return LogEnd(kind, line.strip()[:_LONGEST])
    header = next((line for line in rest if _TRACEBACK in line), None)
    if header is None:
        return None
    raised = [line for line in rest if _RAISED.match(line) and _LAUNCHER not in line]
    return LogEnd("traceback", (raised[-1] if raised else header).strip()[:_LONGEST])

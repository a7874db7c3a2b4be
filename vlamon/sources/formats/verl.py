"""verl's console lines: `step:1 - critic/score/mean:0.5 - actor/pg_loss:0.01 - …`.

Names keep all their parts. A line of `val-…` names alone is an evaluation.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_HEAD = re.compile(r"(?:^|[\s)])step:(\d{1,15}) - (?=[\w@./-]{1,200}:)")
_CELL = re.compile(rf"([\w@./+ ()-]{{1,200}}):(?:np\.float\d+\()?({NUMBER})\)?")
_HELD_OUT = ("val-", "val/", "test/", "test_score/")


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of verl's."""
    if "step:" not in line:
        return ()
    head = _HEAD.search(line)
    if head is None:
        return ()
    metrics: dict[str, float] = {}
    for cell in line[head.end() :].split(" - "):
        found = _CELL.fullmatch(cell.strip())
        if found is not None and "/" in found.group(1):
            metrics[found.group(1)] = float(found.group(2))
    if not metrics:
        return ()
    step, time = head.group(1), stamp(line)
    trained = {n: v for n, v in metrics.items() if not n.startswith(_HELD_OUT)}
    scores = {n: v for n, v in metrics.items() if n.startswith(_HELD_OUT)}
    # A first evaluation comes with the step's own bookkeeping, but no update.
    if scores and not any(name.startswith(("actor/", "critic/")) for name in trained):
        return counted(metrics, step, None, time, "val")
    rows = counted(trained, step, None, time) if trained else ()
    return rows + (counted(scores, step, None, time, "val") if scores else ())


def recognises(head: bytes, path: str) -> int:
    """A step and nested names between dashes are verl's."""
    return 83 if knows(head, read, b"step:") else 0


FORMAT = Format(
    name="verl",
    title="verl's console lines",
    example="step:1 - actor/pg_loss:0.0132 - critic/score/mean:0.5 - perf/throughput:812.3",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

"""Megatron-LM's and Megatron-DeepSpeed's training lines.

` [2024-05-01 12:00:00] iteration      10/   5000 | consumed samples: 2560 | elapsed time per
iteration (ms): 812.4 | learning rate: 1.5E-06 | lm loss: 1.083E+01 | loss scale: 1.0 | grad norm:
5.3 |`, and ` validation loss at iteration 1000 | lm loss value: 2.5E+00 | lm loss PPL: 1.2E+01 |`.
Losses are means over the iterations since the line before. The dump of arguments holds no row.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, number, stamp

_HEAD = re.compile(r"(?:^|\s)iteration {1,12}(\d{1,15})/ {0,12}\d{1,15} \|")
_HELD_OUT = re.compile(
    r"(validation|test|valid)\b[^|]{0,80}? loss at [^|]{0,40}?iteration (\d{1,15})[^|]{0,160}\|"
)
_END = re.compile(r"(validation|test|valid)\b[^|]{0,40}? loss at [^|]{1,120}\|")
_CELL = re.compile(rf"^\s*([A-Za-z_][^:|]{{0,120}}?) ?: {{0,4}}({NUMBER})\s*$")
_NEVER = frozenset(("consumed samples", "consumed tokens", "number of skipped iterations"))
_NAMES = {"elapsed time per iteration (ms)": "iteration_time", "learning rate": "lr"}


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of Megatron's."""
    if "iteration" not in line and " loss at " not in line:
        return ()
    head = _HEAD.search(line)
    if head is not None:
        metrics = _cells(line[head.end() :])
        if "iteration_time" in metrics:
            metrics["iteration_time"] = round(metrics["iteration_time"] / 1000, 12)
        # An iteration that was skipped has no loss; its line has the rest.
        return counted(metrics, head.group(1), None, stamp(line), averaged=True) if metrics else ()
    held_out = _HELD_OUT.search(line)
    end = held_out or _END.search(line)
    if end is None:
        return ()
    scores = {n.removesuffix(" value"): v for n, v in _cells(line[end.end() :]).items()}
    step = None if held_out is None else held_out.group(2)
    split = "test" if end.group(1) == "test" or "test set" in end.group() else "val"
    return counted(scores, step, None, stamp(line), split) if scores else ()


def _cells(rest: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for cell in rest.split("|"):
        pair = _CELL.match(cell)
        value = None if pair is None else number(pair.group(2))
        if pair is not None and value is not None and pair.group(1) not in _NEVER:
            found[_NAMES.get(pair.group(1), pair.group(1))] = value
    return found


def recognises(head: bytes, path: str) -> int:
    """An iteration of many between bars is Megatron's."""
    return 89 if knows(head, read, b"iteration ") else 0


FORMAT = Format(
    name="megatron",
    title="Megatron-LM's training lines",
    example=" iteration       10/    5000 | learning rate: 1.5E-06 | lm loss: 1.083E+01 | …",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

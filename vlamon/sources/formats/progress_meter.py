"""PyTorch's ProgressMeter, as in its ImageNet example, MoCo, SwAV and LISA.

`Epoch: [0][ 1/32]\tTime 60.794 (60.732)\tLoss 5.3125 (4.3000)`: the value of this batch, and in
parentheses the mean since the epoch began. A step is counted within its epoch.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_HEAD = re.compile(
    r"(?:Epoch|Train|Training):? {0,9}(?:\[(\d{1,9})(?:/\d{1,9})?\]|(\d{1,9})(?= \[)) {0,9}"
    r"\[ {0,9}(\d{1,9})(?:/ {0,9}(\d{1,9}))?(?: \( *\d{1,3}%\))?\]"
)
_METER = re.compile(rf"([A-Za-z][\w@./-]*):? +({NUMBER}) +\( *{NUMBER}\)")
_PLAIN = re.compile(rf"([A-Za-z][\w@./-]*): +({NUMBER})(?=\s|$)")


def read(line: str) -> tuple[LogRow, ...]:
    """The batch's own values of one line; nothing where it is no such line."""
    head = _HEAD.search(line)
    if head is None:
        return ()
    rest = line[head.end() :]
    metrics = {name: float(value) for name, value in _METER.findall(rest)}
    if not metrics:
        return ()
    for name, value in _PLAIN.findall(_METER.sub("", rest)):
        metrics.setdefault(name, float(value))
    bracketed, bare, step, of = head.groups()
    epoch = bracketed or bare
    return counted(
        metrics, step, float(epoch), stamp(line), of=None if of is None else int(of)
    )  # fmt: skip


def recognises(head: bytes, path: str) -> int:
    """Lines with a head of epoch and batch, and a meter with its mean."""
    return 85 if knows(head, read, b"Epoch") or knows(head, read, b"Train") else 0


FORMAT = Format(
    name="progress-meter",
    title="lines of PyTorch's ProgressMeter",
    example="Epoch: [0][ 10/5005]\tTime 0.345 (0.512)\tLoss 6.9123 (6.9456)",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

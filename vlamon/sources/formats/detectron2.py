"""Detectron2's event lines, and those of what is built on it.

`d2.utils.events INFO:  eta: 0:10:00  iter: 19  total_loss: 2.1  loss_cls: 0.9  lr: 0.0002
max_mem: 2000M`, two spaces between values. Losses are medians over the last twenty steps.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_HEAD = re.compile(
    r"\beta: \S+(?: days?, \S+)?  ?iter: (\d{1,15})  |(?:\]:|INFO:) {1,3}iter: (\d+)  "
)
_PAIR = re.compile(rf"(?<=  )([A-Za-z_][\w./-]{{0,120}}): ({NUMBER})(?=\s|$)")


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of Detectron2's."""
    if "iter: " not in line:
        return ()
    found = _HEAD.search(line)
    if found is None:
        return ()
    metrics = {name: float(v) for name, v in _PAIR.findall(line, found.end() - 2) if name != "iter"}
    if not any("loss" in name for name in metrics):
        return ()
    return counted(metrics, found.group(1) or found.group(2), None, stamp(line), averaged=True)


def recognises(head: bytes, path: str) -> int:
    """An `iter:` behind an `eta:` is Detectron2's."""
    return 87 if knows(head, read, b"iter: ") else 0


FORMAT = Format(
    name="detectron2",
    title="Detectron2's event lines",
    example="[d2.utils.events]:  eta: 0:10:00  iter: 19  total_loss: 2.1  lr: 0.0002",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

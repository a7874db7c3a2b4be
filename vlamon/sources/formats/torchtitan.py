"""torchtitan's training lines: `step: 10  loss: 11.78140  grad_norm: 9.8978  tps: 70,593`.

Two spaces stand between values; counts of tokens have their thousands set apart.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_HEAD = re.compile(r"(?:^|\s)(validate )?step: {1,12}(\d{1,15})  (?=loss: )")
_PAIR = re.compile(
    rf"(?:^|  )([A-Za-z_][\w/.-]{{0,120}}): {{1,12}}"
    rf"(\d{{1,3}}(?:,\d{{3}}){{1,6}}(?:\.\d+)?|{NUMBER})(GiB|%|)(?=\(|  |\s*$)"
)
_COUNTED = frozenset(("tps", "tokens"))
"""Names whose commas set thousands apart; elsewhere they may be decimal."""


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of torchtitan's."""
    if "step: " not in line:
        return ()
    found = _HEAD.search(line)
    if found is None:
        return ()
    metrics = {
        name: float(value.replace(",", ""))
        for name, value, _ in _PAIR.findall(line[found.end() :])
        if "," not in value or name in _COUNTED
    }
    if "loss" not in metrics:
        return ()
    split = "val" if found.group(1) else ""
    return counted(metrics, found.group(2), None, stamp(line), split)


def recognises(head: bytes, path: str) -> int:
    """A step and a loss, two spaces apart."""
    return 84 if knows(head, read, b"step: ") else 0


FORMAT = Format(
    name="torchtitan",
    title="torchtitan's training lines",
    example="root - INFO - step: 10  loss: 11.78140  grad_norm:  9.8978  memory: 29.11GiB(92.83%)",
    recognises=recognises,
    open=lambda path: LineParser(read),
    open_middle=lambda path: LineParser(read),
)

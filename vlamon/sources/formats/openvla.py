"""OpenVLA's and Prismatic's status on the console, the description of a bar.

`=>> [Epoch 000] Global Step 000010 =>> LR :: 0.000020 - Loss :: 1.2345 - L1 Loss :: 0.25`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted, knows

_HEAD = re.compile(
    r"=>> (?:\[Epoch (\d{1,9})\] )?\[?Global Step\]? (\d{1,15})(?: of \d{1,15})? =>> "
)
_PAIR = re.compile(rf"([A-Za-z][\w /]{{0,60}}?) :: ({NUMBER})(?=[\s:,\]|]|$)")


class StatusReader:
    """A status that is drawn again is no further row."""

    def __init__(self) -> None:
        self._last: LogRow | None = None

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row of a status."""
        rows = read(line)
        if not rows:
            return None
        again = self._last is not None and self._last == rows[0]
        self._last = rows[0]
        return () if again else rows

    def rest(self) -> Sequence[LogRow]:
        """Nothing waits."""
        return ()


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one status, nothing where a line holds none."""
    head = _HEAD.search(line) if "=>>" in line else None
    if head is None:
        return ()
    metrics = {
        name.lower().strip().replace(" ", "_"): float(value)
        for name, value in _PAIR.findall(line, head.end())
    }
    if "loss" not in metrics:
        return ()
    epoch, step = head.groups()
    return counted(metrics, step, float(epoch) if epoch else None)


def recognises(head: bytes, path: str) -> int:
    """Any such status is of this family."""
    return 84 if knows(head, read, b"Global Step") else 0


FORMAT = Format(
    name="openvla",
    title="OpenVLA's and Prismatic's status on the console",
    example="=>> [Epoch 000] Global Step 000010 =>> LR :: 0.000020 - Loss :: 1.2345",
    recognises=recognises,
    open=lambda path: ReaderParser(StatusReader()),
)

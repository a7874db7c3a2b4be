"""What ACT (Action Chunking with Transformers) prints, and the many copies of its script.

    Epoch 12
    Val loss:   0.25310
    l1: 0.241 kl: 0.001 loss: 0.253
    Train loss: 0.19222
    l1: 0.182 kl: 0.001 loss: 0.192

Each loss is a mean over the epoch; the line below it holds its parts, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted

_EPOCH = re.compile(r"\s*Epoch:? (\d{1,9})\s*")
_TOTAL = re.compile(rf"\s*(Val|Train) loss:\s{{1,9}}({NUMBER})\s*")
_PARTS = re.compile(rf"\s*(?:[A-Za-z_]\w{{0,40}}: {NUMBER}\s{{1,4}}){{1,60}}")
_PART = re.compile(rf"([A-Za-z_]\w{{0,40}}): ({NUMBER})")


class ActReader:
    """A total waits for the line with its parts."""

    def __init__(self) -> None:
        self._epoch: float | None = None
        self._total: tuple[str, float] | None = None

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row that a line completes."""
        heading = _EPOCH.fullmatch(line)
        if heading is not None:
            done = self.rest()
            self._epoch = float(heading.group(1))
            return done
        total = _TOTAL.fullmatch(line)
        if total is not None and self._epoch is not None:
            done = self.rest()
            self._total = ("val" if total.group(1) == "Val" else "", float(total.group(2)))
            return done
        if self._total is not None and _PARTS.fullmatch(line + " "):
            return self._row({name: float(value) for name, value in _PART.findall(line)})
        return None

    def rest(self) -> Sequence[LogRow]:
        """A total without parts."""
        return () if self._total is None else self._row({})

    def _row(self, parts: dict[str, float]) -> Sequence[LogRow]:
        assert self._total is not None
        (split, loss), self._total = self._total, None
        return counted(
            parts | {"loss": loss}, None, self._epoch, split=split, averaged=not split
        )  # fmt: skip


def recognises(head: bytes, path: str) -> int:
    """A total below an epoch, and its parts."""
    if b"Train loss:" not in head and b"Val loss:" not in head:
        return 0
    reader = ActReader()
    for line in head.decode("utf-8", "replace").replace("\r", "\n").split("\n"):
        if any(len(row.metrics) > 1 for row in reader.read(line) or ()):
            return 80
    return 0


FORMAT = Format(
    name="act",
    title="what ACT's training script prints",
    example="Train loss: 0.19222",
    recognises=recognises,
    open=lambda path: ReaderParser(ActReader()),
)

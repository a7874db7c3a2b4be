"""fairseq's console lines, in each of its log formats but the objects of `json-lines`.

`| INFO | train_inner | epoch 001:    100 / 479 loss=9.276, ppl=619.9, num_updates=100, lr=3e-06`,
`| INFO | valid | epoch 001 | valid on 'valid' subset | loss 6.389 | ppl 83.8 | num_updates 479`.
The summary of an epoch's training is of the split `train`.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_INNER = re.compile(r"\bepoch (\d{1,9}): {1,12}(\d{1,15}) / (\d{1,15}) (?=[a-z_0-9]{1,60}=)")
_SUMMARY = re.compile(r"\b(train|valid|test)[\w-]{0,40} \| epoch (\d{1,9}) \|")
_PAIR = re.compile(rf"(?:^|[ ,])([A-Za-z_][\w./-]{{0,120}})=({NUMBER})(?=, |\s|$)")
_CELL = re.compile(rf"\s*([A-Za-z_][\w./-]{{0,120}}) ({NUMBER})\s*")


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of fairseq's."""
    if "epoch " not in line:
        return ()
    inner = _INNER.search(line)
    if inner is not None:
        metrics = {name: float(value) for name, value in _PAIR.findall(line, inner.end() - 1)}
        updates = metrics.pop("num_updates", None)
        if not any("loss" in name for name in metrics):
            return ()
        epoch, step, of = inner.groups()
        if updates is not None:
            return counted(metrics, updates, float(epoch), stamp(line), averaged=True)
        return counted(metrics, step, float(epoch), stamp(line), of=int(of), averaged=True)
    summary = _SUMMARY.search(line)
    if summary is None:
        return ()
    cells = (_CELL.fullmatch(cell) for cell in line[summary.end() :].split("|"))
    scores = {cell.group(1): float(cell.group(2)) for cell in cells if cell is not None}
    updates = scores.pop("num_updates", None)
    split = {"valid": "val"}.get(summary.group(1), summary.group(1))
    at = float(summary.group(2))
    return counted(scores, updates, at, stamp(line), split) if scores else ()


def recognises(head: bytes, path: str) -> int:
    """An epoch's updates, or its summary between bars."""
    return 85 if knows(head, read, b"epoch ") else 0


FORMAT = Format(
    name="fairseq",
    title="fairseq's console lines",
    example="| INFO | train_inner | epoch 001:    100 / 479 loss=9.276, num_updates=100, lr=3e-06",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

"""`main.log` of llm.c and `log.txt` of build-nanoGPT.

`s:12 trl:9.7924 lr:0.000012 norm:2.70`, `s:250 tel:6.1710`, `s:250 eval:0.2476`;
`250 train 5.9312`, `250 val 5.9101`, `250 hella 0.2501`. Their short names are written out: `trl`
is `train_loss`, `tel` is `loss` of the split `val`.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows

_LINE = re.compile(r"\s*s:(\d{1,15}) (?=(?:trl|tel|eval):)(.{1,400})")
_PAIR = re.compile(rf"(?:^|\s)([a-z_]\w{{0,60}}):({NUMBER})(?=\s|$)")
_BARE = re.compile(rf"(\d{{1,15}}) (train|val|hella) ({NUMBER})\s*")
_HELD_OUT = {"tel": "loss", "eval": "hellaswag"}


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of these."""
    found = _LINE.fullmatch(line)
    if found is None:
        return _bare(line)
    step, rest = found.groups()
    values = {name: float(value) for name, value in _PAIR.findall(rest)}
    scores = {_HELD_OUT[name]: values.pop(name) for name in _HELD_OUT if name in values}
    if "trl" in values:
        values = {"train_loss": values.pop("trl"), **values}
    rows = counted(values, step) if "train_loss" in values else ()
    return rows + (counted(scores, step, split="val") if scores else ())


def _bare(line: str) -> tuple[LogRow, ...]:
    found = _BARE.fullmatch(line)
    if found is None:
        return ()
    step, what, value = found.groups()
    if what == "train":
        return counted({"train_loss": float(value)}, step)
    return counted({"loss" if what == "val" else "hellaswag": float(value)}, step, split="val")


def recognises(head: bytes, path: str) -> int:
    """Lines of this shape alone."""
    marks = (b"s:", b" train ")
    return 82 if any(knows(head, read, mark) for mark in marks) else 0


FORMAT = Format(
    name="llm.c",
    title="main.log of llm.c, log.txt of build-nanoGPT",
    example="s:12 trl:9.7924 lr:0.000012 norm:2.70",
    recognises=recognises,
    open=lambda path: LineParser(read),
    open_middle=lambda path: LineParser(read),
)

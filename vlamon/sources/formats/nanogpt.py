"""nanoGPT and its descendants: one line a step, each speedrun with its own punctuation.

`step:1250/1390 train_loss:3.3021 train_time:… step_avg:…ms` (modded-nanogpt),
`step 250: train loss 3.2, val loss 3.3`, `iter 260: loss 3.21, time 45.1ms, mfu 30%` (nanoGPT),
`step 19560/19560 | train loss 3.291 | norm 0.28 | lr 0.00e+00 | …` (llm.c's Python twin).
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, Row, share, stamp

_HEAD = re.compile(r"(?:^|\s|>)(?:step|iter)[ :]\s*(\d+)(?:/\d+)?(?=[:|,\s])")
_COLON = re.compile(rf"\b([A-Za-z_]\w*):({NUMBER})(?:ms|s|%)?(?=\s|,|\||$)")
_WORDS = re.compile(
    rf"(?:^|[,|:])\s*([A-Za-z_][A-Za-z_ /]*?)[ :]\s*({NUMBER})\s*(?:\([^)]*\))?\s*"
    r"(?:ms|s|%|tok/s|tokens/sec)?\s*(?=[,|]|$)"
)


def read(line: str) -> Row | None:
    """The values of one line, None if it is none of this family's."""
    head = _HEAD.search(line)
    if head is None:
        return None
    rest = line[head.end() :]
    found = _COLON.findall(rest) or _WORDS.findall(rest)
    metrics = {name.strip().replace(" ", "_"): float(value) for name, value in found}
    if not any("loss" in name for name in metrics):
        return None
    step = int(head.group(1))
    held_out = {
        name.partition("_")[2]: value
        for name, value in metrics.items()
        if name.startswith(("val_", "test_"))
    }
    # nanoGPT's `train loss … val loss …` are both estimates of an evaluation, not a step's own.
    if held_out and ("train_loss" not in metrics or "train loss" in rest):
        return Row(held_out, step, None, stamp(line), split="val")
    return Row(metrics, step, None, stamp(line))


def recognises(head: bytes, path: str) -> int:
    """Lines that begin with step or iter and a loss; below the formats with a name of their own."""
    if not re.search(rb"(?:step|iter)[ :]", head):
        return 0
    return 70 if share(head, read) > 0 else 0


FORMAT = Format(
    name="nanogpt",
    title="nanoGPT-like lines, `step:… train_loss:…`",
    example="step:1250/1390 train_loss:3.3021 train_time:170024ms step_avg:136.02ms",
    recognises=recognises,
    open=lambda path: LineParser(read),
    open_middle=lambda path: LineParser(read),
)

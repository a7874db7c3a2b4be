"""nanoGPT and its descendants: one line a step, each speedrun with its own punctuation.

`step:1250/1390 train_loss:3.3021 train_time:… step_avg:…ms` (modded-nanogpt),
`step 250: train loss 3.2, val loss 3.3`, `iter 260: loss 3.21, time 45.1ms, mfu 30%` (nanoGPT),
`step 19560/19560 | train loss 3.291 | norm 0.28 | lr 0.00e+00 | …` (llm.c's Python twin).

build-nanoGPT prints `validation loss: 3.2` and `HellaSwag accuracy: 25/100=0.25` in front of the
step that they belong to.

Times are printed in s or ms, sometimes both in one log; all become seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted, knows, seconds, stamp

_HEAD = re.compile(r"(?:^|\s|>)(?:step|iter)[ :]\s*(\d+)(?:/\d+)?(?=[:|,\s])")
_EPOCH = re.compile(r"\bepoch\b", re.IGNORECASE)
_COLON = re.compile(rf"(?<![\w/.@-])([A-Za-z_][\w/.@-]*):({NUMBER})(ms|s|%|)(?=\s|,(?!\d)|\||$)")
_WORDS = re.compile(
    rf"(?:^|[,|:])\s{{0,9}}([A-Za-z_][A-Za-z_ /]{{0,60}}?)[ :]\s{{0,9}}({NUMBER})\s{{0,9}}"
    r"(?:\([^)]{0,60}\))?\s{0,9}(ms|s|%|tok/s|tokens/sec|BPC|bpc|)\s{0,9}(?=,(?!\d)|\||$)"
)
_VALIDATION = re.compile(
    rf"\s*(?:validation loss: ({NUMBER})|HellaSwag accuracy: \d+/\d+=({NUMBER}))\s*$"
)
_ESTIMATED = "eval_train"
"""Split of a training loss that an evaluation estimated: no batch's own, nor an epoch's mean."""


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of this family's."""
    head = _HEAD.search(line)
    # Steps that stand behind an epoch are counted within it: such lines are another family's.
    if head is None or _EPOCH.search(line, 0, head.start()) is not None:
        return ()
    rest = line[head.end() :]
    found = _COLON.findall(rest) or _WORDS.findall(rest)
    metrics = {name.strip().replace(" ", "_"): seconds(value, unit) for name, value, unit in found}
    if not any("loss" in name for name in metrics):
        return ()
    step, time = head.group(1), stamp(line)
    held_out = _under(metrics, "val_", "test_")
    if not held_out:
        return counted(metrics, step, None, time)
    # nanoGPT's `train loss … val loss …` are both estimates of an evaluation, not a step's own.
    if "train loss" in rest:
        estimated = counted(_under(metrics, "train_"), step, None, time, _ESTIMATED)
        return estimated + counted(held_out, step, None, time, "val")
    if "train_loss" not in metrics:
        return counted(held_out, step, None, time, "val")
    return counted(metrics, step, None, time)


class SpeedrunReader:
    """Evaluations without a step wait for the line of theirs."""

    def __init__(self) -> None:
        self._waiting: dict[str, float] = {}

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The rows of one line, and the evaluation that waited for it."""
        rows = read(line)
        if rows:
            waiting, self._waiting = self._waiting, {}
            return (*(counted(waiting, rows[0].step, split="val") if waiting else ()), *rows)
        found = _VALIDATION.match(line)
        if found is None:
            return None
        loss, accuracy = found.groups()
        self._waiting |= {"hellaswag": float(accuracy)} if loss is None else {"loss": float(loss)}
        return ()

    def rest(self) -> Sequence[LogRow]:
        """The evaluation after the last step."""
        waiting, self._waiting = self._waiting, {}
        return counted(waiting, split="val") if waiting else ()


def _under(metrics: Mapping[str, float], *prefixes: str) -> dict[str, float]:
    return {n.partition("_")[2]: value for n, value in metrics.items() if n.startswith(prefixes)}


def recognises(head: bytes, path: str) -> int:
    """Lines that begin with step or iter and a loss; below the formats with a name of their own."""
    return 70 if knows(head, read, b"step") or knows(head, read, b"iter") else 0


FORMAT = Format(
    name="nanogpt",
    title="nanoGPT-like lines, `step:… train_loss:…`",
    example="step:1250/1390 train_loss:3.3021 train_time:170024ms step_avg:136.02ms",
    recognises=recognises,
    open=lambda path: ReaderParser(SpeedrunReader()),
    open_middle=lambda path: ReaderParser(SpeedrunReader()),
)

"""Text logs of OpenMMLab and its kin: MMEngine, mmcv 1, PaddlePaddle's suites.

`mmengine - INFO - Epoch(train) [1][  50/100]  lr: 1.0e-03  eta: 0:01:00  loss: 2.1  acc: 0.5`,
`mmdet - INFO - Epoch [1][50/632]  lr: 1.978e-03, eta: 3:00:19, loss: 1.9`,
`mmseg - INFO - Iter [50/160000]  lr: 1.0e-02, loss: 2.3`, `[TRAIN] epoch: 1, iter: 10/20000,
loss: 2.1, lr: 0.01`. Values are means over the steps since the line before; a count within an epoch
goes on through the epochs.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_EPOCH = re.compile(
    r"\bEpoch:? ?(?:\((train|val|test)\) {0,6})?\[ *(\d{1,9})(?:/\d{1,9})?\] ?"
    r"\[ *(\d{1,15})(?:/ *(\d{1,15}))?\]"
)
_ITER = re.compile(r"\bIter ?(?:\((train|val|test)\) {0,6})?\[ *(\d{1,15})(?:/ *\d{1,15})?\]")
_PADDLE = re.compile(
    r"(?:\bepoch: ?\[?(\d{1,9})(?:/\d{1,9})?\]?, ?)?"
    r"\b(?:iters?|batch|global_step): ?\[?(\d{1,15}) ?/ ?\d{1,15}\]?(?=[, ])",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"(?<![\w.])([A-Za-z_][\w./-]{{0,120}}): {{1,9}}({NUMBER})(?=\s|,(?!\d)|$)")
_NEVER = frozenset(("eta", "memory", "max_mem", "epoch", "iter", "batch", "avg_batch_cost"))


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of these suites'."""
    if "[" not in line:
        return ()
    found = _EPOCH.search(line)
    if found is not None:
        stage, epoch, step, of = found.groups()
        end = None if of is None else int(of)
        return _row(line, found.end(), stage, float(epoch), step, end)
    found = _ITER.search(line)
    if found is not None:
        stage, step = found.groups()
        return _row(line, found.end(), stage, None, step, None)
    found = _PADDLE.search(line)
    if found is None or not ("[TRAIN]" in line or "[EVAL]" in line):
        return ()
    epoch, step = found.groups()
    return _row(line, found.end(), None, float(epoch) if epoch else None, step, None)


def _row(
    line: str, begin: int, stage: str | None, epoch: float | None, step: str, of: int | None
) -> tuple[LogRow, ...]:
    metrics = {
        name: float(value)
        for name, value in _PAIR.findall(line, begin)
        if name.lower() not in _NEVER
    }
    if not metrics:
        return ()
    time = stamp(line.replace("/", "-", 2) if line[4:5] == "/" else line)
    if stage in (None, "train"):
        if not any("loss" in name.lower() for name in metrics):
            return ()
        return counted(metrics, step, epoch, time, of=of, averaged=True)
    # The step of an evaluation counts its own batches. Its progress has no scores.
    scores = {n: v for n, v in metrics.items() if n not in ("time", "data_time")}
    return counted(scores, None, epoch, time, str(stage)) if scores else ()


def recognises(head: bytes, path: str) -> int:
    """Any such line is of these suites."""
    marks = (b"Epoch", b"Iter", b"iter", b"[TRAIN]")
    return 86 if any(knows(head, read, mark) for mark in marks) else 0


FORMAT = Format(
    name="mm-text",
    title="text logs of MMEngine, mmcv and PaddlePaddle",
    example="mmengine - INFO - Epoch(train) [1][ 50/100]  lr: 1.0e-03  loss: 2.1034",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

"""Lines of `key: value` or `key=value` of any make; the last resort before giving up.

`epoch=3 step=1200 loss=0.123 lr=1e-4`, `Epoch 3, Step 1200, Loss: 0.1234`, `[epoch 3] loss: 0.12`,
`步数：1,200，损失：0.123`. What may be two numbers is none: a value `1,234` is left out, and a line
whose step is no clean count is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vlamon.sources.formats import SURE, Format
from vlamon.sources.formats.rows import NUMBER, LineParser, Row, counted, seconds, stamp

_GROUPED = r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})"
"""Thousands that are set apart, where a decimal comma is out of the question."""
_PAIR = re.compile(
    r"(?<![\w.])([^\W\d][\w./-]*(?: (?:loss|norm|rate|accuracy|acc))?)\s*[:=：]\s*"
    rf"({_GROUPED}|{NUMBER})(ms|s|%|)(?=$|[\s;|\])，；）]|,(?!\d))",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?<![\w.])(epoch|step|global_step|iter|iteration|batch|步数|迭代|轮次)"
    r"(\s*[:=：])?\s*\[?(\d(?:[\w.+-]|,(?=\d))*)",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?|\d{1,3}(?:[,_]\d{3})+", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"[\d.]+(?:ms|s)", re.ASCII)
_STEPS = ("global_step", "step", "iter", "iteration", "batch", "步数", "迭代")
_EPOCHS = ("epoch", "轮次")
_SIGNS = (
    *("loss", "acc", "norm", "error", "reward", "perplexity", "ppl", "mse", "mae"),
    *("损失", "准确率", "精度", "误差", "奖励", "困惑度", "范数"),
)
"""What a metric is called."""
_COUNTED_SIGNS = (*_SIGNS, "lr", "学习率")
"""The same beside a step or an epoch; a learning rate alone is a setting."""
_SERIES = 3
"""So many values of one metric are a log, even without a count; a configuration has one."""


def read(line: str) -> tuple[Row, ...]:
    """The values of one line, nothing where nothing in it looks like a training's metric."""
    counts = _counts(line) if _tells(line, _COUNTED_SIGNS) else None
    if counts is None:
        return ()
    metrics = {
        name.replace(" ", "_"): seconds(value.replace(",", ""), unit.lower())
        for name, value, unit in _PAIR.findall(line)
        if name.lower() not in counts
    }
    step = next((counts[name] for name in _STEPS if name in counts), None)
    epoch = next((counts[name] for name in _EPOCHS if name in counts), None)
    signs = _SIGNS if step is None and epoch is None else _COUNTED_SIGNS
    if not any(_tells(name, signs) for name in metrics):
        return ()
    return counted(metrics, step, epoch, stamp(line))


def _counts(line: str) -> dict[str, float] | None:
    """Steps and epochs of a line by name; None where one of them cannot be told."""
    counts: dict[str, float] = {}
    for name, sign, printed in _COUNT.findall(line):
        text = printed.rstrip(".,+-")
        value = float(re.sub("[,_]", "", text)) if _WHOLE.fullmatch(text) else None
        if value is not None and (value.is_integer() or name.lower() in _EPOCHS):
            counts[name.lower()] = value
        elif sign and not _DURATION.fullmatch(text):
            return None
    return counts


def _tells(text: str, signs: Iterable[str]) -> bool:
    lower = text.lower()
    return any(sign in lower for sign in signs)


def recognises(head: bytes, path: str) -> int:
    """Lines with a metric and a count, or a metric that comes again; others may be settings."""
    values: dict[str, set[float]] = {}
    for line in head.split(b"\n"):
        if not any(sign in line for sign in (b":", b"=", "：".encode())):
            continue
        for row in read(line.decode("utf-8", "replace")):
            if row.step is not None or row.epoch is not None:
                return 20
            for name, value in row.metrics.items():
                values.setdefault(name, set()).add(value)
    series = (len(v) for name, v in values.items() if _tells(name, _SIGNS))
    return 20 if max(series, default=0) >= _SERIES else SURE - 10 if values else 0


FORMAT = Format(
    name="key-values",
    title="lines of `key: value` or `key=value`",
    example="epoch=3 step=1200 loss=0.1234 lr=1e-4",
    recognises=recognises,
    open=lambda path: LineParser(read),
)

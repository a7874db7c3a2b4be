"""JSON Lines of any make, openpi's `train_log.jsonl` among them: one object a step.

Values may be nested one level; the step, the epoch and the time are found by their usual names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vlamon.sources.formats import SURE, Format
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, number, stamp
from vlamon.sources.formats.settings import is_metric

STEPS = (
    "step",
    "current_steps",
    "num_updates",
    "global_step",
    "trainer/global_step",
    "train/global_step",
    "_step",
    "iter",
    "iteration",
    "it",
    "batch",
    "num_steps",
    "steps",
)
"""Names of the step in lower case, the likeliest first."""
COUNTER = re.compile(r"(\d{1,15})/(\d{1,15})", re.ASCII)
"""A text such as `12/2353`: how far of how much."""
COUNTER_SIGNS = ("step", "iter", "update", "progress")
EPOCHS = ("epoch", "train/epoch")
TIMES = ("time", "timestamp", "_timestamp", "wall_time", "ts")
YEAR_2000 = 946_684_800
_TEXT = re.compile(rf"-?Infinity|{NUMBER}", re.IGNORECASE | re.ASCII)
SPLIT_NAMES = ("split", "mode", "phase", "stage", "subset")
"""Names of the text that says what a row is of."""
EVALUATIONS = ("val", "valid", "validation", "eval", "evaluation", "test", "dev")
_LOGGER = re.compile(r"[^{}\"']{1,160}?[\]\-:>|] *(?=\{\")")
"""What a logger puts in front of an object: `[2022-04-08 19:52:09][train_inner][INFO] - `."""
_SUMMARY = frozenset(("train_runtime", "log_history"))
_SERIES = 3
"""So many lines without a count are a log and no configuration."""


def numbers_of(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of an object by name; nested ones as `outer/inner`, strings like "0.5" too."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, bool) or (isinstance(value, str) and not _TEXT.fullmatch(value)):
            continue
        known = value if type(value) is float else number(value)
        if known is not None:
            found[prefix + name] = known
        elif isinstance(value, dict) and not prefix:
            found |= numbers_of(value, name + "/")
    return found


def rows_of(entry: Mapping[str, Any]) -> tuple[LogRow, ...]:
    """The row of one object, nothing where it holds no metric."""
    metrics = numbers_of(entry)
    step = _take(metrics, STEPS)
    if step is None:
        step = _counter(entry)
    for name in NEVER_METRICS:
        metrics.pop(name, None)
    epoch = _take(metrics, EPOCHS)
    # `time` is a date in some logs and a duration in others.
    time = next((metrics.pop(n) for n in TIMES if metrics.get(n, 0) > YEAR_2000), None)
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    if time is None and texts:
        time = next((stamp(texts[name]) for name in TIMES if name in texts), None)
    if not metrics:
        return ()
    named = next((texts[name] for name in SPLIT_NAMES if name in texts), "").lower()
    if named in EVALUATIONS:
        return counted(metrics, step, epoch, time, named)
    if step is None and f"train_{UPDATES}" in metrics:
        inner = {name.removeprefix("train_"): value for name, value in metrics.items()}
        return counted(inner, inner.pop(UPDATES), epoch, time, "train")
    first = next(iter(metrics))
    for split, named in SPLITS.items():
        marks = (split + "_", split + "/")
        if first.startswith(marks) and all(name.startswith(marks) for name in metrics):
            cut = len(split) + 1
            inner = {name[cut:]: value for name, value in metrics.items()}
            counts = inner.pop(UPDATES, None) if step is None else step
            return counted(inner, counts, epoch, time, named)
    return counted(metrics, step, epoch, time)


UPDATES = "num_updates"
"""What fairseq calls a step, behind the split's name in its summaries."""
SPLITS = {"val": "val", "valid": "val", "eval": "eval", "test": "test"}
"""Splits by the prefix of their names."""
NEVER_METRICS = ("total_steps", "max_steps", "percentage")
"""Numbers beside a step that say how far it is."""


def _counter(entry: Mapping[str, Any]) -> float | None:
    """The step that stands as `12/2353` in a field such as `global_step/max_steps`."""
    for name, value in entry.items():
        if isinstance(value, str) and any(sign in name.lower() for sign in COUNTER_SIGNS):
            found = COUNTER.fullmatch(value)
            if found is not None:
                return float(found.group(1))
    return None


def object_of(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; bare NaN and Infinity are understood."""
    text = line.strip()
    if not text.endswith("}"):
        return None
    if not text.startswith("{"):
        prefix = _LOGGER.match(text)
        if prefix is None:
            return None
        text = text[prefix.end() :]
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is not an object with numbers."""
    entry = object_of(line)
    # A Trainer's last line sums up the whole run: its means are no step's.
    return () if entry is None or not _SUMMARY.isdisjoint(entry) else rows_of(entry)


def _take(metrics: dict[str, float], names: tuple[str, ...]) -> float | None:
    for name in names:
        if name in metrics:
            return metrics.pop(name)
    spelt = {name.lower(): name for name in metrics}
    for name in names:
        if name in spelt:
            return metrics.pop(spelt[name])
    return None


def recognises(head: bytes, path: str) -> int:
    """Objects with numbers; any format with a name of its own is preferred.

    A single object may be a configuration in front of another log, so it takes most of the lines,
    or at least a step, to be sure.
    """
    if b"{" not in head:
        return 0
    lines = [line for line in head.split(b"\n") if line.strip()]
    rows = [row for line in lines if b"{" in line for row in read(line.decode("utf-8", "replace"))]
    if not rows:
        return 0
    if len(rows) < _SERIES and all(row.step is None and row.epoch is None for row in rows):
        return 10
    if 2 * len(rows) >= len(lines):
        return 50
    # Behind a logger, among lines of its own; a stray pair in one of those is not what is logged.
    trained = any(is_metric(name) for row in rows for name in row.metrics)
    return 2 * SURE if trained else SURE


FORMAT = Format(
    name="json-lines",
    title="JSON Lines, one object a step",
    example='{"step": 100, "loss": 0.1234, "learning_rate": 2.5e-05, "grad_norm": 1.23}',
    recognises=recognises,
    open=lambda path: LineParser(read),
)

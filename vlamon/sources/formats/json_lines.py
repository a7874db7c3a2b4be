"""JSON Lines of any make, openpi's `train_log.jsonl` among them: one object a step.

Values may be nested one level; the step, the epoch and the time are found by their usual names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import LineParser, Row, share, stamp

STEPS = ("step", "global_step", "_step", "iter", "iteration", "it", "batch", "num_steps", "steps")
EPOCHS = ("epoch", "train/epoch")
TIMES = ("time", "timestamp", "_timestamp", "wall_time", "ts")
_YEAR_2000 = 946_684_800
_NOT_FINITE = ("nan", "inf", "-inf", "infinity", "-infinity")


def numbers_of(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of an object by name; nested ones as `outer/inner`, strings like "nan" too."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float) or (
            isinstance(value, str) and value.lower() in ("nan", "inf", "-inf", "infinity")
        ):
            found[prefix + name] = float(value)
        elif isinstance(value, dict) and not prefix:
            found |= numbers_of(value, name + "/")
    return found


def row_of(entry: Mapping[str, Any]) -> Row | None:
    """A row of one object, None where it holds no metric."""
    metrics = numbers_of(entry)
    step = _take(metrics, STEPS)
    epoch = _take(metrics, EPOCHS)
    # `time` is a date in some logs and a duration in others.
    time = next((metrics.pop(n) for n in TIMES if metrics.get(n, 0) > _YEAR_2000), None)
    if time is None:
        time = next((stamp(str(entry[n])) for n in TIMES if isinstance(entry.get(n), str)), None)
    if not metrics:
        return None
    number = None if step is None or step != step else int(step)
    for split in ("val", "eval", "test"):
        if all(name.startswith((split + "_", split + "/")) for name in metrics):
            cut = len(split) + 1
            inner = {name[cut:]: value for name, value in metrics.items()}
            return Row(inner, number, epoch, time, split=split)
    return Row(metrics, number, epoch, time)


def object_of(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; bare NaN and Infinity are understood."""
    text = line.strip()
    if not text.startswith("{") or not text.endswith("}"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def read(line: str) -> Row | None:
    """The values of one line, None if it is no object with numbers."""
    entry = object_of(line)
    return None if entry is None else row_of(entry)


def _take(metrics: dict[str, float], names: tuple[str, ...]) -> float | None:
    for name in names:
        if name in metrics:
            return metrics.pop(name)
    return None


def recognises(head: bytes, path: str) -> int:
    """Most lines are objects; any format with a name of its own is preferred."""
    return 50 if b"{" in head and share(head, read) >= 0.5 else 0


FORMAT = Format(
    name="json-lines",
    title="JSON Lines, one object a step",
    example='{"step": 100, "loss": 0.1234, "learning_rate": 2.5e-05, "grad_norm": 1.23}',
    recognises=recognises,
    open=lambda path: LineParser(read),
)

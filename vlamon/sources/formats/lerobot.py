"""LeRobot's training lines: `INFO … step:200 smpl:2K ep:4 epch:0.32 loss:1.234 grdn:5.678 …`.

Counts are printed rounded: step 1,400 reads `1K`, and so do the four lines around it. The true step
is recovered from the rhythm of the lines before, as long as it agrees with what is printed.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.means import of_means
from vlamon.sources.formats.rows import (
    MOST_STEPS,
    NUMBER,
    LineParser,
    LogRow,
    counted,
    knows,
    number,
    stamp,
)

_LINE = re.compile(r"\bstep: ?(\S+)\s+smpl: ?(\S+)\s")
_FIELD = re.compile(rf"\b([A-Za-z_]\w*): ?({NUMBER})([KMBTQ]?)(?=\s|$)")
_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Q": 10**15}
_RHYTHMS = (200, 100, 50, 250, 500, 20, 10, 1000, 1)
"""Log frequencies to try when a log begins above step 1000; 200 is LeRobot's own."""


class _Steps:
    """Undoes the rounding of step counts."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.stride: int | None = None

    def true(self, printed: str) -> int | None:
        """The step that a line means by `1K`, None where that cannot be a step."""
        step = _big(printed)
        if step is None:
            return None
        if printed[-1:].isalpha() and self.last is not None:
            rhythms = _RHYTHMS if self.stride is None else (self.stride,)
            for stride in rhythms:
                if _printed(self.last + stride) == printed:
                    step = self.last + stride
                    break
        elif self.last is not None and step > self.last:
            self.stride = step - self.last
        self.last = step
        return step


def _big(text: str) -> int | None:
    suffix = text[-1:] if text[-1:] in _SUFFIXES else ""
    value = number(text.removesuffix(suffix))
    if value is None or not 0 <= value * _SUFFIXES[suffix] < MOST_STEPS:
        return None
    return round(value * _SUFFIXES[suffix])


def _printed(count: int) -> str:
    """How LeRobot prints a count."""
    value = float(count)
    for suffix in _SUFFIXES:
        if abs(value) < 1000:
            return f"{value:.0f}{suffix}"
        value /= 1000
    return f"{value:.0f}"


def read(line: str, steps: _Steps | None = None) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of LeRobot's."""
    found = _LINE.search(line)
    if found is None:
        return ()
    metrics: dict[str, float] = {}
    epoch = None
    for name, value, suffix in _FIELD.findall(line, found.start()):
        scaled = float(value) * _SUFFIXES[suffix]
        if name in ("epch", "epoch"):
            epoch = scaled
        elif name not in ("step", "smpl", "ep"):
            metrics[name] = scaled
    step = (steps or _Steps()).true(found.group(1)) if metrics else None
    return () if step is None else counted(metrics, step, epoch, stamp(line))


def recognises(head: bytes, path: str) -> int:
    """`step:` and `smpl:` side by side are LeRobot's alone."""
    return 90 if knows(head, read, b"smpl:") else 0


def open_log(path: str) -> LineParser:
    """A parser that remembers the rhythm of its lines."""
    steps = _Steps()
    return LineParser(lambda line: read(line, steps))


FORMAT = Format(
    name="lerobot",
    title="LeRobot's training lines",
    example="INFO 2025-06-24 14:56:09 ts/train.py:232 step:200 smpl:2K ep:4 epch:0.32 loss:1.234",
    recognises=recognises,
    open=of_means(open_log),
)

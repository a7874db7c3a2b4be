"""Prismatic's and OpenVLA's `{run_id}.jsonl`: `{"VLA Train/Loss": 1.2, "VLA Train/Step": 10, …}`.

Names lose their stage and are written like all others: `VLA Train/Action Token Accuracy` becomes
`action_token_accuracy`, a data set's own `VLA Train/bridge/L1 Loss` becomes `bridge/l1_loss`.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.json_lines import numbers_of, object_of
from vlamon.sources.formats.rows import LineParser, LogRow, counted, knows

_WORD = re.compile(r"[^a-z0-9]+")


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of Prismatic's."""
    entry = object_of(line)
    if entry is None:
        return ()
    step_name = next((name for name in entry if name.endswith("/Step")), None)
    if step_name is None:
        return ()
    stage = step_name.removesuffix("Step")
    metrics = {
        _plain(name.removeprefix(stage)): value
        for name, value in numbers_of(entry).items()
        if name.startswith(stage)
    }
    step = metrics.pop("step", None)
    epoch = metrics.pop("epoch", None)
    return counted(metrics, step, epoch) if metrics and step is not None else ()


def _plain(name: str) -> str:
    return "/".join(_WORD.sub("_", part.lower()).strip("_") for part in name.split("/"))


def recognises(head: bytes, path: str) -> int:
    """A `…/Step` beside other values of the same stage."""
    return 92 if knows(head, read, b"/Step") else 0


FORMAT = Format(
    name="prismatic",
    title="run_id.jsonl of Prismatic and OpenVLA",
    example='{"VLA Train/Epoch": 0, "VLA Train/Loss": 1.234, "VLA Train/Step": 10}',
    recognises=recognises,
    open=lambda path: LineParser(read),
    open_middle=lambda path: LineParser(read),
)

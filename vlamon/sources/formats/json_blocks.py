"""Headings with a block of JSON below: robomimic's `Train Epoch 3`, `Validation Epoch 3`.

    Train Epoch 3
    {
        "Loss": 0.0512,
        "Time_Epoch": 0.1
    }

Values are means over the epoch. A block without such a heading is a configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.json_lines import numbers_of
from vlamon.sources.formats.rows import LogRow, ReaderParser, counted

_HEADING = re.compile(
    r"\s*(train|training|valid|val|validation|test|eval|evaluation)(?:ing)? epoch:? (\d{1,9}):?\s*",
    re.IGNORECASE,
)
_ROLLOUTS = re.compile(
    r"\s*Epoch (\d{1,9}) Rollouts took .{0,80}results?(?: on [\w .-]{1,60})?:\s*|"
    r"\s*Epoch (\d{1,9}) (?:env|Rollouts).{0,120}:\s*",
    re.IGNORECASE,
)
_SPLITS = {"valid": "val", "val": "val", "validation": "val", "test": "test"}
_MOST_LINES = 2000


class JsonBlockReader:
    """Gathers a block below its heading."""

    def __init__(self) -> None:
        self._of: tuple[str, float] | None = None
        self._block: list[str] = []

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row of a block that ends with this line."""
        if self._block:
            return self._within(line)
        heading = _heading(line)
        if heading is not None:
            self._of = heading
            return ()
        if self._of is not None and line.strip() == "{":
            self._block = [line]
            return ()
        if line.strip():
            # robomimic prints a heading, then its block, and nothing between.
            self._of = None if line.strip()[0] in "{[" else self._of
        return None

    def rest(self) -> Sequence[LogRow]:
        """A block that was cut is not a row."""
        return ()

    def _within(self, line: str) -> Sequence[LogRow] | None:
        self._block.append(line)
        if line.rstrip() != "}":
            if len(self._block) > _MOST_LINES or _heading(line) is not None:
                self._block, self._of = [], _heading(line)
            return ()
        text, self._block = "\n".join(self._block), []
        of, self._of = self._of, None
        assert of is not None
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return None
        metrics = numbers_of(entry) if isinstance(entry, dict) else {}
        split, epoch = of
        return counted(metrics, None, epoch, split=split, averaged=not split) if metrics else None


def _heading(line: str) -> tuple[str, float] | None:
    """Split and epoch that a heading names."""
    if "poch" not in line or len(line) > 200:
        return None
    found = _HEADING.fullmatch(line)
    if found is not None:
        stage = found.group(1).lower()
        return "" if stage.startswith("train") else _SPLITS.get(stage, "eval"), float(
            found.group(2)
        )
    rollout = _ROLLOUTS.fullmatch(line)
    return None if rollout is None else ("rollout", float(rollout.group(1) or rollout.group(2)))


def recognises(head: bytes, path: str) -> int:
    """A heading with a whole block below it."""
    if b"poch" not in head or b"{" not in head:
        return 0
    reader = JsonBlockReader()
    lines = (drawn for line in head.split(b"\n") for drawn in line.split(b"\r"))
    return 88 if any(reader.read(line.decode("utf-8", "replace")) for line in lines) else 0


FORMAT = Format(
    name="json-blocks",
    title="headings with a block of JSON, as robomimic prints",
    example="Train Epoch 3",
    recognises=recognises,
    open=lambda path: ReaderParser(JsonBlockReader()),
)

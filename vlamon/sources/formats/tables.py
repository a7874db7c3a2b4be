"""Boxed tables on the console, one a step: Stable-Baselines3 and OpenAI's baselines.

    | rollout/           |          |
    |    ep_rew_mean     | 130      |
    | time/              |          |
    |    total_timesteps | 2048     |

A heading without a value names the group of the lines below it. Numbers are printed rounded, a step
such as `1e+06` too. A table of `eval/` alone is an evaluation. Tables without a step are numbered
once the same metric has come three times: one alone may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, behind_logger, counted
from vlamon.sources.formats.settings import is_metric

_BORDER = re.compile(r"\s*[-=+]{8,400}\s*")
_LINE = re.compile(r"\s*\| *([^|]{1,160}?) *\| *([^|]{0,160}?) *\|\s*")
_VALUE = re.compile(NUMBER)
_STEPS = (
    *("time/total_timesteps", "total_timesteps", "total timesteps", "time/total timesteps"),
    *("timesteps", "misc/total_timesteps", "steps", "TotalEnvInteracts", "TimestepsSoFar"),
    *("time/total_steps", "total_steps", "Itration", "Iteration", "iteration", "step", "Epoch"),
)
_HELD_OUT = ("eval/", "test/", "val/")
_SERIES = 3


class TableReader:
    """Gathers the lines of a table until its border."""

    def __init__(self) -> None:
        self._group = ""
        self._values: dict[str, float] = {}
        self._waiting: list[dict[str, float]] = []
        self._counts = self._series = False
        """Whether tables say their step, and whether those that do not are a series."""

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row of a table that ends with this line."""
        if "|" not in line:
            if _BORDER.fullmatch(line):
                return self.rest()
            # Another line in the middle: an environment or a warning printed in between.
            return None
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        name, text = found.groups()
        if not text:
            self._group = name if name.endswith("/") else ""
            return ()
        if not _VALUE.fullmatch(text):
            return ()
        grouped = name if "/" in name else self._group + name
        again = self.rest() if grouped in self._values else ()
        self._values[grouped] = float(text)
        return again

    def rest(self) -> Sequence[LogRow]:
        """The row of the table so far."""
        values, self._values, self._group = self._values, {}, ""
        step = next((values.pop(name) for name in _STEPS if name in values), None)
        if not values:
            return ()
        if all(name.startswith((*_HELD_OUT, "time/")) for name in values):
            scores = {n.partition("/")[2]: v for n, v in values.items() if n.startswith(_HELD_OUT)}
            return counted(scores, step, split="eval") if scores else ()
        if step is None:
            return self._uncounted(values)
        self._counts = True
        return counted(values, step)

    def _uncounted(self, values: dict[str, float]) -> Sequence[LogRow]:
        """The rows of tables without a step, once there are enough of them."""
        if self._counts or not any(map(is_metric, values)):
            return ()
        self._waiting.append(values)
        self._series = self._series or any(
            sum(name in table for table in self._waiting) >= _SERIES
            for name in values
            if is_metric(name)
        )
        if not self._series:
            return ()
        waiting, self._waiting = self._waiting, []
        return [row for table in waiting for row in counted(table)]


def recognises(head: bytes, path: str) -> int:
    """A whole table with a step, and boxes that are not another's."""
    if b"|" not in head:
        return 0
    reader, found = TableReader(), 0
    for line in head.decode("utf-8", "replace").split("\n"):
        rows = reader.read(line)
        if rows is None and (message := behind_logger(line)):
            rows = reader.read(message)
        found += any(not row.split for row in rows or ())
    # The end of a piece is no end of a table.
    return 81 if found else 0


FORMAT = Format(
    name="tables",
    title="console tables of Stable-Baselines3 and its kin",
    example="|    total_timesteps | 2048     |",
    recognises=recognises,
    open=lambda path: ReaderParser(TableReader()),
)

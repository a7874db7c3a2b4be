"""A heading with a step, and a value on each indented line below: OLMo, Composer, rsl_rl.

    INFO  [step=10/739328,epoch=0]
        train/CrossEntropyLoss=10.51
        throughput/total_tokens=41,943,040

    [epoch=1][batch=10/4800]:
         Train loss/train/total: 11.5

    Learning iteration 10/1500
                 Mean value_function loss: 0.0123

The first two set thousands apart by commas, and print no decimal commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted, stamp
from vlamon.sources.formats.settings import is_metric

_OLMO = re.compile(r"\[step=(\d{1,15})(?:/\d{1,15})?(?:,epoch=(\d{1,9}))?(?:,[^\]]{0,80})?\]\s*$")
_RSL = re.compile(r"\s{0,60}Learning iteration (\d{1,15})/\d{1,15}\s{0,60}")
_COMPOSER = re.compile(r"^\s*(?:\[epoch=(\d{1,9})(?:/\d{1,9})?\])?\[batch=(\d{1,15})/(\d{1,15})\]:")
_VALUE = re.compile(
    r"\s{1,40}(?:(Train|Eval) )?([A-Za-z_][^=:]{0,160}?)(?:=|: )\s{0,4}"
    rf"(\d{{1,3}}(?:,\d{{3}}){{1,6}}|{NUMBER})\s*"
)


class IndentedReader:
    """Gathers the lines below a heading."""

    def __init__(self) -> None:
        self._place: tuple[str, float | None, float | None, int | None] | None = None
        self._values: dict[str, dict[str, float]] = {}

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row above, where a line ends it."""
        place = _heading(line)
        if place is not None:
            done = self.rest()
            self._place = place
            return done
        found = _VALUE.fullmatch(line) if self._place is not None and len(line) < 400 else None
        if found is not None:
            stage, name, text = found.groups()
            split = "eval" if stage == "Eval" or name.startswith("eval/") else ""
            self._values.setdefault(split, {})[name] = float(text.replace(",", ""))
            return ()
        if self._place is not None and (line[:1].isspace() or not line):
            return ()
        done = self.rest()
        return done or None

    def rest(self) -> Sequence[LogRow]:
        """The rows of the heading so far."""
        place, self._place = self._place, None
        values, self._values = self._values, {}
        if place is None:
            return ()
        step, epoch, time, of = place
        return tuple(
            row
            for split, metrics in values.items()
            for row in counted(metrics, step, epoch, time, split, of)
        )


def _heading(line: str) -> tuple[str, float | None, float | None, int | None] | None:
    if "Learning iteration" in line and (rsl := _RSL.fullmatch(line)) is not None:
        return rsl.group(1), None, None, None
    if "[" not in line:
        return None
    found = _OLMO.search(line)
    if found is not None:
        step, epoch = found.groups()
        return step, float(epoch) if epoch else None, stamp(line), None
    found = _COMPOSER.match(line)
    if found is None:
        return None
    epoch, batch, of = found.groups()
    return batch, float(epoch) if epoch else None, None, int(of)


def recognises(head: bytes, path: str) -> int:
    """A heading with a value below it."""
    if not any(mark in head for mark in (b"[step=", b"batch=", b"Learning iteration")):
        return 0
    reader = IndentedReader()
    for line in head.decode("utf-8", "replace").split("\n"):
        if any(_trained(row) for row in reader.read(line) or ()):
            return 87
    return 87 if any(map(_trained, reader.rest())) else 0


def _trained(row: LogRow) -> bool:
    return any(map(is_metric, row.metrics))


FORMAT = Format(
    name="indented",
    title="a step, and indented values below: OLMo, llm-foundry, rsl_rl",
    example="[step=10/739328,epoch=0]",
    recognises=recognises,
    open=lambda path: ReaderParser(IndentedReader()),
)

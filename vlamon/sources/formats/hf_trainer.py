"""What Hugging Face's Trainer prints: `{'loss': 1.23, 'grad_norm': 0.8, 'learning_rate': …}`.

The lines hold no step. A progress bar, where there is one, is redrawn on the same line with
carriage returns: its last `100/1000` is the step. Without it rows are numbered from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vlamon.records import Event, Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.rows import NUMBER, Row, RowBlocks

_LINE = re.compile(rf"\{{'[^'{{}}]+': ['\"]?{NUMBER}[^{{}}]*\}}")
_PAIR = re.compile(rf"'([^']+)': ['\"]?({NUMBER})['\"]?(?=[,}}])")
_BAR = re.compile(r"\b(\d+)/(\d+) \[")
_TIMINGS = ("runtime", "samples_per_second", "steps_per_second")


def metrics_of(line: str) -> dict[str, float] | None:
    """The dict in a line, None where there is none."""
    found = _LINE.search(line)
    if found is None:
        return None
    return {name: float(value) for name, value in _PAIR.findall(found.group())}


def row_of(metrics: dict[str, float], step: int | None) -> Row | None:
    """A row of a Trainer's dict; an evaluation where its names say so."""
    rest = dict(metrics)
    epoch = rest.pop("epoch", None)
    if any(name.startswith("eval_") for name in rest):
        kept = {
            name.removeprefix("eval_"): value
            for name, value in rest.items()
            if not name.endswith(_TIMINGS)
        }
        return Row(kept, step, epoch, split="eval")
    return Row(rest, step, epoch) if rest else None


class TrainerOutputParser:
    """Dict lines, their steps from the progress bar beside them."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._rows = RowBlocks()
        self._step: int | None = None
        self._lines = 0
        self._summaries: list[Event] = []

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        records = self._rows.records(self._known(data))
        records += self._summaries
        self._summaries = []
        return records

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        return []

    def _known(self, data: bytes) -> Iterable[Row]:
        for raw in data.rstrip(b"\n").split(b"\n"):
            self._lines += 1
            line = raw.decode("utf-8", "replace")
            metrics = metrics_of(line)
            evaluates = metrics is not None and any(name.startswith("eval_") for name in metrics)
            bars = _BAR.findall(line)
            if bars and not evaluates:
                self._step = int(bars[-1][0])
            if metrics is None:
                if raw.strip() and not bars:
                    self.unknown.add(self._lines, raw)
            elif "train_runtime" in metrics:
                self._summaries.append(self._summary(metrics))
            else:
                row = row_of(metrics, None if evaluates else self._step)
                if row is not None:
                    yield row

    def _summary(self, metrics: dict[str, float]) -> Event:
        said = ", ".join(f"{name} {value:g}" for name, value in metrics.items())
        return Event(
            id=f"summary-{self._lines}",
            kind="note",
            step=self._rows.step or 0,
            attempt=self._rows.attempt,
            time=0.0,
            text=f"Training ended: {said}.",
            data=dict(metrics),
        )


def recognises(head: bytes, path: str) -> int:
    """A Python dict of numbers with a loss or an epoch."""
    for line in head.split(b"\n")[:400]:
        metrics = metrics_of(line.decode("utf-8", "replace")) if b"{'" in line else None
        if metrics and ("epoch" in metrics or any("loss" in name for name in metrics)):
            return 88
    return 0


FORMAT = Format(
    name="hf-trainer",
    title="dict lines of Hugging Face's Trainer",
    example="{'loss': 1.2345, 'grad_norm': 0.81, 'learning_rate': 4.9e-05, 'epoch': 0.02}",
    recognises=recognises,
    open=TrainerOutputParser,
)

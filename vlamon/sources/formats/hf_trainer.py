"""What Hugging Face's Trainer prints: `{'loss': 1.23, 'grad_norm': 0.8, 'learning_rate': …}`.

The lines seldom hold a step. A progress bar, where there is one, is redrawn on the same line with
carriage returns: its last `100/1000` is the step. A bar on a line of its own may be another's (data
sets and checkpoints are loaded behind bars) or stand still: it counts where it has no description
and moves from row to row. Without a step rows are numbered from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vlamon.records import Event, Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.means import of_means
from vlamon.sources.formats.rows import NUMBER, Row, RowBlocks, counted

_LINE = re.compile(rf"\{{'[^'{{}}]+': ['\"]?{NUMBER}[^{{}}]*\}}")
_PAIR = re.compile(rf"'([^']+)': ['\"]?({NUMBER})['\"]?(?=\}}|, *['\"}}])")
_BAR = re.compile(r"\b(\d{1,15})/(\d{1,15}) \[")
_BARE_BAR = re.compile(r"(?:^|\r)\s*\d+%\|[^|]*\| *(\d{1,15})/(\d{1,15}) \[")
"""A bar without a description in front, as the Trainer's own is."""
_TIMINGS = ("runtime", "samples_per_second", "steps_per_second")


def metrics_of(line: str) -> dict[str, float] | None:
    """The dict in a line, None where there is none."""
    found = _LINE.search(line)
    if found is None:
        return None
    return {name: float(value) for name, value in _PAIR.findall(found.group())}


def rows_of(metrics: dict[str, float], step: float | None) -> tuple[Row, ...]:
    """The row of a Trainer's dict; an evaluation where its names say so."""
    rest = dict(metrics)
    step = rest.pop("step", step)
    epoch = rest.pop("epoch", None)
    if any(name.startswith("eval_") for name in rest):
        kept = {
            name.removeprefix("eval_"): value
            for name, value in rest.items()
            if not name.endswith(_TIMINGS)
        }
        return counted(kept, step, epoch, split="eval")
    return counted(rest, step, epoch) if rest else ()


@dataclass(slots=True)
class _Bars:
    """Which step the progress bars of a log tell."""

    total: int | None = None
    """Length of the training's own bar, once a row has taken its step from one."""
    apart: int | None = None
    """Where the training's bar stands on lines of its own; None if it was not seen there."""
    taken: int | None = None
    """Where it stood for the last row."""

    def see(self, line: str) -> None:
        """A line without a dict."""
        for place, total in _BARE_BAR.findall(line):
            # What is complete before the first row was no training's.
            unknown = self.total is None and int(place) < int(total)
            if unknown or self.total == int(total):
                self.apart = int(place)

    def step(self, line: str, last: int | None) -> int | None:
        """The step of a dict's line; `last` is that of the row before."""
        beside = _BARE_BAR.findall(line) or _BAR.findall(line)
        if beside:
            self.taken, self.total = (int(number) for number in beside[-1])
            self.apart = self.taken
            return self.taken
        if self.apart is None or self.apart == (self.taken or 0):
            return None
        anew = self.taken is not None and self.apart < self.taken
        self.taken = self.apart
        return self.apart if anew or last is None or self.apart > last else None


class TrainerOutputParser:
    """Dict lines, their steps from the progress bar beside them."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._rows = RowBlocks()
        self._bars = _Bars()
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
            if metrics is None:
                self._bars.see(line)
                if raw.strip() and not _BAR.search(line):
                    self.unknown.add(self._lines, raw)
            elif "train_runtime" in metrics:
                self._summaries.append(self._summary(metrics))
            else:
                evaluates = any(name.startswith("eval_") for name in metrics)
                rows = rows_of(
                    metrics, None if evaluates else self._bars.step(line, self._rows.step)
                )
                if not rows:
                    self.unknown.add(self._lines, raw)
                yield from rows

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
    for line in head.split(b"\n") if b"{'" in head else ():
        metrics = metrics_of(line.decode("utf-8", "replace")) if b"{'" in line else None
        if metrics and ("epoch" in metrics or any("loss" in name for name in metrics)):
            return 88
    return 0


FORMAT = Format(
    name="hf-trainer",
    title="dict lines of Hugging Face's Trainer",
    example="{'loss': 1.2345, 'grad_norm': 0.81, 'learning_rate': 4.9e-05, 'epoch': 0.02}",
    recognises=recognises,
    open=of_means(TrainerOutputParser),
)

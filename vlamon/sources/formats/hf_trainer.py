"""What Hugging Face's Trainer prints: `{'loss': 1.23, 'grad_norm': 0.8, 'learning_rate': …}`.

The lines seldom hold a step. A progress bar, where there is one, is redrawn on the same line with
carriage returns: its last `100/1000` is the step. A bar on a line of its own may be another's (data
sets and checkpoints are loaded behind bars) or stand still: it counts where it has no description
and moves from row to row. Behind a buffered stdout dozens of dicts come at once, long after their
steps: they are spread over the steps that the bar has made. A counter such as ms-swift's
`'global_step/max_steps': '114/2353'` is the step. Without any of these rows are numbered from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vlamon.records import Event, Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.means import of_means
from vlamon.sources.formats.rows import NUMBER, LogRow, RowBlocks, counted

_LINE = re.compile(rf"\{{'[^'{{}}]+': ['\"]?{NUMBER}[^{{}}]*\}}")
_CONFIGURED = re.compile(r"(?:['\"]\s?:|=|\bconfig\w{0,20}(?: \w{1,40})?)\s{0,2}$")
"""In front of a dict that is a setting's value: `config set hyp = {'lr0': 0.01, …}`."""
_PAIR = re.compile(rf"'([^']+)': ['\"]?({NUMBER})['\"]?(?=\}}|, *['\"}}])")
_BAR = re.compile(r"\b(\d{1,15})/(\d{1,15}) \[")
_BARE_BAR = re.compile(r"(?:^|\r)\s*\d+%(?:\|[^|]*\|)? *(\d{1,15})/(\d{1,15}) \[")
"""A bar without a description in front, as the Trainer's own is; a narrow terminal has its counts
alone."""
_COUNTER = re.compile(r"'[^']{0,40}step[^']{0,40}': '(\d{1,15})/\d{1,15}'")
_PLANNED = re.compile(r"(Num Epochs|Total optimization steps) = (\d{1,3}(?:,\d{3})+|\d{1,15})\b")
_ROUND = (1000, 500, 250, 200, 100, 50, 25, 20, 10, 5, 2, 1)
_UNEVEN = 0.05
"""How far, of the last epoch printed, a row may be from an even spread; it is printed rounded."""
_TIMINGS = ("runtime", "samples_per_second", "steps_per_second")


def metrics_of(line: str) -> dict[str, float] | None:
    """The dict in a line, None where there is none."""
    found = _LINE.search(line)
    if (
        found is None
        or _CONFIGURED.search(line, max(0, found.start() - 80), found.start()) is not None
    ):
        return None
    return {name: float(value) for name, value in _PAIR.findall(found.group())}


def rows_of(metrics: dict[str, float], step: float | None) -> tuple[LogRow, ...]:
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

    def redrawn(self, line: str, last: int | None) -> None:
        """The line right behind a dict: a Trainer draws its bar again there, and where a terminal
        kept but the last drawing of a line, that one alone says the row's step."""
        place = next((int(place) for place, _ in _BARE_BAR.findall(line)), None)
        if place is None or place - 1 != self.apart:
            return
        begin = last or 0
        stride = place - begin
        even = place % stride == begin % stride == 0 if begin else place % 10 == 0
        if stride > 1 and even:
            self.apart = place

    def step(self, line: str, last: int | None) -> int | None:
        """The step of a dict's line; `last` is that of the row before."""
        beside = _BARE_BAR.findall(line) or _BAR.findall(line)
        if beside:
            self.taken, self.total = (int(number) for number in beside[-1])
            self.apart = self.taken
            return self.taken
        if self.apart is None or self.apart == (self.taken or 0):
            return None
        again = self.taken is not None and self.apart < self.taken
        self.taken = self.apart
        return self.apart if again or last is None or self.apart > last else None


@dataclass(slots=True)
class _Rhythm:
    """Steps of rows that came at once, behind a buffered stdout: one every `stride`."""

    stride: int | None = None
    rows: int = 0
    """Rows so far that had no bar of their own."""
    planned: dict[str, int] = field(default_factory=dict)
    """Epochs and steps that the Trainer announced."""

    def see(self, line: str) -> None:
        """A line without a dict."""
        for name, value in _PLANNED.findall(line):
            self.planned[name] = int(value.replace(",", ""))

    def steps(self, epochs: list[float | None], reached: int) -> list[int] | None:
        """Steps of the rows that came at once when the bar stood at `reached`; None if none fit."""
        before, self.rows = self.rows, self.rows + len(epochs)
        if self.stride is None and len(epochs) > 1 and before == 0:
            self.stride = self._stride(epochs, reached)
        if self.stride is None:
            return None
        return [self.stride * row for row in range(before + 1, self.rows + 1)]

    def _stride(self, epochs: list[float | None], reached: int) -> int | None:
        known = [epoch for epoch in epochs if epoch is not None]
        if len(known) < len(epochs):
            return None
        count = len(epochs)
        even = (last := known[-1]) / count
        if any(abs(e - even * n) > 0.011 + _UNEVEN * last for n, e in enumerate(known, 1)):
            return None
        total, length = (self.planned.get(n) for n in ("Total optimization steps", "Num Epochs"))
        if total and length and last > 0:
            low = high = total / length * even
            low, high = low - 0.01 * low - 0.5, high + 0.01 * high + 0.5
        else:
            low, high = reached / (count + 1), (1.01 * reached + 1) / count
        for unit in _ROUND:
            stride = -int(-low // unit) * unit
            if 0 < stride <= high:
                return stride
        return None


class TrainerOutputParser:
    """Dict lines, their steps from the progress bar beside them."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._rows = RowBlocks()
        self._bars = _Bars()
        self._rhythm = _Rhythm()
        self._waiting: list[tuple[dict[str, float], float | None]] = []
        self._ready: list[LogRow] = []
        self._last: int | None = None
        self._lines = 0
        self._last_dict = 0
        """Line of the last dict that stood alone."""
        self._summaries: list[Event] = []

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        records: list[Record] = []
        for raw in data.rstrip(b"\n").split(b"\n"):
            self._lines += 1
            self._read(raw)
        # Where no bar is drawn, none will say when these were written.
        if self._bars.apart is None:
            self._release()
        records += self._rows.records(self._ready)
        self._ready = []
        records += self._summaries
        self._summaries = []
        return records

    def finish(self) -> list[Record]:
        """What waited for the bar to move on."""
        self._release()
        return self._rows.records(self._ready)

    def _read(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace")
        metrics = metrics_of(line)
        if metrics is None:
            bar = _BAR.search(line) is not None
            if bar:
                if self._lines == self._last_dict + 1:
                    self._bars.redrawn(line, self._last)
                if self._bars.apart is None and len(self._waiting) > 1:
                    self._bars.see(line)  # the first bar at all says how far they had come
                self._release()
            self._bars.see(line)
            self._rhythm.see(line)
            if raw.strip() and not bar:
                self.unknown.add(self._lines, raw)
        elif "train_runtime" in metrics:
            self._release()
            self._summaries.append(self._summary(metrics))
        elif not self._placed(line, metrics):
            self._last_dict = self._lines
            self._waiting.append((metrics, None))

    def _placed(self, line: str, metrics: dict[str, float]) -> bool:
        """Take a row that says its step, or has a bar on its line."""
        counter = _COUNTER.search(line)
        if counter is not None or "step" in metrics:
            self._release()
            self._take(metrics, float(counter.group(1)) if counter is not None else None)
            return True
        if not _BAR.search(line):
            return False
        self._release()
        step = None if _evaluates(metrics) else self._bars.step(line, self._last)
        # Others may follow without a bar of their own: then they all came at once.
        self._waiting.append((metrics, step))
        return True

    def _release(self) -> None:
        """Give the rows that came at once their steps."""
        waiting, self._waiting = self._waiting, []
        trained = [metrics.get("epoch") for metrics, _ in waiting if not _evaluates(metrics)]
        alone = len(trained) == 1 and any(step is not None for _, step in waiting)
        reached = self._bars.apart
        steps = None
        if reached is not None and trained and not alone:
            steps = self._rhythm.steps(trained, reached)
        given = iter(steps or ())
        for metrics, step in waiting:
            if _evaluates(metrics):
                self._take(metrics, None)
            elif steps is not None:
                self._take(metrics, next(given))
            else:
                self._take(metrics, self._bars.step("", self._last) if step is None else step)

    def _take(self, metrics: dict[str, float], step: float | None) -> None:
        rows = rows_of(metrics, step)
        if not rows:
            self.unknown.add(self._lines, repr(metrics).encode())
        for row in rows:
            if not row.split:
                self._last = (
                    row.step
                    if row.step is not None
                    else (-1 if self._last is None else self._last) + 1
                )
        self._ready += rows

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


def _evaluates(metrics: dict[str, float]) -> bool:
    return any(name.startswith("eval_") for name in metrics)


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

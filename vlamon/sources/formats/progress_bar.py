"""Progress bars with values behind them: any tqdm postfix, Lightning's console, Keras.

`Epoch 0:  29%|██▉  | 144/489 [13:57<33:26,  0.17it/s, v_num=0, train/loss=11.0]`,
`Training:  62%|██ | 158/256 [27:46<15:20, loss=0.512, lr=1e-4]`, `Epoch 3: loss=0.5: 12%|█ | …`,
`469/469 [====] - 3s 6ms/step - loss: 0.2576 - val_loss: 0.21`.

A bar is drawn several times a step: its last state is the step's row, and a state that comes again
when a new epoch begins is none. Validation's bars are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlamon.sources.formats import Format, key_values
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted
from vlamon.sources.formats.settings import is_metric

_BAR = re.compile(
    r"(?P<before>[^|\r\n]{0,200}?)(?<!\d)\d{1,3}%\|[^|]{0,400}\| *(?P<step>[\d.]{1,15}[kMG]?)/"
    r"(?P<of>[\d.]{1,15}[kMG]?) \[(?P<inside>[^\]]{0,4000})\](?P<behind>[^\r\n]{0,2000})"
)
_KERAS = re.compile(
    r"\s{0,40}(?P<step>\d{1,15})/(?P<of>\d{1,15}) (?:\[[=>.]{3,80}\]|━+) {0,4}(?:- )?"
    r"(?P<behind>.{0,2000})"
)
_PAIR = re.compile(
    rf"(?<![\w.:])([^\W\d][\w./@-]{{0,120}})(?:=|: {{0,4}})({NUMBER}%?)"
    r"(?=\s{0,4}[,\]|;)}:]|\s|$)"
)
_EPOCH = re.compile(r"\bepochs?\W{0,3}(\d{1,9})(?:\s{0,2}/\s{0,2}\d{1,9})?", re.IGNORECASE)
_OF_EPOCHS = re.compile(r"(?<![\w./])(\d{1,9})/\d{1,9}[\s:\]),-]{0,6}$")
"""A count in a bar's description: `[fold_0] 021/200:  25%|██ | 1/4 […]`."""
_HELD_OUT = re.compile(
    r"\b(?:val(?:id(?:ation|ating)?)?|test(?:ing)?|eval(?:uation|uating)?|sanity checking|"
    r"predict(?:ing|ion)?|sampling|inference)\b",
    re.IGNORECASE,
)
_STEPS = ("global_step", "step", "iter")
_NEVER = frozenset(("v_num", "epoch", "ETA", "eta"))


@dataclass(frozen=True, slots=True)
class _State:
    """One drawing of a bar."""

    row: LogRow
    place: int
    of: int


class BarReader:
    """Keeps the last state of each step; a state counts once another one follows it."""

    def __init__(self) -> None:
        self._state: _State | None = None
        self._heading: float | None = None

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row that a new step completes, empty where a bar was drawn again."""
        bar = _BAR.search(line) if "%|" in line else None
        if bar is None:
            return self._other(line)
        known: Sequence[LogRow] | None = None
        while bar is not None:
            state = _state(bar.groupdict(), self._heading)
            behind = _BAR.search(bar["behind"]) if "%|" in bar["behind"] else None
            if state is not None:
                known = [*(known or ()), *self._take(state)]
            bar = behind
        return () if known is None else known

    def _other(self, line: str) -> Sequence[LogRow] | None:
        keras = _KERAS.match(line) if "/" in line[:60] else None
        if keras is not None:
            found = keras.groupdict() | {"before": "", "inside": ""}
            state = _state(found, self._heading)
            return () if state is None else self._take(state)
        heading = _EPOCH.match(line.strip()) if "poch" in line and len(line) < 80 else None
        if heading is not None:
            self._heading = float(heading.group(1))
            return None
        rows = key_values.read(line)
        return rows if rows and rows[0].split else None

    def rest(self) -> Sequence[LogRow]:
        """The last state."""
        state, self._state = self._state, None
        return () if state is None else self._row(state)

    def _take(self, state: _State) -> Sequence[LogRow]:
        last = self._state
        self._state = state
        if last is None or (last.place, last.of, last.row.epoch) == (
            *(state.place, state.of, state.row.epoch),
        ):
            return ()
        return self._row(last)

    def _row(self, state: _State) -> Sequence[LogRow]:
        # A bar that begins shows the values of the epoch before.
        return () if state.place == 0 else (state.row,)


def _state(found: dict[str, str | None], heading: float | None) -> _State | None:
    """What a drawing of a bar says, None where it has no metric or is a validation's."""
    before, inside, behind = (found[name] or "" for name in ("before", "inside", "behind"))
    if _HELD_OUT.search(before):
        return None
    place, of = _count(found["step"] or ""), _count(found["of"] or "")
    behind = behind.partition("%|")[0]
    pairs = _PAIR.findall(f"{before}|{inside}|{behind}")
    metrics = {name: _number(value) for name, value in pairs if name not in _NEVER}
    if place is None or of is None or not any(map(is_metric, metrics)):
        return None
    epoch = _EPOCH.search(before) or _EPOCH.search(inside) or _EPOCH.search(behind)
    epoch = epoch or _OF_EPOCHS.search(before)
    counted_in = next((metrics.pop(name) for name in _STEPS if name in metrics), None)
    of_epochs = "poch" in before and epoch is None and of < 100_000
    at = float(epoch.group(1)) if epoch is not None else heading
    if counted_in is not None:
        rows = counted(metrics, counted_in, at)
    elif of_epochs:
        rows = counted(metrics, place, float(place))
    else:
        rows = counted(metrics, place, at, of=of)
    return _State(rows[0], place, of) if rows else None


def _count(text: str) -> int | None:
    unit = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    try:
        return round(float(text.rstrip("kMG")) * unit)
    except ValueError:
        return None


def _number(text: str) -> float:
    return float(text.rstrip("%"))


def recognises(head: bytes, path: str) -> int:
    """A bar with a metric; formats that print lines beside their bars come first."""
    if not any(mark in head for mark in (b"%|", b"[=", "━".encode())):
        return 0
    reader = BarReader()
    for line in head.split(b"\n"):
        for drawn in line.split(b"\r"):
            if any(mark in drawn for mark in (b"|", b"[=", "━".encode(), b"poch")):
                reader.read(drawn.decode("utf-8", "replace"))
    return 60 if reader.rest() else 0


FORMAT = Format(
    name="progress-bar",
    title="progress bars with values: tqdm, Lightning's console, Keras",
    example="Epoch 0:  29%|██▉       | 144/489 [13:57<33:26,  0.17it/s, v_num=0, train/loss=11.0]",
    recognises=recognises,
    open=lambda path: ReaderParser(BarReader()),
)

"""Lines of `key: value` or `key=value` of any make; the last resort before giving up.

`epoch=3 step=1200 loss=0.123 lr=1e-4`, `Epoch [3/90], Step [100/278], Loss: 0.1234`,
`[1/30] iter: 100/278. Loss: 0.095`, `步数：1,200，损失：0.123`, and `train Loss: 0.3` below
a heading `Epoch 3/24`. What may be two numbers is none: a value `1,234` is left out, and a line
whose step is not a clean count is unknown. Settings are no rows, whatever their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlamon.sources.formats import SURE, Format
from vlamon.sources.formats.rows import (
    NUMBER,
    LogRow,
    ReaderParser,
    behind_logger,
    counted,
    last_drawn,
    seconds,
    stamp,
)
from vlamon.sources.formats.settings import is_code, is_metric, is_rate

_GROUPED = r"[-+]?\d{1,3}(?:(?:,\d{3}){1,6}\.\d+|(?:,\d{3}){2,6})"
"""Thousands that are set apart, where a decimal comma is out of the question."""
_PAIR = re.compile(
    r"(?<![\w.:])([^\W\d][\w./-]{0,120}(?: (?i:loss|norm|rate|accuracy|acc)(?!\w))?)\s{0,9}[:=：]"
    rf"\s{{0,9}}(?i:({_GROUPED}|{NUMBER})(ms|s|%|))(?=$|[\s;|\])，；]|\.(?:\s|$)|,(?!\d))"
)
_COUNT = re.compile(
    r"(epoch|steps?|global_step|iters?|iteration|batch|episode|步数|迭代|轮次)"
    r"(\s{0,9}[:=：])?\s{0,9}\[?(\d(?:[\w.+-]|,(?=\d))*)(?:\s{0,3}/\s{0,3}(\d{1,15})(?!\w|\.\d))?"
)
"""Of a line in lower case; without a look behind it, a search that skips to the first letters is
three times as fast."""
_BRACKETED = re.compile(r"\[(\d{1,9})/\d{1,9}\][\s,:]{0,9}(?=(?:iter|step|batch)\b)", re.IGNORECASE)
"""The epoch in front of a count of its own: `[1/30] iter: 100/278`."""
_UNNAMED = re.compile(
    r"\[ {0,9}(\d{1,9})/ {0,9}(\d{1,9})\](?: ?\[ {0,9}(\d{1,9})/ {0,9}(\d{1,9})\])?"
)
"""Counts that have no name: `[500/50000]`, and `[0/25][50/1583]` of an epoch and its batches."""
_OF = re.compile(
    r"(?<![\w.])(i|it|idx|batch_idx|updates?|num_updates)\s?[:=]\s?(\d{1,15})\s?/\s?(\d{1,15})(?![\w.])"
)
"""Counts whose name says little, but that go up to something: `i=14/530`."""
_SAID = re.compile(
    r"(?<![\w.])((?:[A-Za-z]\w{0,20} )?(?:loss|accuracy|perplexity|reward))(?: so far)? (?:is|was) "
    rf"({NUMBER})(?=$|[\s;|\])]|[.,](?!\d))",
    re.IGNORECASE,
)
_SECTION = re.compile(
    r"(?<![\w/.-])(train|training|val|valid|validation|test|testing|eval|evaluation|dev)"
    r"(?=\s{0,3}[:=|(\[-]|\s+[A-Za-z])",
    re.IGNORECASE,
)
_SPACED = re.compile(
    rf"(?<![\w./])([A-Za-z][\w/-]{{0,40}}) {{1,3}}({NUMBER})(?=$|[\s;|\])]|,(?!\d))"
)
"""`loss  8.05` between bars or words, beside a count; metrics alone are read so."""
_BEHIND_BAR = re.compile(r"^.{0,2000}(?:it/s|s/it)\](?=\s*\S)")
"""A bar that was left in front of a line: `Val: |  | 0/? [00:00<?, ?it/s]INFO Epoch 3: …`."""
_SPACED_LOSS = re.compile(r"loss[\w/-]{0,40} {1,3}[-+.\dni]")
"""What such a line has at least, in lower case: words and numbers stand together in any prose."""
_BATCHES = re.compile(r"\bepoch {1,4}(\d{1,9}) \| {0,9}(\d{1,9})/ {0,9}(\d{1,9}) batches\b")
_SAMPLES = re.compile(r"Epoch: ?(\d{1,9}) \[ *(\d{1,15})/(\d{1,15}) \( *\d{1,3}%\)\]")
"""PyTorch's MNIST example counts samples: `Train Epoch: 1 [640/60000 (1%)]`."""
_HEADING = re.compile(
    r"\W{0,80}(?:train(?:ing)? )?epoch\W{1,4}(\d{1,9})(?:\W{1,3}\d{1,9})?\W{0,80}"
)
_SPLIT = re.compile(
    r"(?<![\w/.-])(val|valid|validation|test|testing|eval|evaluation|dev)[\s_:]{1,3}(?!\d)",
    re.IGNORECASE,
)
_LOGGER = re.compile(r"\[[^\]]{0,60}\]|\b(?:info|root|main|trainer|__main__)\b", re.IGNORECASE)
"""What loggers put in front."""
_WORD = re.compile(r"[^\W\d_]")
_NEAR = 100
"""So many characters into a line, the split's name may begin."""
_SPLITS = {"valid": "val", "validation": "val", "testing": "test", "evaluation": "eval"}
_WHOLE = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?|\d{1,3}(?:[,_]\d{3})+", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"[\d.]+(?:ms|s)", re.ASCII)
_STEPS = (
    *("global_step", "step", "steps", "iter", "iters", "iteration", "步数", "迭代"),
    *("batch", "episode"),
)
_EPOCHS = ("epoch", "轮次", "episode")
_MANY = 1000
"""Steps of a run; fewer may be its epochs."""
_SERIES = 3
"""So many values of one metric are a log, even without a count; a configuration has one."""
_LONGEST = 20_000
"""Characters; a longer line is a dump of something, and no row."""


@dataclass(frozen=True, slots=True)
class _Counts:
    step: float | None = None
    epoch: float | None = None
    of: int | None = None
    names: frozenset[str] = frozenset()


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing where nothing in it looks like a training's metric."""
    if len(line) > _LONGEST:
        return ()
    if "/s]" in line or "/it]" in line:
        line = _BEHIND_BAR.sub("", line)
    lower = line.lower()
    if "loss" not in lower and ":" not in line and "=" not in line and "：" not in line:
        return ()
    counts = _counts(line, lower)
    if counts is None:
        return ()
    never = counts.names | {"eta"}
    pairs = [
        (name.replace(" ", "_"), seconds(value.replace(",", ""), unit.lower()))
        for name, value, unit in _PAIR.findall(line)
        if name.lower() not in never and not is_code(name)
    ]
    pairs += [
        (name.replace(" ", "_"), float(value))
        for name, value in (_SAID.findall(line) if " is " in line or " was " in line else ())
    ]
    metrics = dict(pairs)
    counts_something = counts.step is not None or counts.epoch is not None
    spaced: list[tuple[str, float]] = []
    if counts_something and _SPACED_LOSS.search(lower) is not None:
        spaced = [(n, float(v)) for n, v in _SPACED.findall(line) if is_metric(n)]
        if any("loss" in name.lower() for name, _ in spaced):
            metrics = dict(spaced) | metrics
    if _says_twice(pairs) or _says_twice(spaced):
        metrics = _by_section(line, metrics)
    beside_rate = counts_something and "batch" not in counts.names
    if not any(is_metric(name) or (beside_rate and is_rate(name)) for name in metrics):
        return ()
    split = ""
    if "val" in lower or "test" in lower or "eval" in lower or "dev" in lower:
        split, metrics = _split(line, metrics)
    return counted(metrics, counts.step, counts.epoch, stamp(line), split, of=counts.of)


def _says_twice(pairs: list[tuple[str, float]]) -> bool:
    """Whether a name has two values."""
    names = dict(pairs)
    return len(names) < len(pairs) and len(set(pairs)) > len(names)


def _by_section(line: str, metrics: dict[str, float]) -> dict[str, float]:
    """The metrics of a line that says some of two splits: `train: loss 0.3 | val: loss 0.5`.

    A name that one section has twice says nothing.
    """
    found: dict[str, set[float]] = {}
    sections = [(match.start(), match.group(1).lower()) for match in _SECTION.finditer(line)]
    for match in (*_PAIR.finditer(line), *_SPACED.finditer(line)):
        name, value = match.group(1).replace(" ", "_"), match.group(2).replace(",", "")
        if name not in metrics:
            continue
        split = next((said for at, said in reversed(sections) if at < match.start()), "train")
        inside = name if split.startswith("train") else f"{_SPLITS.get(split, split)}_{name}"
        found.setdefault(inside, set()).add(float(value))
    return {name: min(values) for name, values in found.items() if len(values) == 1}


def _split(line: str, metrics: dict[str, float]) -> tuple[str, dict[str, float]]:
    """Which split a line is about: `Val loss: 0.2, Acc: 0.9` is no training's row."""
    line = behind_logger(line) or line
    found = _SPLIT.search(line, 0, _NEAR)
    if found is None or _WORD.search(_LOGGER.sub("", line[: found.start()])):
        return "", metrics
    said = found.group(1).lower()
    inner = {re.sub(rf"(?i)^{said}[_/.-]", "", name): value for name, value in metrics.items()}
    return _SPLITS.get(said, said), inner


def _counts(line: str, lower: str) -> _Counts | None:
    """What a line counts; None where one of the counts cannot be told."""
    bracketed = "[" in line
    samples = _SAMPLES.search(line) if bracketed else None
    if samples is None and " batches" in line:
        samples = _BATCHES.search(line)
    if samples is not None:
        begun, seen, samples_of = (int(number) for number in samples.groups())
        return _Counts(seen, begun, samples_of, frozenset(("epoch",)))
    named = _named_counts(lower)
    if named is None:
        return None
    counts, ends = named
    names = frozenset(counts)
    step = next((name for name in _STEPS if name in counts), None)
    epoch = next((counts[name] for name in _EPOCHS if name in counts and name != step), None)
    if step is None and "/" in line and (said := _OF.search(line)) is not None:
        return _Counts(float(said.group(2)), epoch, int(said.group(3)), names | {said.group(1)})
    if bracketed and not ends and (step is None or step == "batch"):
        unnamed = _UNNAMED.search(line, 0, _NEAR)
        if unnamed is not None and _is_step(unnamed, names):
            begun_in, of_epoch, seen_of, of = unnamed.groups()
            place, length = (begun_in, of_epoch) if seen_of is None else (seen_of, of)
            epoch = epoch if seen_of is None else float(begun_in)
            return _Counts(float(place), epoch, int(length), names)
    outer = _BRACKETED.search(line) if bracketed and epoch is None else None
    if outer is not None:
        epoch = float(outer.group(1))
    if step is None:
        return _Counts(None, epoch, None, names)
    return _Counts(counts[step], epoch, ends.get(step), names)


def _named_counts(lower: str) -> tuple[dict[str, float], dict[str, int]] | None:
    """Each count by its name, and what it goes up to; None where one cannot be told."""
    counts: dict[str, float] = {}
    ends: dict[str, int] = {}
    for found in _COUNT.finditer(lower):
        before = lower[found.start() - 1 : found.start()]
        if before == "." or before == "_" or before.isalnum():
            continue
        name, sign, printed, end = found.groups()
        text = printed.rstrip(".,+-")
        if text.isdecimal() and text.isascii():
            value: float | None = float(text)
        else:
            value = float(re.sub("[,_]", "", text)) if _WHOLE.fullmatch(text) else None
        if value is not None and (value.is_integer() or name in _EPOCHS):
            counts[name] = value
            if end:
                ends[name] = int(end)
        elif sign and not _DURATION.fullmatch(text):
            return None
    return counts, ends


def _is_step(unnamed: re.Match[str], names: frozenset[str]) -> bool:
    """Whether a count without a name is the step: a `batch 16` beside it may be a batch's size."""
    place, of, inner, _ = unnamed.groups()
    if int(place) > int(of):
        return False
    return not names or (inner is None and int(of) >= _MANY)


class KeyValueReader:
    """Lines with counts, or below a heading with one; others once they are a series.

    A value without any count may be a setting. It waits until the same metric has come often
    enough, and is nothing where lines with counts come first.
    """

    def __init__(self) -> None:
        self._heading: float | None = None
        self._counted = False
        self._waiting: list[LogRow] = []
        self._series = False

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The rows of one line, with those that waited for it."""
        heading = _HEADING.fullmatch(line.strip().lower()) if len(line) < 200 else None
        if heading is not None:
            self._heading = float(heading.group(1))
            return None
        rows = read(line)
        if not rows:
            return None
        (row,) = rows
        if row.step is not None or row.epoch is not None:
            self._counted = True
            self._waiting.clear()
            return rows
        if self._heading is not None and not self._series:
            self._counted = True
            return counted(row.metrics, None, self._heading, row.time, row.split)
        if row.split:
            return rows if self._counted or self._series else None
        return None if self._counted else self._uncounted(row)

    def rest(self) -> Sequence[LogRow]:
        """What waited, where nothing better came."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _uncounted(self, row: LogRow) -> Sequence[LogRow]:
        self._waiting.append(row)
        self._series = self._series or any(
            len({other.metrics[name] for other in self._waiting if name in other.metrics})
            >= _SERIES
            for name in row.metrics
            if is_metric(name)
        )
        return self.rest() if self._series else ()


def recognises(head: bytes, path: str) -> int:
    """Lines with a metric and a count, or a metric that comes again; others may be settings."""
    reader = KeyValueReader()
    for line in head.split(b"\n"):
        rows = reader.read(last_drawn(line.decode("utf-8", "replace")))
        if any(not row.split for row in rows or ()):
            return 20
    return SURE - 10 if reader.rest() else 0


FORMAT = Format(
    name="key-values",
    title="lines of `key: value` or `key=value`",
    example="epoch=3 step=1200 loss=0.1234 lr=1e-4",
    recognises=recognises,
    open=lambda path: ReaderParser(KeyValueReader()),
)

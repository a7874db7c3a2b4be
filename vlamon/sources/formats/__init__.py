"""Log formats: one small module each, found by looking at a file's first lines.

A new format is a module here with a `FORMAT` and a row in `MODULES`; nothing else changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from vlamon.records import Record
from vlamon.sources import SourceError

HEAD_BYTES = 1 << 16
"""How much of a file the formats look at, at a time."""
SURE = 15
"""From this score on a format is taken at once. Below, lines such as `lr: 1e-4` may be a
configuration that is printed before the log itself, and something better may follow."""
NAMED = 55
"""From this score on a format has marks of its own, below it may fit a stray line of any log."""

_MARKED = 80
"""From this score on a format's lines have marks that no other's have."""
_FULLER = 4
"""Times the rows of the best format that another has to read to be taken instead."""
_COMPARED = 40
"""Lines of an unknown file that are compared with the examples of the formats."""
_SHARED = 2
"""Words that a line and an example must share for its format to be named."""
_LOSS = re.compile(rb"\bloss\b[^\d\n]{1,8}\d", re.IGNORECASE)
MODULES = (
    "reference_epoch",
    "reference_output",
    "deit",
    "hf_trainer",
    "hf_trainer_state",
    "lerobot",
    "openpi",
    "prismatic",
    "csv_table",
    "progress_meter",
    "megatron",
    "detectron2",
    "mm_text",
    "torchtitan",
    "verl",
    "llm_c",
    "nanogpt",
    "fairseq",
    "darts",
    "indented",
    "openvla",
    "act",
    "progress_bar",
    "json_blocks",
    "tables",
    "columns",
    "tensorboard",
    "wandb",
    "swanlab",
    "json_lines",
    "key_values",
)
"""Modules of this package that hold a `FORMAT`; at equal scores the earlier one wins."""


ANY_MAKE = frozenset(("key-values", "json-lines", "progress-bar", "nanogpt"))
"""Formats of any make: they may know a stray line of a log that is in no known format."""


class FormatError(SourceError):
    """No format fits; the message is the sentence that the user reads."""


class UnrecognisedError(FormatError):
    """No line of a file is in a known format: nothing can be said of the run."""


@dataclass(slots=True)
class UnknownLines:
    """Lines that a parser could not use: counted, and the first few kept to be shown."""

    count: int = 0
    """How many so far."""
    samples: list[tuple[int, str]] = field(default_factory=list)
    """Line number, counted from 1, and text of the first few."""
    keep: int = 20
    """How many samples are kept."""
    with_loss: int = 0
    """How many speak of a loss and a number: rows, most likely, that were not understood."""

    def add(self, line_number: int, line: bytes) -> None:
        """Count a line; the first `keep` are kept, cut at 200 characters."""
        self.count += 1
        self.with_loss += _LOSS.search(line, 0, 4000) is not None
        if len(self.samples) < self.keep:
            self.samples.append((line_number, line[:200].decode("utf-8", "replace").rstrip()))


class LogParser(Protocol):
    """Turns lines into records: no I/O, no clock, one instance a file."""

    unknown: UnknownLines

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines; only a file's last line may lack its newline."""

    def finish(self) -> list[Record]:
        """Records that waited for a line which will not come."""


@dataclass(frozen=True, slots=True)
class Format:
    """What the sniffing entry knows of a log format."""

    name: str
    """Value of `--format`."""
    title: str
    """What writes it, in a few words."""
    example: str
    """One line of it, shown where no format fits."""
    recognises: Callable[[bytes, str], int]
    """Score 0..100 for whole lines of a file, about HEAD_BYTES of them, and its path; from SURE on
    nothing better is waited for."""
    open: Callable[[str], LogParser]
    """A parser for the file of this path (the split may be in its name)."""
    binary: bool = False
    """Whether the parser is fed raw bytes as they come instead of whole lines."""
    open_middle: Callable[[str], LogParser] | None = None
    """A parser that may begin in the middle of the file, so that a long log's newest part can be
    shown first; None where lines mean nothing without those before them."""


def all_formats() -> tuple[Format, ...]:
    """Every known format, in order of preference."""
    return tuple(import_module(f"{__name__}.{name}").FORMAT for name in MODULES)


def format_named(name: str) -> Format:
    """The format that `--format name` means."""
    formats = all_formats()
    for known in formats:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in formats)
    raise FormatError(f"no log format is called {name!r}; known are {names}.")


def sniff(head: bytes, path: str = "") -> Format | None:
    """The format that fits a file's head best, None while nothing in it is known."""
    return scored(head, path)[1]


def scored(head: bytes, path: str) -> tuple[int, Format | None]:
    """The format that fits these lines best, and how well."""
    best: Format | None = None
    best_score = 0
    rivals: list[Format] = []
    for known in all_formats():
        score = known.recognises(head, path)
        if score >= _MARKED and not known.binary:
            rivals.append(known)
        if score > best_score:
            best, best_score = known, score
    if best in rivals and len(rivals) > 1:
        best = _fullest(best, rivals, head, path)
    return best_score, best


def _fullest(best: Format, rivals: Sequence[Format], head: bytes, path: str) -> Format:
    """The format that reads far more rows of these lines than the best one, else the best one.

    A summary at the end of a log may be in another format than the log.
    """
    rows = {known.name: _rows_read(known, head, path) for known in rivals}
    fullest = max(rivals, key=lambda known: rows[known.name])
    return fullest if rows[fullest.name] >= _FULLER * max(rows[best.name], 1) else best


def _rows_read(known: Format, head: bytes, path: str) -> int:
    parser = known.open(path)
    records = (*parser.feed(head), *parser.finish())
    return sum(getattr(record, "rows", 1) for record in records)


def unrecognised(head: bytes, path: str) -> UnrecognisedError:
    """Three lines for a file in which no line is known: which, what stands there, what to do."""
    lines = [line for line in head[:HEAD_BYTES].splitlines() if line.strip()]
    likest, nearest = _nearest(lines[:_COMPARED])
    shown = (likest or next(iter(lines), b""))[:120].decode("utf-8", "replace")
    if nearest is None:
        known = f"none of {len(MODULES)} formats, such as lerobot, hf-trainer or json-lines, fits"
        hint = f"{known}; --format NAME forces one; `vlamon run` watches a training without its log"
    else:
        hint = (
            f"nearest format (--format NAME forces one): {nearest.name}, {nearest.example[:100]!r}"
        )
    return UnrecognisedError(
        f"{path}: no line is in a known format.", f"  a line of it: {shown!r}", f"  {hint}"
    )


def _nearest(lines: Sequence[bytes]) -> tuple[bytes, Format | None]:
    """The line that shares most words with a format's example, and that format."""
    best, likest, nearest = 0.0, b"", None
    examples = [(known, _words(known.example)) for known in all_formats() if not known.binary]
    for line in lines:
        words = _words(line[:1000].decode("utf-8", "replace"))
        for known, example in examples:
            shared = len(words & example)
            alike = shared / len(words | example) if shared >= _SHARED else 0.0
            if alike > best:
                best, likest, nearest = alike, line, known
    return likest, nearest


def _words(line: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{2,}", line.lower()))


def misfit(known: Format, unknown: UnknownLines, path: str) -> FormatError:
    """The sentence for a file in which a format that was forced knows no line."""
    number, line = unknown.samples[0]
    return FormatError(
        f"{path}:{number}: no line is in the format {known.name} ({known.title}). "
        f"First line: {line[:120]!r}. Expected, for instance: {known.example!r}."
    )

"""Groups a run's metrics into charts, in the order of the catalogue.

Slots of one family share a chart, so do the pulls of all terms, the ranks, the layers and the
validation splits of one metric, and its many parts, such as `grad_norm/projector`; a metric without
an entry gets a chart of its own, behind the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile

from vlamon.catalogue import Entry, entry, is_loss_name

MOST_NAMED = 8
"""Most lines of a chart that each have their name at their end."""
PARTS = MOST_NAMED + 1
"""Fewest parts of one metric that share a chart: fewer are read better one by one."""


@dataclass(frozen=True, slots=True)
class Group:
    """One chart."""

    name: str
    """The metric, or what a family of lines has in common."""
    metrics: tuple[str, ...]
    """Lines of the chart."""


def groups(
    metrics: Sequence[str],
    trained: Collection[str] = (),
    pinned: Sequence[str] = (),
    hidden: Collection[str] = (),
) -> list[Group]:
    """Group metrics into charts: pinned ones first, hidden ones left out."""
    families: dict[str, list[str]] = {}
    parts = Counter(map(_whole, metrics))
    for name in metrics:
        known = entry(name)
        if known.split == "train" and name.removeprefix("train_") in metrics:
            continue  # the epoch's average of batches that have a chart of their own
        if name not in hidden:
            whole = _whole(name)
            folds = whole and parts[whole] >= PARTS
            families.setdefault(f"{whole} by part" if folds else _family(known), []).append(name)
    made = [Group(stem, tuple(sorted(names, key=_in_chart))) for stem, names in families.items()]

    def rank(group: Group) -> tuple[int, int]:
        pins = [pinned.index(name) for name in group.metrics if name in pinned]
        if pins:
            return 0, min(pins)
        known = entry(group.metrics[0])
        if known.copy:
            return 1, 85  # a line per rank or layer is for a closer look, behind what all make
        if group.metrics[0] in trained and not known.known:
            return 1, 35  # a term that only this run has stands behind the known losses
        if known.family in ("total", "loss") and trained:
            return 1, 46  # the contribution panel shows the total; its terms tell more
        return 2 if known.split else 1, known.order

    return sorted(made, key=rank)


def _family(known: Entry) -> str:
    stem = known.family if known.family in ("pull", "conflict") else known.name
    if known.rank is not None:
        stem = f"{known.family} by rank"
    elif known.layer is not None:
        stem = f"{known.family} by layer"
    elif known.slot is not None:
        stem = f"{known.family}"
    if known.split not in ("", "train"):
        return f"val {known.family}"
    return stem


def _whole(name: str) -> str:
    """Return the known metric that an unknown one is a part of by its name, as `grad_norm` is of
    `grad_norm/projector`; empty where there is none. What shares any other word in front of a `/`
    need not be of one kind, and the terms of a loss are looked at one by one."""
    known = entry(name)
    if known.known or known.copy:
        return ""
    while "/" in name:
        name = name.rpartition("/")[0]
        if entry(name).known and not is_loss_name(name):
            return name
    return ""


def _in_chart(name: str) -> tuple[str, int, int, str]:
    known = entry(name)
    slot = -1 if known.slot is None else known.slot
    copy = known.rank if known.rank is not None else known.layer
    return known.split, -1 if copy is None else copy, slot, name


def distinctions(names: Sequence[str]) -> tuple[str, ...]:
    """Return what tells the lines of one chart apart: `8` and `9` of two slots' names, whole words
    between `_` and `/`; a single line needs nothing."""
    if len(names) < 2:
        return ("",) * len(names)
    words = [re.split(r"[_/]", name) for name in names]
    head = _shared(words)
    tail = _shared([parts[head:][::-1] for parts in words])
    return tuple("_".join(parts[head : len(parts) - tail]) for parts in words)


def line_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the lines of one chart: `r3` or `l3` for ranks and layers, `rank 3` where
    only one of many is named, else what differs."""
    known = [entry(name) for name in names]
    one_family = len(names) > 1 and len({(one.family, one.split) for one in known}) == 1
    for kind in ("rank", "layer") if one_family else ():
        numbers = [getattr(one, kind) for one in known]
        if None not in numbers:
            short = kind[0] if len(names) <= MOST_NAMED else f"{kind} "
            return tuple(f"{short}{number}" for number in numbers)
    return distinctions(names)


def _shared(words: Sequence[Sequence[str]]) -> int:
    """Count the leading words that all have in common."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))))


def matching(metrics: Sequence[str], words: str) -> list[str]:
    """Return the metrics that every word of a filter is found in; an empty filter gives all.

    A word is a regular expression where it can be read as one, plain text otherwise: `^l1.*_[56]$`.
    """
    found = [_finder(word) for word in words.split()]
    return [name for name in metrics if all(finds(name) for finds in found)]


def _finder(word: str) -> Callable[[str], object]:
    try:
        return re.compile(word, re.IGNORECASE).search
    except re.error:
        return re.compile(re.escape(word), re.IGNORECASE).search

"""Which charts there are: metrics in groups, the known ones first, unknown ones each alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_SLOT = re.compile(r"(?P<stem>.+?)_(?P<slot>\d{1,2})\Z")

_FIRST = ("closs", "loss_ct", "z_loss", "l1_loss_action")
"""Groups in front, in this order; trained terms that are not named here come next."""
_LAST = ("lr", "grad_norm", "time", "data", "samples/sec", "max mem")
"""Groups that are looked at last."""


@dataclass(frozen=True, slots=True)
class Group:
    """One chart."""

    name: str
    """The metric, or the stem of a family of slots."""
    metrics: tuple[str, ...]
    """Lines of the chart."""


def groups(
    metrics: Sequence[str],
    trained: Collection[str] = (),
    pinned: Sequence[str] = (),
    hidden: Collection[str] = (),
) -> list[Group]:
    """Group metrics into charts: pinned ones first, hidden ones left out, slots together."""
    families: dict[str, list[str]] = {}
    for name in metrics:
        if name not in hidden:
            families.setdefault(_family(name, metrics), []).append(name)
    made = [Group(stem, tuple(sorted(names, key=_slot_order))) for stem, names in families.items()]

    def rank(group: Group) -> tuple[int, int]:
        pins = [pinned.index(name) for name in group.metrics if name in pinned]
        if pins:
            return 0, min(pins)
        if group.name in _FIRST:
            return 1, _FIRST.index(group.name)
        if group.metrics[0] in trained:
            return 2, 0
        if group.name in _LAST:
            return 4, _LAST.index(group.name)
        if group.name.startswith("pull_"):
            return 4, len(_LAST)
        return 3, 0

    return sorted(made, key=rank)


def _family(name: str, metrics: Sequence[str]) -> str:
    """Give the stem of a slot metric that has siblings, else the name itself."""
    found = _SLOT.match(name)
    if not found:
        return name
    stem = found["stem"]
    siblings = sum(
        1 for other in metrics if (match := _SLOT.match(other)) and match["stem"] == stem
    )
    return stem if siblings > 1 or stem == "l1_loss_action" else name


def _slot_order(name: str) -> tuple[int, str]:
    found = _SLOT.match(name)
    return (int(found["slot"]), name) if found else (-1, name)


def matching(metrics: Sequence[str], words: str) -> list[str]:
    """Give the metrics that contain every word of a filter; an empty filter gives all."""
    wanted = words.lower().split()
    return [name for name in metrics if all(word in name.lower() for word in wanted)]

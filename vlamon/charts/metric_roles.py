"""One colour per metric, the same in every panel."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

from vlamon.catalogue import entry, known_families

SERIES = tuple(f"series_{number}" for number in range(1, 9))
"""Roles of lines that are told apart by number; the first three resemble closs, loss_ct and l1."""
_OWN = {"closs": "closs", "loss_ct": "loss_ct", "z_loss": "z_loss", "l1_loss_action": "l1"}
"""Families with a role of their own."""
_OTHERS = SERIES[3:]


@lru_cache(maxsize=4096)
def role_of_metric(name: str) -> str:
    """Return the role that draws a metric: by its rank, layer or slot, by the term that it tells
    of, by its family, else by its name.

    Ranks, layers and slots have the colour of their number: slot 7 is the same in each family.
    """
    known = entry(name)
    numbers = (known.rank, known.layer, known.slot)
    number = next((one for one in numbers if one is not None), None)
    if number is not None:
        return SERIES[number % len(SERIES)]
    if known.family == "pull" and name.startswith("pull_"):
        return role_of_metric(name.removeprefix("pull_"))
    if known.split in ("", "train") and known.family in _OWN:
        return _OWN[known.family]
    if known.known and not known.split:
        return _OTHERS[known_families().index(known.family) % len(_OTHERS)]
    return _OTHERS[zlib.crc32(name.encode("utf-8", "replace")) % len(_OTHERS)]


def roles_of_lines(names: Sequence[str]) -> tuple[str, ...]:
    """Return the roles of the lines of one chart, distinct for up to eight of them."""
    if len(names) == 1 or len(names) > len(SERIES):
        return (role_of_metric(names[0]),) * len(names)
    found: list[str] = []
    for name in names:
        own = role_of_metric(name)
        taken = {_TWINS.get(role, role) for role in found}
        free = [role for role in SERIES if role not in taken]
        found.append(own if _TWINS.get(own, own) not in taken else free[0])
    return tuple(found)


_TWINS = {"closs": "series_1", "loss_ct": "series_2", "l1": "series_3", "z_loss": "series_6"}
"""Roles that look like another."""

"""What `:` can set, and what a typed line says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlamon.store import RunStore

GUARD_MODES = ("auto", "ask", "watch", "off")
FIXED = ("lr_scale", "clip_grad", "guard")
"""Settings that every served run may have besides its weights."""


def settable(store: RunStore) -> list[str]:
    """Give the names: the trained terms' weights, then the fixed ones."""
    weights = [name for name, spec in store.specs.items() if spec.kind == "trained"]
    return [*weights, *FIXED]


def parse_setting(text: str) -> tuple[str, float | str]:
    """Split `name value` (or `name=value`); numbers become numbers."""
    name, _, value = text.replace("=", " ").strip().partition(" ")
    value = value.strip()
    try:
        return name, float(value)
    except ValueError:
        return name, value


def what_is_wrong(text: str, names: Sequence[str]) -> str:
    """Give a sentence about a line that cannot be sent, empty for a good one."""
    name, value = parse_setting(text)
    if not name or value == "":
        return "write a name and a value, such as: loss_ct 5"
    if name not in names:
        return f"{name} cannot be set; names are {', '.join(names)}"
    if name == "guard":
        if value not in GUARD_MODES:
            return f"guard is one of {', '.join(GUARD_MODES)}"
        return ""
    if isinstance(value, str) or not math.isfinite(value):
        return f"{name} needs a number"
    if value < 0:
        return f"{name} cannot be negative"
    return ""

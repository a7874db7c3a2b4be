"""What `:` can set, and what a typed line says; ranges are those of the command table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.protocol.commands import SETTINGS, CommandError, checked

if TYPE_CHECKING:
    from vlamon.store import RunStore


def settable(store: RunStore) -> list[str]:
    """Return the names: the trained terms' weights, then what every guard knows."""
    weights = [name for name, spec in store.specs.items() if spec.kind == "trained"]
    return [*weights, *SETTINGS]


def parse_setting(text: str) -> tuple[str, float | str]:
    """Split `name value` (or `name=value`); numbers become numbers."""
    name, _, value = text.replace("=", " ").strip().partition(" ")
    value = value.strip()
    try:
        return name, float(value)
    except ValueError:
        return name, value


def what_is_wrong(text: str, names: Sequence[str]) -> str:
    """Return a sentence about a line that cannot be sent, empty for a good one."""
    name, value = parse_setting(text)
    if not name or value == "":
        return "write a name and a value, such as: loss_ct 5"
    if name not in names:
        return f"{name} cannot be set; names are {', '.join(names)}"
    try:
        checked("set", {"name": name, "value": value})
    except CommandError as error:
        return str(error)
    return ""

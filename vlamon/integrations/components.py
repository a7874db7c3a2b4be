"""The components of a loss, out of whatever a model or a training step returns.

GPU scalars are cloned where they are and never read here; CPU scalars are read at once, since a
script may scale its loss in place right after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 64
"""Values of a list that is kept as one metric each, such as `loss_per_dim`."""


def components(output: Any) -> dict[str, Any]:
    """Scalars by name: of a dict, a dataclass, a named tuple, a tuple or a bare loss."""
    found: dict[str, Any] = {}
    for name, value in _items(output):
        if isinstance(value, Mapping):
            found.update({f"{name}/{inner}": part for inner, part in components(value).items()})
        elif (number := read(value)) is not None:
            found[name] = number
        elif (each := losses_of(name, value)) is not None:
            found[name] = each
    return found


def read(value: Any) -> Any:
    """A float, or a clone of a one-element tensor that is still on its GPU; None for all else."""
    if isinstance(value, bool | str | bytes):
        return None
    if isinstance(value, int | float):
        return float(value)
    if _is_tensor(value) and value.numel() == 1 and not value.is_complex():
        value = value.detach().reshape(())
        return float(value.item()) if value.device.type == "cpu" else value.clone()
    if getattr(value, "shape", None) == () and getattr(value.dtype, "kind", None) in (
        "f",
        "i",
        "u",
    ):
        return float(value)
    return None


def losses_of(name: str, value: Any) -> list[float] | None:
    """The numbers of a list that is a loss per dimension; None for all else."""
    if "loss" not in name:
        return None
    if isinstance(value, list | tuple) and 0 < len(value) <= LONGEST:
        numbers = [read(item) for item in value]
        return None if any(number is None for number in numbers) else numbers
    if _is_tensor(value) and value.ndim == 1 and 1 < value.numel() <= LONGEST:
        return [read(item) for item in value.detach().unbind()]
    return None


def _items(output: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(output, Mapping):
        return [(str(name), value) for name, value in output.items()]
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in dataclasses.fields(output)]
        return [(name, getattr(output, name)) for name in names]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return list(zip(output._fields, output, strict=True))
    if isinstance(output, tuple):
        # (loss, parts) and (loss, logits) alike: the loss first, dicts for the rest.
        named: list[tuple[str, Any]] = [("loss", output[0])] if output else []
        for part in output[1:]:
            if isinstance(part, Mapping):
                named.extend(_items(part))
        return named
    return [("loss", output)]


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "numel")

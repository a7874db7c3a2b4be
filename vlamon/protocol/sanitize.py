"""Makes anything that a script hands over fit a frame: plain types, bounded, no lone surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_TEXT = 8 << 10
_MAX_ITEMS = 2000
_MAX_DEPTH = 6


def text(value: object) -> str:
    """A text that msgpack takes: bounded, and without lone surrogates."""
    cut = str(value)[:_MAX_TEXT]
    return cut.encode("utf-8", "replace").decode("utf-8")


def plain(value: Any, depth: int = 0) -> Any:
    """A bounded copy of anything a script hands over, made of msgpack's own types.

    A script's own objects become their text; nothing in here may raise for a strange one.
    """
    if value is None or type(value) is bool or type(value) is float:
        return value
    if isinstance(value, bool | str):
        return bool(value) if isinstance(value, bool) else text(value)
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else text(value)
    if isinstance(value, float):
        return float(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            items = list(value.items())[:_MAX_ITEMS]
            return {text(key): plain(item, depth + 1) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
    listed = getattr(value, "tolist", None)
    if callable(listed) and getattr(value, "size", _MAX_ITEMS + 1) in range(_MAX_ITEMS + 1):
        return plain(listed(), depth + 1)
    return text(value)

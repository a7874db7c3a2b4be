"""Checks what a script hands to the emitter's constructor, before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from vlamon.errors import VlamonError
from vlamon.protocol.block import MAX_METRICS
from vlamon.protocol.columns import MAX_NAME
from vlamon.protocol.sanitize import text
from vlamon.safe_text import line


class EmitterError(VlamonError):
    """The emitter could not be made; the message says why and what to do."""


def checked_path(name: str, path: str | os.PathLike[str] | None) -> str | None:
    """A path as text."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise EmitterError(f"{name} must be a path, such as '/tmp/vla.sock', not {path!r:.80}.")
    return os.fspath(path)


def checked_count(name: str, count: int | None) -> int | None:
    """A whole number."""
    if count is None:
        return None
    try:
        return int(count)
    except (TypeError, ValueError, OverflowError):
        raise EmitterError(f"{name} must be a whole number, not {count!r:.80}.") from None


def checked_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in choices:
        raise EmitterError(f"{name} must be one of {', '.join(choices)}, not {value!r:.80}.")
    return value


def checked_alerts(alerts: bool | str | None) -> bool | str | None:
    """On, off, a command line, or left to the environment."""
    if alerts is None or isinstance(alerts, bool | str):
        return alerts
    raise EmitterError(f"alerts must be True, False or a command line, not {alerts!r:.80}.")


def checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    """Weights as a frame can carry them."""
    if not isinstance(weights or {}, Mapping):
        raise EmitterError(f"weights must be names with numbers, not {weights!r:.80}.")
    try:
        return floats(weights or {})
    except (TypeError, ValueError, OverflowError) as error:
        raise EmitterError(f"weights must be names with numbers: {error}.") from None


def floats(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as a frame can carry them; raises ValueError or TypeError for what is not finite."""
    found = {}
    for name, weight in list(weights.items())[:MAX_METRICS]:
        found[line(text(name))[:MAX_NAME]] = float(weight)
        if not math.isfinite(float(weight)):
            raise ValueError(f"{text(name):.80} is {float(weight)}")
    return found

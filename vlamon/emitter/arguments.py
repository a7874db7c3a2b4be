"""What a script hands to the emitter's constructor, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vlamon.errors import VlamonError
from vlamon.protocol.block import MAX_METRICS, MAX_NAME
from vlamon.protocol.sanitize import text


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


def checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    """Weights as a frame can carry them."""
    if not isinstance(weights or {}, Mapping):
        raise EmitterError(f"weights must be names with numbers, not {weights!r:.80}.")
    try:
        return floats(weights or {})
    except (TypeError, ValueError, OverflowError) as error:
        raise EmitterError(f"weights must be names with numbers: {error}.") from None


def floats(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as a frame can carry them; raises ValueError or TypeError for what is no number."""
    pairs = list(weights.items())[:MAX_METRICS]
    return {text(name)[:MAX_NAME]: float(weight) for name, weight in pairs}


def of_environment(name: str, default: int) -> int:
    """A number that a launcher set, such as RANK; the default for anything that is none."""
    try:
        return int(os.environ.get(name, ""))
    except ValueError:
        return default

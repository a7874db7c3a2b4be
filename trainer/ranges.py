"""Where a setting may lie, declared beside it: `lr: Annotated[float, Range(above=0)]`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a field may hold; infinities and NaN never."""

    least: float | None = None
    """Smallest value."""
    most: float | None = None
    """Largest value."""
    above: float | None = None
    """It must be larger than this."""
    below: float | None = None
    """It must be smaller than this."""
    multiple: int = 1
    """What a whole number must be a multiple of."""

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.multiple == 1 or value % self.multiple == 0)
        )

    def __str__(self) -> str:
        limits = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        said = [f"{word} {limit}" for word, limit in limits if limit is not None]
        if self.multiple != 1:
            said.append(f"a multiple of {self.multiple}")
        return " and ".join(said) or "a finite number"


def check_ranges(settings: Any, section: str, *, dashed: bool = False) -> None:
    """Raise ValueError with a sentence for the first field that is out of its range.

    `section` begins the field's name in the sentence; `dashed` writes it as an option.
    """
    for name, allowed in _ranges(type(settings)):
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not allowed.holds(number):
                shown = section + name.replace("_", "-") if dashed else f"{section}.{name}"
                raise ValueError(f"{shown} must be {allowed}, not {value}")


def _ranges(kind: type[Any]) -> tuple[tuple[str, Range], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (item.name, allowed)
        for item in fields(kind)
        if get_origin(hints[item.name]) is Annotated
        for allowed in get_args(hints[item.name])[1:]
        if isinstance(allowed, Range)
    )

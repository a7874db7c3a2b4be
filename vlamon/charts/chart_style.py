"""What a person chose for a chart, apart from the part of the run that it shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """What a person chose for a chart; another look is another picture."""

    log: bool = False
    """Logarithmic y."""
    robust: bool = True
    """Whether far, short excursions are clipped and marked instead of setting the range."""
    smooth: float | None = None
    """Half-life in dot columns of the line over the envelope; None for no line."""
    band: bool = True
    """Whether the lines are drawn from which on a batch warns or explodes."""
    ascii_only: bool = False
    """Whether everything is drawn in ASCII."""
    focused: bool = False
    """Whether the chart has the focus."""
    utc_offset: float = 0.0
    """The viewer's time zone, in seconds, for wall time on x."""


def border_role(look: Look) -> str:
    """Give the role of a chart's frame."""
    return "accent" if look.focused else "border"

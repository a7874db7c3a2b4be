"""What a person chose for a chart, apart from the part of the run that it shows."""

from __future__ import annotations

from dataclasses import dataclass

from vlamon.charts.smoothing import Smoothing


@dataclass(frozen=True, slots=True)
class ChartStyle:
    """What a person chose for a chart, and what the terminal can show."""

    log: bool = False
    """Logarithmic y."""
    robust: bool = True
    """Whether y fits what lasts, without short far excursions and the start-up transient."""
    smooth: Smoothing = "auto"
    """How much the line of means is smoothed."""
    band: bool = True
    """Whether the lines are drawn from which on a batch warns or explodes."""
    marks: bool = True
    """Whether the axis has the marks of events: that of the lowest chart of a column."""
    tinted: bool = True
    """Whether the terminal has background colours for the band of a curve."""
    ascii_only: bool = False
    """Whether everything is drawn in ASCII."""
    focused: bool = False
    """Whether the chart has the focus."""
    utc_offset: float = 0.0
    """The viewer's time zone, in seconds, for wall time on x."""


def border_role(look: ChartStyle) -> str:
    """Return the role of a chart's frame."""
    return "accent" if look.focused else "border"

"""Where every panel goes, for any size of the terminal: pure arithmetic, tested for all sizes.

Three forms: `numbers` (below 60 columns or 14 rows: values and sparklines), `column` (60 to 99
columns: by importance, one below the other), `grid` (from 100 columns on: charts side by side, from
180 on with a side panel). Panels always tile the whole screen: no gap, no overlap, no sliver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["numbers", "column", "grid"]

COLUMN_FROM = 60
GRID_FROM = 100
THREE_FROM = 150
SIDE_FROM = 180
ROWS_FROM = 14

CHART_ROWS = 7
"""Least height of a chart: title, four rows of braille, the axis and its border."""
GOOD_CHART_ROWS = 9
"""Height from which a further row of charts is opened."""
LOWER_ROWS = 5
"""Least height of events, GPU and inspector."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What there is to show."""

    charts: int
    """Chart panels that the run's metrics make."""
    terms: int
    """Trained terms, a row each in the contribution panel."""
    devices: int = 0
    """Accelerators, a row each."""
    lower: str = ""
    """Panel that takes the lower left (grid) or the lower place (column); empty for the usual."""
    gpu: bool = True
    """Whether the accelerators have a panel."""
    maximised: bool = False
    """Whether one chart takes everything between the status line and the keys."""


@dataclass(frozen=True, slots=True)
class Place:
    """One panel's rectangle, in cells."""

    name: str
    """Panel name; charts are `chart-0`, `chart-1` …"""
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Everything on the screen."""

    form: Form
    """Which of the three forms it is."""
    places: tuple[Place, ...]
    """All panels, top to bottom."""

    @property
    def charts(self) -> int:
        """Number of charts that are on screen."""
        return sum(place.name.startswith("chart-") for place in self.places)

    def has(self, name: str) -> bool:
        """Whether a panel is on screen."""
        return any(place.name == name for place in self.places)


def form_for(width: int, height: int) -> Form:
    """Choose the form for a size."""
    if width < COLUMN_FROM or height < ROWS_FROM:
        return "numbers"
    return "column" if width < GRID_FROM else "grid"


def arrange(width: int, height: int, needs: Needs) -> Arrangement:
    """Place every panel on `width` × `height` cells."""
    form = form_for(width, height)
    status = [Place("status", 0, 0, width, 1)]
    footer = [Place("footer", 0, height - 1, width, 1)] if height >= 6 else []
    top, rows = 1, height - 1 - len(footer)
    if rows < 1:
        return Arrangement(form, tuple(status))
    if needs.maximised and form != "numbers":
        body = [Place("chart-0", 0, top, width, rows)]
    elif form == "numbers":
        body = [Place("numbers", 0, top, width, rows)]
    elif form == "column":
        body = _column(width, top, rows, needs)
    else:
        body = _grid(width, top, rows, needs)
    return Arrangement(form, (*status, *body, *footer))


def _column(width: int, top: int, rows: int, needs: Needs) -> list[Place]:
    lower = needs.lower or "events"
    chart, contribution, below = _heights(rows, needs, wanted_below=max(LOWER_ROWS, rows // 5))
    count = max(1, min(needs.charts, chart // GOOD_CHART_ROWS))
    places = []
    y = top
    for index, size in enumerate(_split(chart, count)):
        places.append(Place(f"chart-{index}", 0, y, width, size))
        y += size
    if contribution:
        places.append(Place("contribution", 0, y, width, contribution))
        y += contribution
    if below:
        places.append(Place(lower, 0, y, width, below))
    return places


def _grid(width: int, top: int, rows: int, needs: Needs) -> list[Place]:
    side = min(64, max(44, width // 4)) if width >= SIDE_FROM else 0
    main = width - side
    lower_rows = max(LOWER_ROWS + 1, min(needs.devices + 3, rows // 3), rows // 5)
    chart, contribution, below = _heights(rows, needs, wanted_below=lower_rows)
    places = _chart_grid(main, top, chart, needs.charts)
    y = top + chart
    if contribution:
        places.append(Place("contribution", 0, y, main, contribution))
        y += contribution
    if below:
        lower = needs.lower
        if lower in ("", "events") or (side and lower in ("inspector", "diagnoses")):
            lower = "gpu" if needs.gpu else "slots"
        left = max(40, main * 9 // 25)
        places.append(Place(lower, 0, y, left, below))
        places.append(Place("events", left, y, main - left, below))
    if side:
        places += _side(main, top, side, rows)
    return places


def _side(x: int, top: int, width: int, rows: int) -> list[Place]:
    if rows < 24:
        return [Place("inspector", x, top, width, rows)]
    upper = rows * 3 // 5
    return [
        Place("inspector", x, top, width, upper),
        Place("diagnoses", x, top + upper, width, rows - upper),
    ]


def _chart_grid(width: int, top: int, rows: int, charts: int) -> list[Place]:
    columns = 3 if width >= THREE_FROM else 2
    columns = min(columns, max(1, charts))
    lines = max(1, min(-(-charts // columns), rows // GOOD_CHART_ROWS))
    count = max(1, min(charts, lines * columns))
    places: list[Place] = []
    y = top
    for size, in_line in zip(_split(rows, lines), _split(count, lines), strict=True):
        x = 0
        for cell in _split(width, in_line):
            places.append(Place(f"chart-{len(places)}", x, y, cell, size))
            x += cell
        y += size
    return places


def _heights(rows: int, needs: Needs, wanted_below: int) -> tuple[int, int, int]:
    """Share `rows` among charts, contribution and what is below: charts first, then in order."""
    contribution = min(needs.terms, 8) + 2 if needs.terms else 0
    if rows - contribution < CHART_ROWS:
        contribution = 0
    spare = rows - contribution - CHART_ROWS
    below = min(wanted_below, spare) if spare >= LOWER_ROWS else 0
    return rows - contribution - below, contribution, below


def _split(total: int, parts: int) -> list[int]:
    """Cut `total` into whole parts that differ by one at most, larger ones first."""
    size, extra = divmod(total, parts)
    return [size + (index < extra) for index in range(parts)]

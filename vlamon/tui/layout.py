"""Where every panel goes, for any size of the terminal: pure arithmetic, tested for all sizes.

Three forms: `numbers` (below 60 columns or 14 rows: values and sparklines), `column` (60 to 99
columns: by importance, one below the other), `grid` (from 100 columns on: charts side by side, from
180 on with a side panel). Panels always tile the whole screen: no gap, no overlap, no sliver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
LEAST_CHART_COLUMNS = 38
"""Width from which a chart is worth its place in a line that has one more."""
HEADLINE_FROM = 8
"""Rows of a terminal that has room for a headline."""
ROOMY = 46
"""Rows from which the contribution has a bar a term, and several accelerators one each, instead of
one row."""
IN_SIDE = ("inspector", "diagnoses")
"""Panels that the side panel shows anyway."""
LOWER_ROWS = 5
"""Least height of events, GPU and inspector."""
EVENTS_GROW = 3
"""Lines by which the list of events grows: the charts give way now and then, not at each event."""


@dataclass(frozen=True, slots=True)
class ContentNeeds:
    """What there is to show."""

    charts: int
    """Chart panels that the run's metrics make."""
    terms: int
    """Trained terms of the total."""
    lower: str = ""
    """Panel that takes the lower left (grid) or the lower place (column); empty for the usual."""
    cursor: bool = False
    """Whether the batch under a cursor is shown there where no panel was chosen: at the height that
    the place has anyway, because a chart that one points at must not move."""
    gpu: bool = True
    """Whether there is anything to say of accelerators and process."""
    maximised: bool = False
    """Whether one chart takes everything between the status line and the keys."""
    headline: int = 0
    """Lines about what broke, under the status line."""
    events: int = 99
    """Lines that the list of events has."""
    devices: int = 0
    """Accelerators, which have a bar each where there is room."""
    values: int = 99
    """Rows that the inspector of a side panel would fill, its frame among them."""
    findings: int = 99
    """Rows that the diagnoses of a side panel would fill, their frame among them."""


@dataclass(frozen=True, slots=True)
class PanelRect:
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
    places: tuple[PanelRect, ...]
    """All panels, top to bottom."""

    @property
    def charts(self) -> int:
        """Number of charts that are on screen."""
        return sum(place.name.startswith("chart-") for place in self.places)

    def has(self, name: str) -> bool:
        """Whether a panel is on screen."""
        return any(place.name == name for place in self.places)


def is_below(one: PanelRect, other: PanelRect) -> bool:
    """Say whether a panel stands below another one, under any of its columns."""
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return one.y > other.y and not beside


def form_for(width: int, height: int) -> Form:
    """Choose the form for a size."""
    if width < COLUMN_FROM or height < ROWS_FROM:
        return "numbers"
    return "column" if width < GRID_FROM else "grid"


def arrange(width: int, height: int, needs: ContentNeeds) -> Arrangement:
    """Place every panel on `width` × `height` cells."""
    form = form_for(width, height)
    head = [PanelRect("status", 0, 0, width, 1)]
    footer = [PanelRect("footer", 0, height - 1, width, 1)] if height >= 6 else []
    if needs.headline and height >= HEADLINE_FROM:
        head.append(PanelRect("headline", 0, 1, width, needs.headline))
    top = sum(place.height for place in head)
    rows = height - top - len(footer)
    if rows < 1:
        return Arrangement(form, tuple(head))
    if needs.maximised and form != "numbers":
        body = [PanelRect("chart-0", 0, top, width, rows)]
    elif form == "numbers":
        body = [PanelRect("numbers", 0, top, width, rows)]
    elif form == "column":
        body = _column(width, top, rows, needs)
    else:
        body = _grid(width, top, rows, needs)
    return Arrangement(form, (*head, *body, *footer))


def _column(width: int, top: int, rows: int, needs: ContentNeeds) -> list[PanelRect]:
    heights = _heights(rows, needs, _below(max(LOWER_ROWS, rows // 5), needs.lower, needs))
    lower = needs.lower or ("inspector" if needs.cursor else "events")
    count = max(1, min(needs.charts, heights.charts // GOOD_CHART_ROWS))
    places = []
    y = top
    for index, size in enumerate(_split(heights.charts, count)):
        places.append(PanelRect(f"chart-{index}", 0, y, width, size))
        y += size
    y = _lines(places, heights, y, width)
    if heights.below:
        places.append(PanelRect(lower, 0, y, width, heights.below))
    return places


def _grid(width: int, top: int, rows: int, needs: ContentNeeds) -> list[PanelRect]:
    side = side_width(width)
    main = width - side
    lower = "" if side and needs.lower in IN_SIDE else needs.lower
    if not lower and needs.devices > 1 and rows >= ROOMY:
        lower = "gpu"
    share = max(LOWER_ROWS + 1, rows // 5 + 1)
    below = _below(share, lower, needs)
    pointed = needs.cursor and not needs.lower and not side
    if pointed:
        # The line of the accelerators takes the place of their panel.
        below = max(LOWER_ROWS, below - (lower == "gpu"))
        lower = "inspector"
    heights = _heights(rows, replace(needs, gpu=needs.gpu and lower != "gpu"), below)
    places = _chart_grid(main, top, heights.charts, needs.charts)
    y = _lines(places, heights, top + heights.charts, main)
    if heights.below:
        left = 0
        if lower and lower != "events":
            # Few rows under a cursor show as many values in more columns.
            wide = pointed and heights.below < share
            left = main * 3 // 5 if wide else max(40, main * 9 // 25)
            places.append(PanelRect(lower, 0, y, left, heights.below))
        places.append(PanelRect("events", left, y, main - left, heights.below))
    if side:
        places += _side(main, top, side, rows, needs)
    return places


def _below(share: int, lower: str, needs: ContentNeeds) -> int:
    """Return the height of what is below the charts: what it would not fill is left to them."""
    lines = -(-max(1, needs.events) // EVENTS_GROW) * EVENTS_GROW
    events = min(share, max(LOWER_ROWS, lines + 2))
    if lower == "gpu":  # a frame, a row a device, the process
        return max(events, min(needs.devices + 3, share * 5 // 4))
    return events if lower in ("", "events") else share


def _lines(places: list[PanelRect], heights: _Heights, y: int, width: int) -> int:
    """Place the contribution and the accelerators' summary; gives the row below them."""
    if heights.contribution:
        places.append(PanelRect("contribution", 0, y, width, heights.contribution))
        y += heights.contribution
    if heights.gpu:
        places.append(PanelRect("gpu-line", 0, y, width, heights.gpu))
        y += heights.gpu
    return y


def side_width(width: int) -> int:
    """Return the columns of the side panel, 0 where there is none."""
    return min(64, max(44, width // 4)) if width >= SIDE_FROM else 0


def _side(x: int, top: int, width: int, rows: int, needs: ContentNeeds) -> list[PanelRect]:
    """Place inspector and diagnoses; what one of them would not fill is the other one's."""
    if rows < 24:
        return [PanelRect("inspector", x, top, width, rows)]
    upper = rows * 3 // 5
    if needs.values < upper:
        upper = max(rows // 4, needs.values)
    elif needs.findings < rows - upper:
        upper = rows - max(LOWER_ROWS, rows // 5, needs.findings)
    return [
        PanelRect("inspector", x, top, width, upper),
        PanelRect("diagnoses", x, top + upper, width, rows - upper),
    ]


def _chart_grid(width: int, top: int, rows: int, charts: int) -> list[PanelRect]:
    """Place charts in lines: the first, of what matters most, has fewer and taller ones."""
    first = min(3 if width >= THREE_FROM else 2, max(1, charts))
    further = first + (width // (first + 1) >= LEAST_CHART_COLUMNS)
    possible = max(1, rows // GOOD_CHART_ROWS)
    lines = min(possible, 1 + -(-(charts - first) // further)) if charts > first else 1
    counts = [first, *_split(min(charts - first, further * (lines - 1)), lines - 1)]
    places: list[PanelRect] = []
    y = top
    for size, in_line in zip(_split(rows, lines), counts, strict=True):
        x = 0
        for cell in _split(width, in_line):
            places.append(PanelRect(f"chart-{len(places)}", x, y, cell, size))
            x += cell
        y += size
    return places


@dataclass(frozen=True, slots=True)
class _Heights:
    """Rows of each part of the screen."""

    charts: int
    contribution: int
    gpu: int
    below: int


def _heights(rows: int, needs: ContentNeeds, wanted_below: int) -> _Heights:
    """Share `rows` among charts and what is below them: charts first, then in order.

    The contribution is one row; a bar a term where there is room for that.
    """
    full = min(needs.terms, 8) + 2 if needs.terms else 0
    contribution = full if rows >= ROOMY else min(1, full)
    gpu = int(needs.gpu)
    if rows - contribution - gpu < CHART_ROWS:
        contribution = gpu = 0
    spare = rows - contribution - gpu - CHART_ROWS
    below = min(wanted_below, spare) if spare >= LOWER_ROWS else 0
    return _Heights(rows - contribution - gpu - below, contribution, gpu, below)


def _split(total: int, parts: int) -> list[int]:
    """Cut `total` into whole parts that differ by one at most, larger ones first."""
    if parts < 1:
        return []
    size, extra = divmod(total, parts)
    return [size + (index < extra) for index in range(parts)]

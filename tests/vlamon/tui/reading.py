"""Reads charts back from a terminal's cells: what a person sees, as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

import numpy as np
import pyte
from rich.console import Console

from tests.vlamon.tui.driving import running
from tests.vlamon.tui.fake_feed import fed
from vlamon.charts.braille import BLANK, lit
from vlamon.charts.metric_roles import roles_of_lines
from vlamon.charts.viewport import Window
from vlamon.charts.y_labels import GUTTER
from vlamon.records import Record
from vlamon.tui.themes import load_themes

SIZE = (120, 40)
DUSK = load_themes().themes["dusk"].colours
UNITS = {"k": 1e3, "M": 1e6}


@dataclass(frozen=True, slots=True)
class Read:
    """One chart on the screen."""

    title: str
    """Its title row."""
    title_colours: dict[str, str]
    """Colour of each word of the title."""
    cells: list[list[tuple[str, str, str]]]
    """Character, ink and paper of each cell of the plot."""
    ends: list[list[tuple[str, str]]]
    """Character and ink of what stands right of the plot."""
    labels: dict[int, float]
    """Value that stands beside a row."""
    window: Window
    axis: str

    @property
    def columns(self) -> int:
        return 2 * len(self.cells[0])

    def dots(self, column: int, role: str) -> list[int]:
        """Dot rows, from the top, that are lit in a dot column in the colour of a role."""
        found = []
        for row, cells in enumerate(self.cells):
            char, ink, _ = cells[column // 2]
            if ink == DUSK[role].lstrip("#") and BLANK < ord(char) < BLANK + 256:
                found += [
                    4 * row + dot for dot in range(4) if lit(ord(char) - BLANK, column % 2, dot)
                ]
        return found

    def dot_of(self, value: float) -> float:
        """Dot row of a value, by the labels: a tick lies on the second dot of its row."""
        rows = sorted(self.labels)
        first, last = rows[0], rows[-1]
        per_dot = (self.labels[first] - self.labels[last]) / (4 * (last - first))
        return 4 * first + 1 - (value - self.labels[first]) / per_dot

    def column_of(self, step: float) -> int:
        found = self.window.column(step)
        assert found is not None
        return found

    def in_colour(self, column: int, role: str) -> str:
        """Characters of a column's cells that have a role's colour."""
        ink = DUSK[role].lstrip("#")
        here = (cells[column // 2] for cells in self.cells)
        return "".join(char for char, own, _ in here if own == ink)


async def read(*records: Record, baseline: Sequence[Record] = ()) -> list[Read]:
    """Show a run, over another one where it has a baseline, on a terminal of 120×40 and read its
    charts back."""
    async with running(fed(*records), size=SIZE) as (pilot, screen, _):
        if baseline:
            screen.shell.baseline = fed(*baseline)
            screen.repaint()
        for _ in range(3):
            await pilot.pause(0.05)
        terminal = pyte.Screen(*SIZE)
        stream = pyte.Stream(terminal)
        console = Console(
            file=StringIO(), color_system="truecolor", force_terminal=True, width=SIZE[0]
        )
        for y, strip in enumerate(screen._compositor.render_strips()):
            stream.feed(f"\x1b[{y + 1};1H{strip.render(console)}")
        return [
            _read(terminal, chart.region, chart.shown)
            for chart in screen.placement.charts
            if chart.shown is not None
        ]


def _read(terminal: pyte.Screen, region: object, window: Window) -> Read:
    left, top, width, height = region  # type: ignore[misc]
    grid = [
        [terminal.buffer[y][x] for x in range(left, left + width)] for y in range(top, top + height)
    ]
    title = "".join(cell.data for cell in grid[0])
    plot = window.columns // 2
    body = [row[1 + GUTTER : 1 + GUTTER + plot] for row in grid[1:-1]]
    labels = {
        y: _number("".join(cell.data for cell in row[1 : 1 + GUTTER]))
        for y, row in enumerate(grid[1:-1])
        if "".join(cell.data for cell in row[1 : 1 + GUTTER]).strip()
    }
    words = {match.group(): grid[0][match.start()].fg for match in re.finditer(r"\S+", title)}
    return Read(
        title,
        words,
        [[(cell.data, cell.fg, cell.bg) for cell in row] for row in body],
        [[(cell.data, cell.fg) for cell in row[1 + GUTTER + plot : -1]] for row in grid[1:-1]],
        labels,
        window,
        "".join(cell.data for cell in grid[-1]),
    )


def _number(text: str) -> float:
    text = text.strip()
    return float(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else float(text)


def column_means(found: Read, steps: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, float]]:
    """Each dot column that holds batches, with their mean."""
    columns = np.floor(steps / found.window.bin).astype(int) - found.window.first
    for column in np.unique(columns).tolist():
        if 0 <= column < found.columns:
            held = values[(columns == column) & np.isfinite(values)]
            yield column, float(held.mean())


def off_by(found: Read, column: int, mean: float, role: str) -> float:
    """Dot rows between what is drawn in a column and the truth; 0 within a vertical stroke."""
    dots = found.dots(column, role)
    if not dots:
        return np.inf
    wanted = found.dot_of(mean)
    return max(0.0, min(dots) - wanted, wanted - max(dots))


def colours_of(names: list[str]) -> dict[str, str]:
    return dict(zip(names, roles_of_lines(names), strict=True))

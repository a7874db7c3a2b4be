"""The title row of a chart: what it says of the newest batches, or of the cursor's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.band import Band
from vlamon.charts.baseline import Baseline, ChartDifference
from vlamon.charts.cells import BASELINE
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.frame import Readout, title_row
from vlamon.charts.glyphs import Glyphs, plain
from vlamon.charts.headline import Headline, of_lines
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row, shorten

if TYPE_CHECKING:
    from vlamon.charts.series import Drawing
    from vlamon.charts.track import JudgedBatch
    from vlamon.store import RunStore

NAME = 16
"""Most cells of the other run's name beside its value at the cursor."""


class Title:
    """Writes the title of one chart; slow figures are worked out again once in a while."""

    def __init__(
        self,
        metrics: Sequence[str],
        roles: Sequence[str],
        names: Sequence[str],
        band: Band | None = None,
    ) -> None:
        self._metrics = metrics
        self._roles = roles
        self._names = names
        self._headline = Headline(metrics[0], band)
        self._comparison = ChartDifference(metrics)

    def row(
        self,
        text: str,
        store: RunStore,
        drawing: Drawing,
        judged: dict[tuple[int, str], JudgedBatch],
        *,
        cursor_row: int | None,
        width: int,
        look: ChartStyle,
        glyphs: Glyphs,
        baseline: Baseline | None = None,
    ) -> Row:
        """Return the row with the cursor's values and its step, or with what the newest are."""
        at = ""
        if cursor_row is not None:
            at = count(int(store.steps(cursor_row, cursor_row + 1)[0]))
            readouts = self._at_cursor(store, cursor_row, baseline)
        elif len(self._metrics) == 1:
            readouts = self._headline.readouts(store, self._roles[0], judged, glyphs)
        else:
            readouts = of_lines(drawing.ends, drawing, self._names)
        broken = bool(readouts) and readouts[0].role.startswith("explode")
        if cursor_row is None and baseline is not None and not broken:
            apart = self._comparison.readout(store, baseline)
            readouts[1:1] = [] if apart is None else [apart]
        if look.ascii_only:
            readouts = [
                Readout(plain(one.text), one.role, one.label, one.spare) for one in readouts
            ]
        return title_row(text, readouts, width, glyphs, look, at)

    def _at_cursor(self, store: RunStore, row: int, baseline: Baseline | None) -> list[Readout]:
        found = []
        for metric, role, label in zip(self._metrics, self._roles, self._names, strict=True):
            value = store.value(metric, row)
            loud = value is not None and not math.isfinite(value)
            role = "explode bold" if loud else f"{role} bold"
            found.append(Readout(number(value), role, label))
        if baseline is not None and len(self._metrics) == 1:
            step = int(store.steps(row, row + 1)[0])
            theirs = baseline.store.row_of_step(step)
            value = None if theirs is None else baseline.store.value(self._metrics[0], theirs)
            text = f"{shorten(baseline.name, NAME)} {number(value)}"
            found.append(Readout(text, BASELINE, spare=1))
        return found

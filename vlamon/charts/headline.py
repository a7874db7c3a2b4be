"""What the title of a chart says of its metric: where it stands, how it moves, what broke."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.catalogue import entry
from vlamon.charts.band import Band
from vlamon.charts.frame import Readout
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import number
from vlamon.charts.series import Drawing, End, last_value, short_value
from vlamon.charts.track import JudgedBatch
from vlamon.charts.trend import Slope, Trend, trend_of

if TYPE_CHECKING:
    from vlamon.store import RunStore

ALERT_ROWS = 64
"""Batches after an explosion during which the title tells of it, unless a rollback came first."""
SETTINGS = ("lr",)
"""Families whose newest value counts: no mean of them says anything."""
EVERY = 10
"""Fewest batches after which the trend is fitted again."""


class Headline:
    """The title's values of one chart; the trend is fitted again once in a while."""

    def __init__(self, metric: str, band: Band | None = None) -> None:
        self.metric = metric
        self._band = band
        self._setting = entry(metric).family in SETTINGS
        self._key: tuple[int, int] = (-1, 0)
        self._trend = Trend(math.nan)
        self._moves: tuple[Trend, Glyphs, list[Readout]] | None = None
        """What was said last of how the metric moves, and of which trend."""

    def readouts(
        self,
        store: RunStore,
        role: str,
        judged: dict[tuple[int, str], JudgedBatch],
        glyphs: Glyphs,
    ) -> list[Readout]:
        """Return what the title says of the newest batches."""
        latest = store.latest(self.metric)
        if latest is None:
            return []
        if not math.isfinite(latest):
            return [Readout(number(latest), "explode bold")]
        alarm = self._alarm(store, judged, latest)
        if alarm is not None:
            return alarm
        if self._setting:
            return [Readout(number(latest, 3), f"{role} bold")]
        trend = self.trend(store)
        if trend.batches <= 1 or not math.isfinite(trend.mean):
            return [Readout(number(latest), f"{role} bold"), *self._slope(trend, glyphs)]
        steady = trend.slope is not None and not (trend.slope.per_step or trend.slope.error)
        found = [Readout(number(trend.mean, 3), f"{role} bold")]
        if not steady:
            found += self._slope(trend, glyphs)
            found.append(Readout(f" (batch {number(latest)})", "muted", spare=3))
        return found

    def _slope(self, trend: Trend, glyphs: Glyphs) -> list[Readout]:
        """Say how the metric moves; the same words until the trend is fitted again."""
        if self._moves is None or self._moves[0] is not trend or self._moves[1] is not glyphs:
            self._moves = trend, glyphs, _slope(trend, self.metric, glyphs, 2)
        return self._moves[2]

    def trend(self, store: RunStore) -> Trend:
        """Return the trend as of the newest batches, or of a few batches before."""
        rows, attempts = self._key
        if attempts != len(store.attempts) or not 0 <= store.rows - rows < max(EVERY, rows // 1000):
            self._key = (store.rows, len(store.attempts))
            self._trend = trend_of(store, self.metric)
        return self._trend

    def _alarm(
        self, store: RunStore, judged: dict[tuple[int, str], JudgedBatch], latest: float
    ) -> list[Readout] | None:
        """Tell of an explosion that is still new: `95.2 = 11× median`. The verdict on a batch names
        one metric; the others that went with it are measured by their own bands."""
        since = max(store.attempts[-1].first_row, store.rows - ALERT_ROWS) if store.rows else 0
        for one in reversed(judged.values()):
            if one.metric == self.metric and one.role == "explode" and one.row >= since:
                value = number(store.value(self.metric, one.row), 3)
                ratio = f" = {number(one.ratio, 2)}× median" if math.isfinite(one.ratio) else ""
                return [Readout(f"{value}{ratio}", "explode bold")]
        beyond = None if self._band is None else self._band.ratio_beyond(latest)
        if beyond is None:
            return None
        return [Readout(f"{number(latest, 3)} = {number(beyond, 2)}× median", "explode bold")]


def _slope(trend: Trend, metric: str, glyphs: Glyphs, spare: int) -> list[Readout]:
    """Tell how a metric moves: `▾0.6±0.2 %/1k`, green or red by what is good, or grey `flat`."""
    slope = trend.slope
    if slope is None or not trend.mean or not math.isfinite(slope.error) or trend.span < 100:
        return []
    per, unit = (1000, "1k") if trend.span >= 1000 else (100, "100")
    share = 100 * per / abs(trend.mean)
    change, error = slope.per_step * share, slope.error * share
    if error >= 100:
        return []  # `flat ±189 %` of a metric that halved says nothing
    if slope.flat:
        return [Readout(f"flat {_error(error)} %/{unit}", "muted", spare=spare)]
    size = _rounded(abs(change), error)
    margin = _error(error, size) if error > 0.005 * abs(change) else ""
    text = f"{glyphs.up if change > 0 else glyphs.down}{size}{margin} %/{unit}"
    return [Readout(text, direction_role(slope, metric), spare=spare)]


def direction_role(slope: Slope, metric: str) -> str:
    """Return the role of a trend: `ok` for the better, `explode` for the worse."""
    better = entry(metric).better
    if slope.flat or better not in ("lower", "higher"):
        return "muted" if slope.flat else "foreground"
    return "ok" if (slope.per_step < 0) == (better == "lower") else "explode"


def _rounded(value: float, error: float) -> str:
    """Write a value as finely as its error allows, in three digits at most."""
    if value >= 999.5:
        return ">999"
    decimals = 0 if error <= 0 or value >= 100 else min(3, max(0, -math.floor(math.log10(error))))
    return f"{value:.{max(decimals, 1 if value < 10 else 0)}f}"


def _error(error: float, beside: str = "") -> str:
    """Write an error with one digit, or with the decimals of the value before it."""
    if beside:
        decimals = len(beside.partition(".")[2])
    else:
        decimals = max(0, -math.floor(math.log10(error))) if error > 0 else 0
    text = f"{error:.{min(decimals, 3)}f}"
    return f"±{text}" if float(text) else f"±{error:.1g}"


def of_lines(ends: Sequence[End], drawing: Drawing, names: Sequence[str]) -> list[Readout]:
    """Return what the title says of several lines: their mean, or median and outlier."""
    if drawing.outlier is not None or (drawing.curves and not ends):
        return _of_many(drawing, names)
    if not ends:
        return [Readout("–", "muted")]
    mean = sum(end.value for end in ends) / len(ends)
    return [Readout(f"mean {short_value(mean)}", "foreground bold")]


def _of_many(drawing: Drawing, names: Sequence[str]) -> list[Readout]:
    live = drawing.live
    last = last_value(live[0].line) if live else None
    if last is None:
        return [Readout("–", "muted")]
    found = [Readout(f"median {short_value(last)}", f"{live[0].role} bold")]
    if drawing.outlier is not None:
        name = names[drawing.outlier.index]
        found.append(
            Readout(f"{name} ×{number(drawing.outlier.ratio, 2)}", f"{live[-1].role} bold")
        )
    return found

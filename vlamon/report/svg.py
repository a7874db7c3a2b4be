"""Charts as inline SVG: every column keeps its least and greatest value, so no spike is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.contributions import Contributions
from vlamon.analysis.series import Series
from vlamon.charts.numbers import number, percent
from vlamon.charts.scale import Scale, fit
from vlamon.charts.ticks import linear_ticks, log_ticks
from vlamon.report.drawing import Columns, axis_label, columns_of
from vlamon.safe_text import html_text

WIDTH, HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 26
_MARKED = 200
_FEW = 60
"""Up to so many values, each gets a dot."""


def chart(series: Series, title: str, anomalies: Sequence[Anomaly], guide: float | None) -> str:
    """One curve with its axes, its anomalies marked and an optional horizontal line."""
    width = WIDTH - _LEFT - _RIGHT
    few = len(series) <= _FEW
    drawn = columns_of(series, min(width, len(series)) if few else width)
    low, high = drawn.range
    keep = (guide,) if guide is not None and low / 3 < guide < high * 3 else ()
    scale = fit(
        [(drawn.low.astype(np.float32), drawn.high.astype(np.float32))],
        log=drawn.log,
        robust=False,
        keep=keep,
    )
    frame = _Frame(scale, len(drawn.low))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html_text(title)}">',
        f"<title>{html_text(title)}</title>",
        *_y_axis(frame, drawn.log),
        *_x_axis(series, drawn),
    ]
    if keep:
        y = frame.y(keep[0])
        parts.append(f'<line class="guide" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        label = f"ln V {number(guide)}"
        parts.append(f'<text class="guide" x="{WIDTH - _RIGHT - 4}" y="{y - 4}">{label}</text>')
    parts += _curve(frame, drawn, few)
    parts += _marks(frame, series, drawn, anomalies)
    parts.append("</svg>")
    return "\n".join(parts)


def bars(shares: Contributions) -> str:
    """The shares of the total as one bar with a legend."""
    parts = ['<svg viewBox="0 0 720 58" role="img" aria-label="shares">']
    at = 0.0
    for index, term in enumerate(shares.terms):
        share = term.share if term.share is not None and math.isfinite(term.share) else 0.0
        width = 720 * share
        parts.append(
            f'<rect class="share s{index % 6}" x="{at:.2f}" y="4" width="{max(width, 0.5):.2f}" '
            f'height="26"><title>{html_text(term.name)} {percent(share)}</title></rect>'
        )
        at += width
    x = 0
    for index, term in enumerate(shares.terms):
        label = f"{term.name} {percent(term.share)}"
        parts.append(f'<rect class="share s{index % 6}" x="{x}" y="40" width="10" height="10"/>')
        parts.append(f'<text class="legend" x="{x + 15}" y="49">{html_text(label)}</text>')
        x += 30 + 7 * len(label)
    parts.append("</svg>")
    return "\n".join(parts)


class _Frame:
    """Places values and columns in the picture."""

    def __init__(self, scale: Scale, columns: int) -> None:
        self.scale = scale
        self._columns = columns

    def x(self, column: float) -> float:
        """Middle of a column."""
        width = WIDTH - _LEFT - _RIGHT
        share = (column + 0.5) / self._columns
        return round(_LEFT + share * width, 1)

    def y(self, value: float) -> float:
        """Height of a value."""
        low, high = self._placed(self.scale.low), self._placed(self.scale.high)
        share = (high - self._placed(value)) / (high - low) if high > low else 0.5
        return round(_TOP + min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 1)

    def _placed(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.scale.log else value


def _y_axis(frame: _Frame, log: bool) -> Iterator[str]:
    low, high = frame.scale.low, frame.scale.high
    for tick in log_ticks(low, high, 6) if log else linear_ticks(low, high, 6):
        y = frame.y(tick.value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="y" x="{_LEFT - 6}" y="{y + 4}">{tick.label}</text>'


def _x_axis(series: Series, drawn: Columns) -> Iterator[str]:
    y = HEIGHT - 8
    unit = "epoch" if series.grain == "epoch" else "step"
    yield f'<text class="x" x="{_LEFT}" y="{y}">{unit} {axis_label(drawn.first)}</text>'
    yield f'<text class="x end" x="{WIDTH - _RIGHT}" y="{y}">{axis_label(drawn.last)}</text>'


def _curve(frame: _Frame, drawn: Columns, few: bool) -> Iterator[str]:
    upper: list[str] = []
    lower: list[str] = []
    for column, (low, high) in enumerate(zip(drawn.low.tolist(), drawn.high.tolist(), strict=True)):
        if math.isnan(low):
            yield from _stroke(upper, lower)
            upper, lower = [], []
            continue
        upper.append(f"{frame.x(column)},{frame.y(high)}")
        lower.append(f"{frame.x(column)},{frame.y(low)}")
        if few:
            yield f'<circle class="dot" cx="{frame.x(column)}" cy="{frame.y(high)}" r="2.5"/>'
    yield from _stroke(upper, lower)
    for column in np.flatnonzero(drawn.broken).tolist():
        yield f'<text class="nan" x="{frame.x(column)}" y="{_TOP + 10}">✕</text>'


def _stroke(upper: list[str], lower: list[str]) -> Iterator[str]:
    if not upper:
        return
    if upper != lower:
        yield f'<polygon class="band" points="{" ".join(upper + lower[::-1])}"/>'
    yield f'<polyline class="curve" points="{" ".join(upper)}"/>'


def _marks(
    frame: _Frame, series: Series, drawn: Columns, anomalies: Sequence[Anomaly]
) -> Iterator[str]:
    width = len(drawn.low)
    for anomaly in anomalies[:_MARKED]:
        if anomaly.metric != series.name or anomaly.grain != series.grain:
            continue
        rows = np.flatnonzero((series.step == anomaly.step) & (series.epoch == anomaly.epoch))
        if not len(rows) or not math.isfinite(anomaly.value):
            continue
        x, y = frame.x(int(rows[0]) * width // len(series)), frame.y(anomaly.value)
        end = x > WIDTH - 160
        yield f'<circle class="mark {anomaly.level}" cx="{x}" cy="{y}" r="5"/>'
        label = html_text(f"{number(anomaly.value)} · {anomaly.where}")
        place = x - 9 if end else x + 9
        yield f'<text class="mark{" end" if end else ""}" x="{place}" y="{y + 4}">{label}</text>'

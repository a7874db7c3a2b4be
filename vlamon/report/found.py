"""The line that says what was read, such as `2,001 rows, steps 1–20,000, loss 12.27 → 3.68`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlamon.analysis.overview import Overview
from vlamon.charts.numbers import number
from vlamon.report.words import LANGUAGES


def found_line(overview: Overview | None, formats: Sequence[str], lang: str) -> str:
    """Rows, span, main loss and format; empty where nothing was read."""
    if overview is None:
        return ""
    say = LANGUAGES[lang]
    rows = say["found-row" if overview.rows == 1 else "found-rows"]
    parts = [rows.format(rows=f"{overview.rows:,}"), span(overview, lang)]
    if overview.metric and not math.isnan(overview.last):
        loss = f"{overview.metric} {number(overview.first)} → {number(overview.last)}"
        if not math.isnan(overview.best):
            place = (
                f"{overview.best_at:,g}" if overview.best_at < 1e6 else f"{overview.best_at:,.0f}"
            )
            at = say["found-epoch" if overview.by_epoch else "found-step"].format(at=place)
            loss += say["found-best"].format(best=number(overview.best), at=at)
        parts.append(loss)
    parts += list(dict.fromkeys(filter(None, formats)))
    return say["comma"].join(filter(None, parts))


def number_at(place: float) -> str:
    """A step with thousands apart, or an epoch, which may be fractional."""
    return f"{place:,.0f}" if place.is_integer() else f"{place:.4g}"


def span(overview: Overview, lang: str) -> str:
    """From which step or epoch to which; empty where the log counts neither."""
    if not math.isfinite(overview.begin):
        return ""
    key = "found-epochs" if overview.by_epoch else "found-steps"
    begin, end = map(number_at, (overview.begin, overview.end))
    return LANGUAGES[lang][key].format(span=begin if begin == end else f"{begin}–{end}")

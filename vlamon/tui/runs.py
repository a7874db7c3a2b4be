"""Several runs in one list: what a row says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlamon.analysis.liveness import Alive
from vlamon.charts.cells import BASELINE
from vlamon.charts.glyphs import Glyphs, event_glyph
from vlamon.charts.metric_order import leading_first
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row, column, shorten, shorten_name
from vlamon.charts.sparkline import sparkline
from vlamon.charts.trend import trend_of
from vlamon.tui.frame_context import run_name
from vlamon.tui.severity import alarming, severity_role
from vlamon.tui.widgets.status_line import pulse_words

if TYPE_CHECKING:
    from vlamon.store import RunStore
    from vlamon.tui.host import RunFeed

NAME = 18
STATE = 14
METRIC = 13
ALERT = 24
SPARK = 28
"""Cells of a run's name, its state, its first metric, its newest alert and the metric's curve: what
a narrow screen cuts off comes last."""


def labels(feeds: Sequence[RunFeed]) -> list[str]:
    """Return what each run is called; where several have one name, as the user named them."""
    names = [run_name(feed.store) for feed in feeds]
    return [
        feed.named if feed.named and names.count(name) > 1 else name
        for feed, name in zip(feeds, names, strict=True)
    ]


def run_row(label: str, store: RunStore, alive: Alive, glyphs: Glyphs, under: bool = False) -> Row:
    """Write name, state, step, first metric with its curve, and the newest alert of a run; a sign
    where it lies `under` the charts of the others."""
    role, word = pulse_words(alive)
    info = store.info
    host = f" {info.host}" if info is not None and info.host else ""
    if len(label) + len(host) > NAME:
        host = ""
    step = count(int(store.steps(store.rows - 1)[0])) if store.rows else "–"
    return (
        ("Δ" if under else " ", BASELINE),
        (f"{column(shorten_name(label + host, NAME, glyphs.ellipsis), NAME)} ", "title bold"),
        (f"{glyphs.dot} {column(shorten(word, STATE), STATE)}", role),
        (f"{step:>10} ", "foreground"),
        *_figures(store, alive, glyphs),
    )


def _figures(store: RunStore, alive: Alive, glyphs: Glyphs) -> Sequence[tuple[str, str]]:
    names = leading_first(store, store.metrics)
    alert = _newest_alert(store, glyphs)
    if not names or not store.rows:
        if alive.text and not alert[0].strip():
            return ((f" {alive.text}", pulse_words(alive)[0]),)  # why there is none
        return ((column(" no batch yet", METRIC), "muted"), alert)
    name = names[0]
    edges = np.linspace(0, store.rows, min(SPARK, store.rows) + 1)
    found = store.envelope(name, edges, axis="row")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = found.total / found.finite
    curve = sparkline(means, SPARK, glyphs.level)
    value = f" {name} {number(trend_of(store, name).mean, 3)}"
    role = role_of_metric(name)
    return (column(shorten(value, METRIC), METRIC), role), alert, (curve, role)


def _newest_alert(store: RunStore, glyphs: Glyphs) -> tuple[str, str]:
    # An autopsy tells of the explosion before it, which is the alert.
    alerts = (one for one in reversed(store.events) if alarming(one) and one.kind != "autopsy")
    event = next(alerts, None)
    if event is None:
        return " " * ALERT, ""
    text = f" {event_glyph(event, glyphs)} {event.kind} at {count(event.step)}"
    return column(shorten(text, ALERT - 1), ALERT), severity_role(event)

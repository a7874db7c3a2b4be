"""Find metrics by typing; pin their charts to the front or hide them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.metric_order import leading_first
from vlamon.charts.numbers import number
from vlamon.charts.panels import matching
from vlamon.charts.rows import Row, column, shorten_names
from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.themes import role_of_metric

if TYPE_CHECKING:
    from vlamon.tui.screens.main import MainScreen


def metrics_dialog(main: MainScreen) -> Choice:
    """List the run's metrics with their newest values; Enter pins, Tab hides; both stay open."""

    def items(words: str) -> Sequence[Item]:
        with main.feed.lock:
            names = matching(leading_first(main.store, main.store.metrics), words)
            short = shorten_names(tuple(main.store.metrics), 41)
            return [Item(name, _line(main, name, short[name])) for name in names]

    def pin(name: str) -> bool:
        if name in main.pinned:
            main.pinned.remove(name)
        else:
            main.pinned.append(name)
            main.hidden.discard(name)
        main.page = 0
        main.paint(force=True)
        return True

    def hide(name: str) -> None:
        if name in main.hidden:
            main.hidden.discard(name)
        else:
            main.hidden.add(name)
            if name in main.pinned:
                main.pinned.remove(name)
        main.paint(force=True)

    hint = "type to find, Enter pins, Tab hides, Esc leaves"
    return Choice(Choosing("metrics", items, hint, typed=True, on_tab=hide, on_enter=pin))


def _line(main: MainScreen, name: str, short: str) -> Row:
    glyphs = main.moment.glyphs if main.moment is not None else None
    pinned = (glyphs.pin if glyphs else "*") if name in main.pinned else " "
    hidden = "hidden" if name in main.hidden else ""
    spec = main.store.specs.get(name)
    kind = (
        f"trained ×{spec.weight:g}" if spec is not None and spec.weight is not None else "watched"
    )
    return (
        (f" {pinned} ", "accent bold"),
        (column(short, 42), "muted" if hidden else role_of_metric(name)),
        (number(main.store.latest(name)).rjust(11), "foreground"),
        (f"  {kind:<14} ", "muted"),
        (hidden, "warn"),
    )

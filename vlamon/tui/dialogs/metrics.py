"""Find metrics by typing; pin their charts to the front or hide them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.metric_order import leading_first
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import number
from vlamon.charts.panels import matching
from vlamon.charts.rows import Row, column, shorten_names
from vlamon.tui.dialogs.choice import Choice, Choosing, Item

if TYPE_CHECKING:
    from vlamon.tui.host import Host
    from vlamon.tui.placement import Placement


def metrics_dialog(host: Host, placement: Placement) -> Choice:
    """List the run's metrics with their newest values; Enter pins, Tab hides; both stay open."""

    def items(words: str) -> Sequence[Item]:
        with host.data_lock:
            names = matching(leading_first(host.store, host.store.metrics), words)
            short = shorten_names(tuple(host.store.metrics), 41)
            return [Item(name, _line(host, placement, name, short[name])) for name in names]

    def pin(name: str) -> bool:
        if name in placement.pinned:
            placement.pinned.remove(name)
        else:
            placement.pinned.append(name)
            placement.hidden.discard(name)
        placement.page = 0
        host.repaint()
        return True

    def hide(name: str) -> None:
        if name in placement.hidden:
            placement.hidden.discard(name)
        else:
            placement.hidden.add(name)
            if name in placement.pinned:
                placement.pinned.remove(name)
        host.repaint()

    hint = "type to find, Enter pins, Tab hides, Esc closes"
    choosing = Choosing("metrics", items, hint, typed=True, on_tab=hide, on_enter=pin)
    return Choice(host, choosing)


def _line(host: Host, placement: Placement, name: str, short: str) -> Row:
    pinned = host.shell.rendering.glyphs.pin if name in placement.pinned else " "
    hidden = "hidden" if name in placement.hidden else ""
    spec = host.store.specs.get(name)
    kind = (
        f"trained ×{spec.weight:g}" if spec is not None and spec.weight is not None else "watched"
    )
    return (
        (f" {pinned} ", "accent bold"),
        (column(short, 42), "muted" if hidden else role_of_metric(name)),
        (number(host.store.latest(name)).rjust(11), "foreground"),
        (f"  {kind:<14} ", "muted"),
        (hidden, "warn"),
    )

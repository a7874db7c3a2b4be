"""Action L1 by slot: how far each action of the horizon is off, how much is no action at all."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.catalogue import NO_ACTION_YET
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import number, percent
from vlamon.charts.rows import Row
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.widgets.numbers import history
from vlamon.tui.widgets.row_panel import RowPanel, framed

L1 = "l1_loss_action_"
ACCURACY = "acc_action_"
OUTSIDE = "action_outside"


def slot_metrics(names: Sequence[str]) -> list[str]:
    """Return the action L1 metrics in the order of their slots."""
    found = [name for name in names if name.startswith(L1) and name[len(L1) :].isdigit()]
    return sorted(found, key=lambda name: int(name[len(L1) :]))


def outside_share(frame: FrameContext) -> float | None:
    """Return the share of predicted action tokens outside the action range, where it is sent."""
    for name in (OUTSIDE, "outside_action_range"):
        if name in frame.store.metrics:
            return frame.store.latest(name)
    return None


class SlotsPanel(RowPanel):
    """A row a slot: L1 as a bar of the range 0 to 1, its history, the token accuracy."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the slots, earliest action first."""
        names = slot_metrics(frame.store.metrics)
        outside = outside_share(frame)
        right: Row = ()
        if outside is not None:
            role = "warn" if outside > 0.5 else "title"
            right = (("outside action range ", "muted"), (percent(outside), role))
        body = [_slot_row(frame, name, width - 2) for name in names]
        if not body:
            body = [((" this run logs no action L1", "muted"),)]
        title: Row = (("action L1, decoded, by slot", "title"),)
        return framed(title, right, body, width, height, frame.glyphs)


def _slot_row(frame: FrameContext, name: str, width: int) -> Row:
    store = frame.store
    slot = name[len(L1) :]
    value = store.value(name, frame.row) if frame.row is not None else None
    if value is None and not frame.at_cursor:
        value = store.latest(name)
    accuracy = store.latest(ACCURACY + slot)
    tail = f" acc {percent(accuracy, 0):>5}" if accuracy is not None else ""
    if value is not None and value >= NO_ACTION_YET:
        tail = " no action tokens yet"
    room = width - 16 - len(tail)
    role = role_of_metric(name)
    return (
        (f" slot {slot:<2} ", role),
        (number(value, 3).rjust(6) + " ", "foreground"),
        (history(frame, name, room), role),
        (tail, "muted"),
    )

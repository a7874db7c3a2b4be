"""What happened to the run, newest last; the chosen event is the one that the cursor stands on."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from vlamon.charts.glyphs import event_glyph
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row, fit, shorten
from vlamon.records import Event
from vlamon.tui.frame_context import FrameContext, severity_role
from vlamon.tui.widgets.row_panel import RowPanel, framed


class EventsPanel(RowPanel):
    """The newest events that fit, or those around the chosen one."""

    def key(self, frame: FrameContext) -> Hashable:
        """Give the number of events and the chosen one."""
        return len(frame.store.events), frame.event

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Give one row an event."""
        events = frame.store.events
        room = max(0, height - 2)
        first = window_start(events, frame.event, room)
        body = [event_row(event, width - 2, frame) for event in list(events[first : first + room])]
        if not body:
            body = [((" nothing has happened yet", "muted"),)]
        title: Row = (("events", "title"),)
        right: Row = ((f"{len(events)}", "muted"),) if events else ()
        return framed(title, right, body, width, height, frame.glyphs)

    def event_at(self, frame: FrameContext, y: int) -> Event | None:
        """Give the event on a row of the panel, for a click."""
        events = frame.store.events
        room = max(0, self.size.height - 2)
        index = window_start(events, frame.event, room) + y - 1
        return events[index] if 1 <= y <= room and 0 <= index < len(events) else None


def window_start(events: Sequence[Event], chosen: str, room: int) -> int:
    """Give the first event to show: the newest fill the panel, unless the chosen one is older."""
    newest = max(0, len(events) - room)
    if not chosen:
        return newest
    for index in range(len(events) - 1, -1, -1):
        if events[index].id == chosen:
            return min(newest, max(0, index - room // 2))
    return newest


def event_row(event: Event, width: int, frame: FrameContext) -> Row:
    """Write one event: when, what, where, why."""
    role = severity_role(event)
    glyph = event_glyph(event, frame.glyphs)
    chosen = frame.event == event.id
    clock = time.strftime("%H:%M:%S", time.localtime(event.time)) if event.time else "        "
    row: Row = (
        (f" {clock} ", "muted"),
        (f"{glyph} {event.kind:<10} ", role),
        (sentence(event), "foreground"),
    )
    if chosen:
        return fit(
            ((shorten("".join(text for text, _ in row), width), "foreground chosen"),), width
        )
    head = sum(len(text) for text, _ in row[:-1])
    text = shorten(row[-1][0], max(0, width - head), frame.glyphs.ellipsis)
    return (*row[:-1], (text, "foreground"))


def sentence(event: Event) -> str:
    """Give an event's own text, or one made of its data."""
    if event.text:
        text = event.text.removeprefix(f"{event.kind} ")
        said = count(event.step) in text or str(event.step) in text
        if event.counted and not said:
            text += f" at {count(event.step)}"
        return text
    data = event.data
    parts = []
    if "metric" in data:
        parts.append(str(data["metric"]))
    value = data.get("value")
    if isinstance(value, (int, float)):
        parts.append(number(float(value)))
    parts.append(f"at {count(event.step)}")
    extra = [
        f"{name} {number(float(data[name]), 3)}"
        for name in ("z", "ratio")
        if isinstance(data.get(name), (int, float))
    ]
    if extra:
        parts.append(f"({', '.join(extra)})")
    return " ".join(parts)

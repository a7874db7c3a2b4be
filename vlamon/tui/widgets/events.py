"""What happened to the run, newest last; the chosen event is the one that the cursor stands on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from vlamon.charts.glyphs import Glyphs, event_glyph
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row, fit, shorten
from vlamon.moments import local_time
from vlamon.records import Event
from vlamon.tui.event_list import FILTERS, Filter, Folded, fold, folded_sentence
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.severity import severity_role
from vlamon.tui.widgets.row_panel import RowPanel, framed


class EventsPanel(RowPanel):
    """The newest events that fit, or those around the chosen one."""

    def key(self, frame: FrameContext) -> Hashable:
        """Return the number of events, the chosen one and the filter."""
        return len(frame.store.events), frame.event, frame.events

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return one row an event; repeats share one."""
        lines = fold(frame.store.events, frame.events)
        room = max(0, height - 2)
        first = window_start(lines, frame.event, room)
        body = [event_row(line, width - 2, frame) for line in lines[first : first + room]]
        if not body:
            words = "nothing has happened yet" if frame.events == "all" else "none of these"
            body = [((f" {words}", "muted"),)]
        title: Row = (("events  ", "title"), *_filter_words(frame.events, frame.glyphs))
        total = len(frame.store.events)
        right: Row = ((f"{total}", "muted"),) if total else ()
        return framed(title, right, body, width, height, frame.glyphs)

    def event_at(self, frame: FrameContext, y: int) -> Event | None:
        """Return the event on a row of the panel, for a click."""
        lines = fold(frame.store.events, frame.events)
        room = max(0, self.size.height - 2)
        index = window_start(lines, frame.event, room) + y - 1
        return lines[index].newest if 1 <= y <= room and 0 <= index < len(lines) else None


def _filter_words(chosen: Filter, glyphs: Glyphs) -> Row:
    """Write the filters, the chosen one lit."""
    row: list[tuple[str, str]] = []
    for name in FILTERS:
        row += [(glyphs.other, "muted")] * bool(row)
        row.append((name, "accent" if name == chosen else "muted"))
    return tuple(row)


def window_start(lines: Sequence[Folded], chosen: str, room: int) -> int:
    """Return the first line to show: the newest fill the panel, unless the chosen one is older."""
    newest = max(0, len(lines) - room)
    if not chosen:
        return newest
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].has(chosen):
            return min(newest, max(0, index - room // 2))
    return newest


def event_row(line: Folded, width: int, frame: FrameContext) -> Row:
    """Write one line of events: when, what, where, why."""
    event = line.newest
    role = severity_role(event)
    glyph = event_glyph(event, frame.glyphs)
    chosen = bool(frame.event) and line.has(frame.event)
    clock = local_time(event.time) or " " * 8
    row: Row = (
        (f" {clock} ", "muted"),
        (f"{glyph} {event.kind:<10} ", role),
        (sentence(event) if len(line.events) == 1 else folded_sentence(line), "foreground"),
    )
    if chosen:
        return fit(
            ((shorten("".join(text for text, _ in row), width), "foreground chosen"),), width
        )
    head = sum(len(text) for text, _ in row[:-1])
    text = shorten(row[-1][0], max(0, width - head), frame.glyphs.ellipsis)
    return (*row[:-1], (text, "foreground"))


def sentence(event: Event) -> str:
    """Return an event's own text, or one made of its data."""
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

"""Every key of the dashboard, once: bindings, footer, help and docs are made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Chapter = Literal["Look", "Move", "Act", "Keep", "Rest"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key."""

    keys: str
    """Names as Textual knows them, comma-separated."""
    label: str
    """As printed on a keyboard."""
    action: str
    """Action of the main screen."""
    words: str
    """One or two words for the footer."""
    help: str
    """A sentence for the help page."""
    chapter: Chapter
    """Where help lists it."""
    footer: int = 0
    """Rank in the footer, 1 first; 0 is not there."""
    order: bool = False
    """Whether it is an order to the training process, hidden by `--read-only`."""


KEYS: tuple[Key, ...] = (
    Key("question_mark,f1", "?", "help", "help", "This page.", "Rest", 1),
    Key("slash", "/", "metrics", "metrics", "Find metrics; pin or hide their charts.", "Look", 2),
    Key("space", "space", "hold", "hold", "Hold the charts still, or let them follow.", "Move", 3),
    Key("left", "←", "cursor(-1)", "cursor", "Move the cursor a column to the left.", "Move"),
    Key("right", "→", "cursor(1)", "cursor", "Move the cursor a column to the right.", "Move", 4),
    Key("shift+left", "⇧←", "cursor(-10)", "cursor", "Move it ten columns to the left.", "Move"),
    Key("shift+right", "⇧→", "cursor(10)", "cursor", "Move it ten columns to the right.", "Move"),
    Key("comma", ",", "batch(-1)", "batch", "Move the cursor back by one batch.", "Move"),
    Key("full_stop", ".", "batch(1)", "batch", "Move the cursor on by one batch.", "Move"),
    Key("home", "Home", "edge(-1)", "start", "Put the cursor on the first batch.", "Move"),
    Key("end", "End", "edge(1)", "end", "Put the cursor on the newest batch.", "Move"),
    Key(
        "escape", "Esc", "back", "back", "Give up cursor, maximised chart or chosen event.", "Move"
    ),
    Key("z,plus", "z", "zoom(-1)", "zoom", "Zoom in by two, about the cursor.", "Move", 5),
    Key("Z,minus", "Z", "zoom(1)", "out", "Zoom out by two.", "Move"),
    Key("0", "0", "whole", "whole run", "Show the whole run.", "Move"),
    Key("less_than_sign", "<", "pan(-1)", "pan", "Pan to earlier steps.", "Move"),
    Key("greater_than_sign", ">", "pan(1)", "pan", "Pan to later steps.", "Move"),
    Key("f", "f", "follow", "follow", "Follow the newest data at this zoom.", "Move"),
    Key("n", "n", "event(1)", "next event", "Go to the next event.", "Move", 12),
    Key("N", "N", "event(-1)", "last event", "Go to the event before.", "Move"),
    Key("l", "l", "log", "log", "Logarithmic y (the focused chart, else all).", "Look", 6),
    Key(
        "s", "s", "smooth", "smooth", "Draw a smoothed line over the envelope: off, 4, 16.", "Look"
    ),
    Key("x", "x", "axis", "axis", "X axis: step, epoch, time since the start, clock.", "Look"),
    Key("o", "o", "outliers", "outliers", "Y range: clip short excursions, or show all.", "Look"),
    Key(
        "enter", "Enter", "maximise", "maximise", "Give the focused chart the whole screen.", "Look"
    ),
    Key(
        "tab", "Tab", "focus_chart(1)", "focus", "Focus the next chart, for l, Enter and i.", "Look"
    ),
    Key("shift+tab", "⇧Tab", "focus_chart(-1)", "focus", "Focus the chart before.", "Look"),
    Key("left_square_bracket", "[", "page(-1)", "charts", "The charts before.", "Look"),
    Key("right_square_bracket", "]", "page(1)", "charts", "The charts that come next.", "Look"),
    Key("b", "b", "lower", "panel", "Next panel below: GPU, slots, inspector, …", "Look", 13),
    Key("i", "i", "explain", "explain", "What the focused chart's metric means.", "Look", 11),
    Key("v", "v", "values", "values", "Every value of the cursor's batch, events in full.", "Look"),
    Key("d", "d", "diagnoses", "diagnoses", "Every diagnosis in full.", "Look"),
    Key("t", "t", "themes", "theme", "Choose a theme, previewed live.", "Look"),
    Key("c", "c", "checkpoint", "checkpoint", "Write a checkpoint now.", "Act", 7, True),
    Key("r", "r", "rollback", "rollback", "Choose a snapshot to go back to.", "Act", 8, True),
    Key("p", "p", "pause", "pause", "Pause the training, or let it go on.", "Act", 9, True),
    Key("m", "m", "note", "note", "Leave a note at this step.", "Act", 0, True),
    Key(
        "colon", ":", "set", "set", "Set a loss weight, lr scale, clip_grad, guard.", "Act", 0, True
    ),
    Key("a", "a", "acknowledge", "ack", "Acknowledge the alerts.", "Act", 10),
    Key("S", "S", "snapshot", "picture", "Save the screen as SVG.", "Keep"),
    Key("e", "e", "export", "CSV", "Save the run's batches as CSV.", "Keep"),
    Key("ctrl+p", "^p", "palette", "palette", "Every command by name.", "Rest", 14),
    Key("q,ctrl+c", "q", "leave", "quit", "Leave; the training goes on.", "Rest", 15),
)

CHAPTERS: tuple[Chapter, ...] = ("Look", "Move", "Act", "Keep", "Rest")


def keys_for(read_only: bool) -> tuple[Key, ...]:
    """Give the keys that a dashboard has."""
    return tuple(key for key in KEYS if not (read_only and key.order))

"""Every key of the dashboard, once: bindings, footer, help and docs are made from this table.

A user may give an action other keys (`keys` in a settings file); what is written changes with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from vlamon.errors import nearest

Chapter = Literal["Look", "Move", "Act", "Keep", "Rest"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key."""

    keys: str
    """Names as Textual knows them, comma-separated."""
    label: str
    """As printed on a keyboard."""
    action: str
    """What it does: `controller.method(arguments)`, or an action of the main screen."""
    words: str
    """One or two words for the footer."""
    help: str
    """A sentence for the help page."""
    chapter: Chapter
    """Where help lists it."""
    footer: int = 0
    """Rank in the footer, 1 first; 0 is not there."""
    command: bool = False
    """Whether it is a command to the training process, hidden by `--read-only`."""

    @property
    def name(self) -> str:
        """What a settings file calls the action: `next-event`."""
        return self.words.replace(" ", "-").lower()


KEYS: tuple[Key, ...] = (
    Key("question_mark,f1", "?", "pages.show_help", "help", "Keyboard shortcuts.", "Rest", 1),
    Key(
        "slash",
        "/",
        "pages.find_metrics",
        "metrics",
        "Find metrics; pin or hide their charts.",
        "Look",
        2,
    ),
    Key("space", "space", "navigation.toggle_hold", "freeze", "Freeze / follow.", "Move", 3),
    Key(
        "left",
        "←",
        "navigation.move_cursor(-1)",
        "cursor left",
        "Move the cursor a column to the left.",
        "Move",
    ),
    Key(
        "right",
        "→",
        "navigation.move_cursor(1)",
        "cursor",
        "Move the cursor a column to the right.",
        "Move",
        4,
    ),
    Key(
        "shift+left",
        "⇧←",
        "navigation.move_cursor(-10)",
        "10 columns left",
        "Move it ten columns to the left.",
        "Move",
    ),
    Key(
        "shift+right",
        "⇧→",
        "navigation.move_cursor(10)",
        "10 columns right",
        "Move it ten columns to the right.",
        "Move",
    ),
    Key(
        "comma",
        ",",
        "navigation.move_batch(-1)",
        "previous batch",
        "Move the cursor back by one batch.",
        "Move",
    ),
    Key(
        "full_stop",
        ".",
        "navigation.move_batch(1)",
        "next batch",
        "Move the cursor on by one batch.",
        "Move",
    ),
    Key(
        "home",
        "Home",
        "navigation.go_to_edge(-1)",
        "start",
        "Put the cursor on the first batch.",
        "Move",
    ),
    Key(
        "end",
        "End",
        "navigation.go_to_edge(1)",
        "end",
        "Put the cursor on the newest batch.",
        "Move",
    ),
    Key(
        "escape",
        "Esc",
        "navigation.back",
        "back",
        "Clear cursor, selection or zoomed chart.",
        "Move",
    ),
    Key(
        "z,plus", "z", "navigation.zoom(-1)", "zoom", "Zoom in by two, about the cursor.", "Move", 5
    ),
    Key("Z,minus", "Z", "navigation.zoom(1)", "out", "Zoom out by two.", "Move"),
    Key("0", "0", "navigation.show_whole_run", "whole run", "Show the whole run.", "Move"),
    Key("less_than_sign", "<", "navigation.pan(-1)", "pan left", "Pan to earlier steps.", "Move"),
    Key("greater_than_sign", ">", "navigation.pan(1)", "pan right", "Pan to later steps.", "Move"),
    Key("f", "f", "navigation.follow", "follow", "Follow the newest data at this zoom.", "Move"),
    Key("n", "n", "navigation.go_to_event(1)", "next event", "Go to the next event.", "Move", 12),
    Key(
        "N",
        "N",
        "navigation.go_to_event(-1)",
        "previous event",
        "Go to the previous event.",
        "Move",
    ),
    Key("g", "g", "navigation.ask_step", "go to", "Go to a step.", "Move", 4),
    Key(
        "w",
        "w",
        "navigation.go_to_worst(1)",
        "worst",
        "Next worst batch of the focused metric.",
        "Move",
        5,
    ),
    Key("W", "W", "navigation.go_to_worst(-1)", "less bad", "One back towards the worst.", "Move"),
    Key("M", "M", "navigation.mark", "mark", "Mark a batch; again: Δ of the means.", "Move"),
    Key("E", "E", "navigation.next_filter", "filter", "Events: all, warnings, errors.", "Look"),
    Key(
        "l",
        "l",
        "styling.toggle_log",
        "log",
        "Logarithmic y (the focused chart, else all).",
        "Look",
        6,
    ),
    Key(
        "s",
        "s",
        "styling.next_smoothing",
        "smooth",
        "Smooth the lines: off, auto, strong.",
        "Look",
    ),
    Key(
        "x",
        "x",
        "navigation.next_axis",
        "axis",
        "X axis: step, epoch, time since the start, clock.",
        "Look",
    ),
    Key(
        "o",
        "o",
        "styling.toggle_outliers",
        "outliers",
        "Y range: clip short excursions, or show all.",
        "Look",
    ),
    Key(
        "enter",
        "Enter",
        "placement.maximise",
        "maximise",
        "Show the focused chart alone, or all again.",
        "Look",
    ),
    Key(
        "tab", "Tab", "focus_chart(1)", "focus", "Focus the next chart, for l, Enter and i.", "Look"
    ),
    Key(
        "shift+tab",
        "⇧Tab",
        "focus_chart(-1)",
        "focus previous",
        "Focus the previous chart.",
        "Look",
    ),
    Key(
        "left_square_bracket",
        "[",
        "placement.turn_page(-1)",
        "previous charts",
        "Previous charts.",
        "Look",
    ),
    Key(
        "right_square_bracket", "]", "placement.turn_page(1)", "next charts", "Next charts.", "Look"
    ),
    Key(
        "b",
        "b",
        "placement.next_lower_panel",
        "panel",
        "Next panel below: GPU, slots, inspector, …",
        "Look",
        13,
    ),
    Key("i", "i", "pages.explain", "explain", "What the focused chart's metric means.", "Look", 11),
    Key(
        "v",
        "v",
        "pages.show_batch",
        "values",
        "Every value of the cursor's batch, events in full.",
        "Look",
    ),
    Key(
        "d",
        "d",
        "findings.show_page",
        "diagnoses",
        "What broke and why; all diagnoses.",
        "Look",
    ),
    Key("R", "R", "pages.show_runs", "runs", "Choose among several runs.", "Look"),
    Key("t", "t", "pages.choose_theme", "theme", "Choose a theme, previewed live.", "Look"),
    Key(
        "c",
        "c",
        "acting.send('checkpoint')",
        "checkpoint",
        "Write a checkpoint now.",
        "Act",
        7,
        True,
    ),
    Key(
        "r",
        "r",
        "acting.choose_rollback",
        "rollback",
        "Choose a snapshot to go back to.",
        "Act",
        8,
        True,
    ),
    Key("p", "p", "acting.pause", "pause", "Pause or resume the training.", "Act", 9, True),
    Key("m", "m", "acting.ask_note", "note", "Leave a note at this step.", "Act", 0, True),
    Key(
        "colon",
        ":",
        "acting.ask_setting",
        "set",
        "Set a loss weight, lr scale, clip_grad, guard.",
        "Act",
        0,
        True,
    ),
    Key("a", "a", "alerting.acknowledge", "ack", "Acknowledge alerts, hide headline.", "Act", 10),
    Key("S", "S", "picture", "picture", "Save the screen as SVG.", "Keep"),
    Key("e", "e", "pages.export", "CSV", "Save the run's batches as CSV.", "Keep"),
    Key("ctrl+p", "^p", "palette", "palette", "Every command by name.", "Rest", 14),
    Key("q,ctrl+c", "q", "leave", "quit", "Quit (training continues).", "Rest", 15),
)

CHAPTERS: tuple[Chapter, ...] = ("Look", "Move", "Act", "Keep", "Rest")


NAMED: tuple[str, ...] = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"),
    *("enter", "tab", "escape", "space", "backspace"),
    *(f"f{number}" for number in range(1, 25)),
)
"""Keys that have a name instead of a character."""
_MODIFIERS = re.compile(r"^(?:(?:ctrl|shift|alt)\+)*")
_CHARACTERS = {
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "colon": ":",
}
"""Characters that the table spells as Textual does."""


def keys_for(
    read_only: bool = False, changed: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Key, ...]:
    """Return the keys that a dashboard has; a read-only one has none that give commands."""
    changed = changed or {}
    found = (_rebound(key, changed.get(key.name, ())) for key in KEYS)
    return tuple(key for key in found if not (read_only and key.command))


def keymap(changed: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the keys of the actions that have others, as Textual spells them."""
    return {key.name: key.keys for key in keys_for(changed=changed) if key.name in changed}


def checked_keys(changed: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """The same keys by action; ValueError says what is wrong with one."""
    names = [key.name for key in KEYS]
    for name, keys in changed.items():
        if name not in names:
            raise ValueError(f"there is no action {name!r}{nearest(name, names)}")
        for key in keys:
            bare = _MODIFIERS.sub("", key)
            if not (len(bare) == 1 and bare.isprintable()) and bare not in NAMED:
                raise ValueError(f"there is no key {key!r} for {name}{nearest(bare, NAMED)}")
    taken: dict[str, str] = {}
    for bound in keys_for(changed=changed):
        for key in bound.keys.split(","):
            if key in taken:
                said = _CHARACTERS.get(key, key)
                raise ValueError(f"{said!r} is both {taken[key]} and {bound.name}")
            taken[key] = bound.name
    return changed


def _rebound(key: Key, keys: tuple[str, ...]) -> Key:
    if not keys:
        return key
    spelled = {character: name for name, character in _CHARACTERS.items()}
    label = keys[0].replace("ctrl+", "^").replace("shift+", "⇧").replace("alt+", "⌥")
    return replace(key, keys=",".join(spelled.get(each, each) for each in keys), label=label)

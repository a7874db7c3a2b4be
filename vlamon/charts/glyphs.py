"""The characters that panels draw with: one set for UTF-8, one for terminals that have ASCII only.

Braille falls back in the chart itself (docs/dashboard.md says to what).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlamon.charts.marks import came_about

if TYPE_CHECKING:
    from vlamon.records import Event


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of characters; every entry is one column wide."""

    top_left: str = "╭"
    top_right: str = "╮"
    bottom_left: str = "╰"
    bottom_right: str = "╯"
    horizontal: str = "─"
    vertical: str = "│"
    tick: str = "┴"
    bar: str = " ▏▎▍▌▋▊▉█"
    """Eighths of a horizontal bar, from nothing to full."""
    thick: str = "━"
    """A thin bar's filled part."""
    level: str = "▁▂▃▄▅▆▇█"
    """Levels of a sparkline."""
    dot: str = "●"
    ring: str = "○"
    warn: str = "⚠"
    explode: str = "✗"
    recovered: str = "✓"
    checkpoint: str = "◆"
    rollback: str = "↶"
    autopsy: str = "✎"
    paused: str = "‖"
    resumed: str = "▸"
    control: str = "»"
    end: str = "■"
    other: str = "·"
    up: str = "▴"
    down: str = "▾"
    times: str = "×"
    degree: str = "°"
    ellipsis: str = "…"
    both: str = "↔"
    pin: str = "•"
    minus: str = "−"


UNICODE = Glyphs()

ASCII = Glyphs(
    top_left="+",
    top_right="+",
    bottom_left="+",
    bottom_right="+",
    horizontal="-",
    vertical="|",
    tick="'",
    bar=" ####",
    thick="=",
    level="_.-=+*%#",
    dot="*",
    ring="o",
    warn="!",
    explode="X",
    recovered="v",
    checkpoint="#",
    rollback="<",
    autopsy="?",
    paused="=",
    resumed=">",
    control=":",
    end=".",
    other="-",
    up="^",
    down="v",
    times="x",
    degree="C",
    ellipsis="~",
    both="/",
    pin="*",
    minus="-",
)

_EVENT = {
    "warn": "warn",
    "explode": "explode",
    "recovered": "recovered",
    "checkpoint": "checkpoint",
    "rollback": "rollback",
    "autopsy": "autopsy",
    "note": "autopsy",
    "control": "control",
    "paused": "paused",
    "resumed": "resumed",
    "trainer_error": "explode",
    "end": "end",
}


def event_glyph(event: Event, glyphs: Glyphs) -> str:
    """Return the mark of an event: a plain one for unknown kinds, a warning's for what failed."""
    kind = event.kind if came_about(event) else "warn"
    return str(getattr(glyphs, _EVENT.get(kind, "other")))


_ASCII_TEXT = str.maketrans(
    {
        "×": "x",
        "−": "-",
        "–": "-",
        "…": "~",
        "·": "-",
        "°": " ",
        "√": "sqrt ",
        "²": "2",
        "↔": "/",
        "→": ">",
        "←": "<",
        "≥": ">=",
        "σ": "sd",
        "±": "+-",
        "Δ": "D",
    }
)


def plain(text: str) -> str:
    """Return text in ASCII: known signs by their nearest spelling, anything else as `?`."""
    return text.translate(_ASCII_TEXT).encode("ascii", "replace").decode("ascii")

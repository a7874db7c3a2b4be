"""Words to the terminal itself: title, bell, notification; never with anything but plain text."""

from __future__ import annotations

import select
from collections.abc import Mapping

from vlamon.safe_text import line

SAVE_TITLE = "\x1b[22;0t"
RESTORE_TITLE = "\x1b[23;0t"
CLEAR = "\x1b[H\x1b[2J"
"""Empties the alternate screen before it is left: tmux 3.3 pulls its upper rows into the normal
screen when the pane has grown meanwhile."""


def in_browser(environ: Mapping[str, str]) -> bool:
    """Say whether a web server carries the screen to a browser, in place of a terminal."""
    return environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def title(text: str) -> str:
    """Return the sequence that sets the title of window and tab."""
    return f"\x1b]0;{_plain(text)}\x07"


def notification(heading: str, text: str, environ: Mapping[str, str]) -> str:
    """Return the sequences for a desktop notification, in the two dialects that terminals know.

    tmux drops what it does not know, unless it is wrapped (and `allow-passthrough` is on).
    """
    osc9 = f"\x1b]9;{_plain(heading)}: {_plain(text)}\x07"
    osc777 = f"\x1b]777;notify;{_plain(heading)};{_plain(text)}\x07"
    if "TMUX" not in environ:
        return osc9 + osc777
    return "".join(
        "\x1bPtmux;" + part.replace("\x1b", "\x1b\x1b") + "\x1b\\" for part in (osc9, osc777)
    )


def hung_up(descriptor: int) -> bool:
    """Say whether the terminal or pipe behind a descriptor is gone; a terminal signals only its own
    session, and a pipe nobody."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))


def _plain(text: str) -> str:
    return line(text).replace(";", ",")[:200]

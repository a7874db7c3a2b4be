"""The headline: what broke, how far, why, what was done about it and what to do next.

It stands under the status line until somebody acknowledges it. Sentences are whole: where two lines
are too short, the least telling part is left out instead of cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlamon.charts.marks import came_about
from vlamon.charts.numbers import count, duration, number
from vlamon.charts.rows import Row, cells
from vlamon.tui.frame_context import takes_commands
from vlamon.tui.severity import LOUD

if TYPE_CHECKING:
    from vlamon.charts.glyphs import Glyphs
    from vlamon.records import Event
    from vlamon.store import RunStore

Part = tuple[str, str]
"""A few words and their role."""
LINES = 2
SETTLES = ("rollback", "recovered", "resumed")
"""Events after which an explosion needs no answer any more."""


@dataclass(frozen=True, slots=True)
class Break:
    """What broke, with the events that followed from it."""

    event: Event
    """The explosion or error."""
    verdict: Event | None = None
    """What the autopsy found."""
    answer: Event | None = None
    """The rollback, recovery or resumption that settled it; a rollback may have failed."""
    healthy: bool = False
    """Whether batches came since the answer without another alarm."""
    commands: bool = True
    """Whether the run takes commands, so that a rollback can be requested from here."""
    rolling_back: bool = False
    """Whether the guard is at it right now."""
    ended: bool = False
    """Whether the training ended after it."""


def newest_break(store: RunStore) -> Break | None:
    """Return the newest break of the run, None where there is none."""
    events = store.events
    at = next((n for n in range(len(events) - 1, -1, -1) if events[n].kind in LOUD), None)
    if at is None:
        return None
    event, later = events[at], events[at + 1 :]
    verdict = next((one for one in later if one.kind == "autopsy"), None)
    answer = next((one for one in later if one.kind in SETTLES), None)
    alarms = [one for one in later if one.kind == "warn" and answer is not None]
    newest = int(store.steps(store.rows - 1)[0]) if store.rows else event.step
    came = answer is not None and came_about(answer) and newest > answer.step
    healthy = came and not [one for one in alarms if one.time > (answer.time if answer else 0.0)]
    rolling_back = store.status is not None and store.status.state == "rolling_back"
    ended = any(one.kind == "end" for one in later)
    return Break(event, verdict, answer, healthy, takes_commands(store), rolling_back, ended)


def headline(found: Break, deadline: float | None, width: int, glyphs: Glyphs) -> list[Row]:
    """Write a break in one line or two."""
    keys: Row = (("d", "key bold"), (" why  ", "muted"), ("a", "key bold"), (" hide ", "muted"))
    parts = [*_what(found.event, glyphs), *_cause(found), *_outcome(found, deadline)]
    dot = f" {glyphs.other} "
    while True:
        rows = _wrapped(parts, width, dot, keys, whole=True)
        if len(rows) > LINES:
            rows = _wrapped(parts, width, dot, keys, whole=False)
        if len(rows) <= LINES or len(parts) <= 2:
            return rows[:LINES]
        parts.pop(-2 if len(parts) > 3 else -1)


def _what(event: Event, glyphs: Glyphs) -> list[Part]:
    data = event.data
    if event.kind != "explode":
        said = event.text or "no details were given"
        return [(f"{glyphs.explode} TRAINER ERROR at {count(event.step)}", "explode bold"),
                (said, "foreground")]  # fmt: skip
    parts: list[Part] = [(f"{glyphs.explode} EXPLODED at {count(event.step)}", "explode bold")]
    metric, value, ratio = data.get("metric"), data.get("value"), data.get("ratio")
    if metric and isinstance(value, (int, float)):
        far = ""
        if isinstance(ratio, (int, float)) and 1 < ratio < float("inf"):
            far = f" ({number(float(ratio), 2)}{glyphs.times} median)"
        parts.append((f"{metric} {number(float(value))}{far}", "foreground"))
    elif event.text:
        parts.append((event.text, "foreground"))
    return parts


def _cause(found: Break) -> list[Part]:
    if found.verdict is None:
        return []
    verdict = str(found.verdict.data.get("verdict", ""))
    text = found.verdict.text
    return [(f"cause: {text or verdict}", "warn")] if text or verdict else []


def _outcome(found: Break, deadline: float | None) -> list[Part]:
    answer = found.answer
    if deadline is not None:
        return [(f"rolls back automatically in {duration(deadline)} unless you choose (r)",
                 "explode bold")]  # fmt: skip
    if answer is None and found.rolling_back:
        return [("the guard is rolling back", "rollback")]
    if answer is None and not found.commands:
        return [("no rollback followed", "foreground")]
    if answer is None:
        return [("nothing was done yet: r rolls back", "foreground")]
    if answer.kind == "recovered":
        return [("recovered without a rollback", "ok")]
    if answer.kind == "resumed":
        did = "ended" if found.ended else "continued"
        return [(f"the training {did} without a rollback", "foreground")]
    if not came_about(answer):
        return [(f"the rollback failed: {answer.text or 'no reason given'}", "explode")]
    since = ", healthy since" if found.healthy else ""
    return [(f"rolled back to {count(returned_to(answer))}{since}", "ok" if since else "rollback")]


def returned_to(rollback: Event) -> int:
    """Return the step of the state that was put back; the event's own is where the training was."""
    to = rollback.data.get("to")
    return int(to) if isinstance(to, (int, float)) else rollback.step


def _wrapped(parts: Sequence[Part], width: int, dot: str, keys: Row, whole: bool) -> list[Row]:
    """Lay parts out in lines, broken between words; `whole` ones only where they are longer than a
    line: `rolled back to` with its step alone on the next is no sentence."""
    room = width - 2
    lines: list[list[Part]] = [[(" ", "")]]
    used = 1
    first_room = room - cells(keys)
    for text, role in parts:
        size = cells(((text, ""),))
        left = (first_room if len(lines) == 1 else room) - used - len(dot)
        if whole and left < size <= room - 3 and used > 3:
            lines.append([("   ", "")])
            used = 3
        for index, word in enumerate(text.split(" ")):
            lead = " " if index else (dot if used > (3 if len(lines) > 1 else 1) else "")
            limit = first_room if len(lines) == 1 else room
            size = cells(((lead + word, ""),))
            if used + size > limit and used > 1:
                lines.append([("   ", "")])
                used, lead = 3, ""
                size = cells(((word, ""),))
            lines[-1].append((lead, "muted" if lead == dot else role))
            lines[-1].append((word, role))
            used += size
    rows = [tuple(line) for line in lines]
    gap = max(1, width - cells(rows[0]) - cells(keys))
    return [(*rows[0], (" " * gap, ""), *keys), *rows[1:]]

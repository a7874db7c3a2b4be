"""How loud an event is: whether it interrupts, calls a person, and what colour it has."""

from __future__ import annotations

from vlamon.records import Event

LOUD = ("explode", "trainer_error")
"""Kinds of events that interrupt whatever a person does."""


def alarming(event: Event) -> bool:
    """Say whether a person should look: explosions, errors, and warnings."""
    return event.kind in LOUD or event.severity in ("warn", "error") or event.kind == "warn"


def severity_role(event: Event) -> str:
    """Return the role that an event is written in."""
    if event.kind in ("explode", "trainer_error") or event.severity == "error":
        return "explode"
    if event.kind == "warn" or event.severity == "warn":
        return "warn"
    return {"checkpoint": "checkpoint", "rollback": "rollback", "recovered": "ok"}.get(
        event.kind, "note"
    )

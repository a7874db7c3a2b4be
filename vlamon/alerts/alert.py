"""Decides which events call a person, and says what to do about each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlamon.records import Event, RunInfo

Kind = Literal[
    "explosion", "rollback", "waiting", "recovered", "failed", "ended", "silent", "gone", "test"
]
Urgency = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a person should know, apart from language and channel."""

    id: str
    """The same for the same incident, whichever process reports it."""
    kind: Kind
    urgency: Urgency
    run: str
    host: str
    step: int | None
    time: float
    """Seconds since the epoch."""
    text: str
    """The event's own sentence."""
    command: str = ""
    """What to type in order to answer, where an answer is awaited."""
    data: Mapping[str, Any] = field(default_factory=dict)


_KINDS: Mapping[str, tuple[Kind, Urgency]] = {
    "explode": ("explosion", "high"),
    "rollback": ("rollback", "normal"),
    "paused": ("waiting", "high"),
    "recovered": ("recovered", "low"),
    "trainer_error": ("failed", "high"),
    "end": ("ended", "low"),
}
"""Events of the wire that call; all others are for those who watch."""


BY_OPERATOR = "paused by the operator"
"""How the guard reports a pause that a person commanded."""


def of_event(event: Event, info: RunInfo) -> Alert | None:
    """The alert for an event of a run; None where none is sent."""
    found = _KINDS.get(event.kind)
    if event.data.get("finding") == "silent":
        found = ("silent", "high")  # a rank is gone, and the others wait for it
    if found is None:
        return None
    kind, urgency = found
    if kind == "ended" and event.severity == "error":
        kind, urgency = "failed", "high"
    if kind == "rollback" and event.data.get("ok") is False:
        urgency = "high"
    if kind == "waiting" and event.text == BY_OPERATOR:
        return None  # a person commanded this pause and knows
    return Alert(
        id=f"{info.boot}-{event.id}",
        kind=kind,
        urgency=urgency,
        run=info.name,
        host=info.host,
        step=event.step if event.step >= 0 and event.counted else None,
        time=event.time,
        text=event.text,
        command=answer(info) if kind == "waiting" else "",
        data={name: event.data[name] for name in _FACTS if name in event.data},
    )


_FACTS = ("metric", "value", "ratio", "verdict", "to", "lost", "saved", "deadline", "budget")
"""Details that scripts get with the alert; samples stay in the run."""


def answer(info: RunInfo) -> str:
    """What answers a training that waits for a person."""
    where = f" --socket {info.source}" if info.source.endswith(".sock") else ""
    return f"vlamon ctl rollback{where}"

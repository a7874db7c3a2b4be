"""Orders to the training process: each is followed until it is answered, refused, or forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vlamon.charts.numbers import count, number
from vlamon.records import Reply

PATIENCE = 10.0
"""Seconds after which an order counts as unanswered; a later reply is shown all the same."""


class Sender(Protocol):
    """The feed's way to the trainer."""

    def send(self, name: str, /, **args: Any) -> str:
        """Order something; gives the order's id, raises an error with a sentence otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """A word for the status line."""

    text: str
    role: str = "note"


@dataclass(slots=True)
class _Pending:
    name: str
    since: float
    warned: bool = False


@dataclass(slots=True)
class Orders:
    """What this dashboard has ordered; time is passed in."""

    sender: Sender
    read_only: bool = False
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _read: int = 0

    def give(self, name: str, now: float, /, **args: Any) -> Notice:
        """Send an order; the notice says that it is on its way, or why it is not."""
        if self.read_only:
            return Notice("read-only: no orders from here", "warn")
        try:
            order = self.sender.send(name, **args)
        except Exception as problem:
            return Notice(f"{name} not sent: {problem}", "explode")
        self._pending[order] = _Pending(name, now)
        return Notice(f"{name} ordered, waiting for the step to end", "accent")

    def hear(self, replies: Sequence[Reply], now: float) -> Notice | None:
        """Read the answers that came since; gives the newest one to one's own orders, if any."""
        said: Notice | None = None
        for reply in replies[self._read :]:
            order = self._pending.pop(reply.id, None)
            if order is not None:
                said = _answer(order.name, reply)
        self._read = len(replies)
        for order in self._pending.values():
            if not order.warned and now - order.since >= PATIENCE:
                order.warned = True
                said = said or Notice(
                    f"{order.name}: no answer after {PATIENCE:.0f} s "
                    "(the trainer takes orders between steps only)",
                    "warn",
                )
        return said

    @property
    def waiting(self) -> int:
        """Orders without an answer."""
        return len(self._pending)


def _answer(name: str, reply: Reply) -> Notice:
    if not reply.ok:
        return Notice(f"{name} refused: {reply.error or 'no reason given'}", "explode")
    told = _told(reply.result)
    return Notice(f"{name} done{': ' + told if told else ''}", "ok")


TOLD = ("step", "from", "to", "name", "value", "path", "seconds")
"""What of an answer is repeated, in this order; the rest is in the event that it made."""


def _told(result: Mapping[str, Any]) -> str:
    parts = []
    for key in TOLD:
        value = result.get(key)
        if key == "seconds" and isinstance(value, (int, float)):
            parts.append(f"{number(float(value), 2)} s")
        elif key in ("step", "from", "to") and isinstance(value, int):
            parts.append(f"{key} {count(value)}")
        elif isinstance(value, float):
            parts.append(f"{key} {number(value)}")
        elif isinstance(value, (str, int)):
            parts.append(f"{key} {value}")
    return ", ".join(parts)

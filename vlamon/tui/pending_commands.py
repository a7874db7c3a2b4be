"""Commands to the training process: each is followed until it is answered or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vlamon.charts.numbers import count, number
from vlamon.records import Reply
from vlamon.tui.notices import Notice

ANSWER_DUE = 10.0
"""Seconds after which a command counts as unanswered; a later reply is shown all the same."""


class CommandSender(Protocol):
    """The feed's way to the trainer."""

    def send(self, name: str, /, **args: Any) -> str:
        """Send a command and return its id; raises an error with a sentence otherwise."""


@dataclass(slots=True)
class _Pending:
    name: str
    since: float
    warned: bool = False


@dataclass(slots=True)
class PendingCommands:
    """What this dashboard has sent; time is passed in."""

    sender: CommandSender
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _read: int = 0

    def send(self, name: str, now: float, /, **args: Any) -> Notice:
        """Send a command; the notice says that it is on its way, or why it is not."""
        try:
            command = self.sender.send(name, **args)
        except Exception as problem:
            return Notice(f"{name} not sent: {problem}", "explode")
        self._pending[command] = _Pending(name, now)
        return Notice(f"{name} sent, waiting for the step to end", "accent")

    def take_replies(self, replies: Sequence[Reply], now: float) -> Notice | None:
        """Read the replies that came since; return the newest one to a command of ours, if any."""
        said: Notice | None = None
        for reply in replies[self._read :]:
            sent = self._pending.pop(reply.id, None)
            if sent is not None:
                said = _answer(sent.name, reply)
        self._read = len(replies)
        for sent in self._pending.values():
            if not sent.warned and now - sent.since >= ANSWER_DUE:
                sent.warned = True
                said = said or Notice(
                    f"{sent.name}: no answer after {ANSWER_DUE:.0f} s "
                    "(the trainer takes commands between steps only)",
                    "warn",
                )
        return said


def _answer(name: str, reply: Reply) -> Notice:
    if not reply.ok:
        return Notice(f"{name} refused: {reply.error or 'no reason given'}", "explode")
    details = _words(reply.result)
    return Notice(f"{name} done{': ' + details if details else ''}", "ok")


REPEATED = ("step", "from", "to", "name", "value", "path", "seconds")
"""What of a reply is repeated, in this order; the rest is in the event that it made."""


def _words(result: Mapping[str, Any]) -> str:
    parts = []
    for key in REPEATED:
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

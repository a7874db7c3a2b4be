"""An order on the training thread, between taking it and answering it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlamon.emitter.commands import Order
from vlamon.protocol.address import Peer
from vlamon.protocol.sanitize import plain, text
from vlamon.records import Reply


class PendingCommand:
    """An order, to be executed at this step boundary and then answered once."""

    def __init__(
        self,
        order: Order,
        answer: Callable[[PendingCommand, Reply], None],
        swallow: Callable[[str], None],
    ) -> None:
        self.id = order.command.id
        self.name = order.command.name
        self.args: Mapping[str, Any] = order.command.args
        self.origin: Peer = order.origin
        """uid and pid of who asked, as the kernel says."""
        self._send = answer
        self._swallow = swallow
        self._answered = False

    def done(self, result: object = None) -> None:
        """It was executed; `result` says what was done: names and values, or one value."""
        self._answer("done", lambda: Reply(self.id, True, result=_named(result)))

    def refuse(self, reason: str) -> None:
        """It was not executed; `reason` is a sentence for whoever asked."""
        self._answer("refuse", lambda: Reply(self.id, False, error=text(reason)))

    def _answer(self, call: str, reply: Callable[[], Reply]) -> None:
        try:
            made = reply()
        except Exception as error:  # a wrong answer must not end the training
            self._swallow(f"{call} failed: {_words(error)}")
            # Whoever asked waits for what became of the order, not for how it is put.
            made = Reply(self.id, call == "done", error="" if call == "done" else "no reason given")
        if self._answered:
            return
        self._answered = True
        try:
            self._send(self, made)
        except Exception as error:
            self._swallow(f"{call} failed: {_words(error)}")


def _named(result: object) -> Mapping[str, Any]:
    if result is None:
        return {}
    named = plain(result)
    return named if isinstance(named, dict) else {"result": named}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:180]

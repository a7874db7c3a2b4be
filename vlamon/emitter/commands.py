"""Orders from monitors: taken once by id, handed to the training thread, answered when executed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from vlamon.protocol.address import Peer
from vlamon.protocol.commands import NO_CONTROL
from vlamon.records import Command, Reply

Tell = Callable[[Reply], None]

WAITING = 64
"""Orders that may wait for a step boundary at once."""
REMEMBERED = 1000
"""Answers kept for a monitor that asks again after a lost connection."""

READ_ONLY = "this training is served read-only and takes no commands"
ENDED = "the training ended before the order was executed"


@dataclass(frozen=True, slots=True)
class Order:
    """A command and who gave it."""

    command: Command
    origin: Peer


class OrderDesk:
    """Which orders wait, which were answered, and who wants to hear it. Used by the sidecar only.

    The training thread takes orders out of `inbox` and sends its answers through the sidecar.
    """

    def __init__(self, owner: int, read_only: bool = False) -> None:
        self.inbox: deque[Order] = deque()
        self.serving = False
        """True once the script has asked for commands."""
        self.read_only = read_only
        self._owner = owner
        self._waiting: dict[str, list[Tell]] = {}
        self._answers: OrderedDict[str, Reply] = OrderedDict()
        self._by_event: OrderedDict[tuple[str, str], str] = OrderedDict()

    def take(self, command: Command, peer: Peer, tell: Tell) -> None:
        """Accept, refuse, or answer again; `tell` is called now or when it was executed."""
        first = self._first_id(command)
        if first in self._answers:
            tell(_named(self._answers[first], command.id))
        elif first in self._waiting:
            self._waiting[first].append(lambda reply: tell(_named(reply, command.id)))
        elif reason := self._refusal(peer):
            tell(Reply(command.id, False, error=reason))
        else:
            self._waiting[first] = [tell]
            self.inbox.append(Order(command, peer))

    def _first_id(self, command: Command) -> str:
        """The id under which this is known: two watchers answer one explosion with one order."""
        event = command.args.get("event")
        if not isinstance(event, str) or not event:
            return command.id
        first = self._by_event.setdefault((command.name, event), command.id)
        while len(self._by_event) > REMEMBERED:
            self._by_event.popitem(last=False)
        return first

    def _refusal(self, peer: Peer) -> str:
        if self.read_only:
            return READ_ONLY
        if peer.uid not in (self._owner, 0):
            return f"only the owner of the training may give orders, not uid {peer.uid}"
        if not self.serving:
            return NO_CONTROL
        if len(self._waiting) >= WAITING:
            return f"{WAITING} orders wait for a step boundary already"
        return ""

    def answer(self, reply: Reply) -> None:
        """The training thread executed or refused it."""
        self._answers[reply.id] = reply
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        for tell in self._waiting.pop(reply.id, []):
            tell(reply)

    def close(self) -> None:
        """Refuse everything that still waits."""
        self.inbox.clear()
        for identity in list(self._waiting):
            self.answer(Reply(identity, False, error=ENDED))


def _named(reply: Reply, identity: str) -> Reply:
    return Reply(identity, reply.ok, reply.result, reply.error)

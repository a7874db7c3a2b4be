"""Commands from monitors: accepted once, handed to the training thread, answered when executed."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from vlamon.protocol.commands import NO_CONTROL, Command, CommandError, Peer, checked
from vlamon.protocol.sanitize import plain, text
from vlamon.records import Reply

WAITING = 64
"""Commands that may wait for a step boundary at once."""
REQUESTERS = 256
"""Who may wait for the answer to one command: every repetition by another monitor is one more."""
REMEMBERED = 1000
"""Answers kept for a monitor that asks again after a lost connection."""
OTHER_USERS = 64
"""Other users whose refused commands are recorded, one event each."""

DID = {
    "checkpoint": "wrote a checkpoint",
    "rollback": "rolled back to {step}",
    "pause": "paused",
    "resume": "resumed",
    "note": "left a note",
    "set": "set {name} to {value}",
}
"""What somebody did whose command was executed."""

READ_ONLY = "this training is served read-only and takes no commands"
ENDED = "the training ended before the command was executed"


class Requester(Protocol):
    """Who waits for the answer to a command."""

    def deliver(self, reply: Reply) -> None:
        """Take the answer. Called on the sidecar's thread."""


class CommandInbox:
    """Which commands wait, which were answered, and who gets the reply.

    `take`, `settle`, `forget` and `close` are the sidecar's; `hand_out` and the answers to what it
    returns belong to the training thread, which reports them through `report`.
    """

    def __init__(
        self,
        owner: int,
        read_only: bool = False,
        report: Callable[[Command, Reply], None] | None = None,
        swallow: Callable[[str], None] | None = None,
    ) -> None:
        self.read_only = read_only
        self.serving = False
        """True once the script has asked for commands."""
        self._owner = owner
        self._report = report or _ignore
        self._swallow = swallow or _ignore
        self._queue: deque[Command] = deque()
        self._open: set[str] = set()
        """Ids handed to the training thread and not answered by it yet."""
        self._waiting: dict[str, dict[tuple[Requester, str], None]] = {}
        """Id to who waits for its answer, each under the id that it asked with."""
        self._answers: OrderedDict[str, Reply] = OrderedDict()
        self._by_event: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Command and explosion to the id of the first command for it."""
        self._other_users: set[int] = set()

    # ---- the sidecar ----

    def take(self, command: Command, requester: Requester) -> None:
        """Accept, refuse, or answer again; the sender gets the reply now or after execution."""
        origin = command.origin or Peer(0, -1)
        if reason := self._refusal(origin):
            reply = Reply(command.id, False, error=reason)
            requester.deliver(reply)
            self._record_other_user(command, origin, reply)
            return
        try:
            command = replace(command, args=checked(command.name, command.args))
        except CommandError as error:
            requester.deliver(Reply(command.id, False, error=text(error)))
            return
        first = self._first_id(command)
        if first in self._answers:
            requester.deliver(replace(self._answers[first], id=command.id))
        elif first in self._waiting:
            requesters = self._waiting[first]
            requesters[requester, command.id] = None
            if len(requesters) > REQUESTERS:
                del requesters[requester, command.id]
                full = "too many wait for this command already"
                requester.deliver(Reply(command.id, False, error=full))
        elif len(self._waiting) >= WAITING:
            full = f"{WAITING} commands wait for a step boundary already"
            requester.deliver(Reply(command.id, False, error=full))
        else:
            self._accept(command, requester)

    def _accept(self, command: Command, requester: Requester) -> None:
        event = _event_of(command)
        if event is not None:
            self._by_event[event] = command.id
            while len(self._by_event) > REMEMBERED:
                self._by_event.popitem(last=False)
        self._waiting[command.id] = {(requester, command.id): None}
        self._queue.append(replace(command, answer=self._answer))

    def _first_id(self, command: Command) -> str:
        """The id under which this is known: two watchers answer one explosion with one command."""
        event = _event_of(command)
        return command.id if event is None else self._by_event.get(event, command.id)

    def _refusal(self, origin: Peer) -> str:
        if origin.uid not in (self._owner, 0):
            return f"only the owner of the training may give commands, not uid {origin.uid}"
        if self.read_only:
            return READ_ONLY
        return "" if self.serving else NO_CONTROL

    def _record_other_user(self, command: Command, origin: Peer, reply: Reply) -> None:
        """One event for each other user who tries: they must not fill the history either."""
        foreign = origin.uid not in (self._owner, 0, -1) and origin.uid not in self._other_users
        if foreign and len(self._other_users) < OTHER_USERS:
            self._other_users.add(origin.uid)
            self._report(command, reply)

    def settle(self, reply: Reply) -> None:
        """Tell everybody who waits what the training thread answered."""
        self._answers[reply.id] = reply
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        if not reply.ok:  # an explosion is answered by what was done, never by a refusal
            for event in [event for event, first in self._by_event.items() if first == reply.id]:
                del self._by_event[event]
        for requester, identity in self._waiting.pop(reply.id, {}):
            requester.deliver(replace(reply, id=identity))

    def forget(self, requester: Requester) -> None:
        """The requester's connection is gone."""
        for requesters in self._waiting.values():
            for key in [key for key in requesters if key[0] is requester]:
                del requesters[key]

    def close(self) -> None:
        """Refuse everything that still waits."""
        self._queue.clear()
        for identity in list(self._waiting):
            self.settle(Reply(identity, False, error=ENDED))

    # ---- the training thread ----

    def hand_out(self) -> Sequence[Command]:
        """The commands that came since the last call, each to be answered once."""
        self.serving = True
        if not self._queue:
            return ()
        found = []
        with contextlib.suppress(IndexError):  # the sidecar clears it when the run ends
            while True:
                found.append(self._queue.popleft())
                self._open.add(found[-1].id)
        return found

    def _answer(self, command: Command, ok: bool, content: object) -> None:
        """Report the outcome once. Nothing that a script answers may end its training."""
        if command.id not in self._open:
            return
        self._open.discard(command.id)
        call = "done" if ok else "refuse"
        try:
            reply = _reply(command.id, ok, content)
        except Exception as error:
            self._swallow(f"{call} failed: {_words(error)}")
            # The sender waits for what became of the command, not for how it is put.
            reply = Reply(command.id, ok, error="" if ok else "no reason given")
        try:
            self._report(command, reply)
        except Exception as error:
            self._swallow(f"{call} failed: {_words(error)}")


def outcome(command: Command, reply: Reply, owner: str) -> str:
    """What became of a command, as its event says it: `root rolled back to 246`."""
    origin = command.origin or Peer(0, -1)
    names = {0: "root", os.geteuid(): owner}
    who = names.get(origin.uid, f"uid {origin.uid}")
    if not reply.ok:
        return text(f"{who}: {command.name} refused: {reply.error}")
    did = DID.get(command.name, f"gave the command {command.name}")
    try:
        return text(f"{who} {did.format_map({**command.args, **reply.result})}")
    except KeyError:  # a script of somebody else's answers as it likes
        return text(f"{who}: {command.name} done")


def _reply(identity: str, ok: bool, content: object) -> Reply:
    if not ok:
        return Reply(identity, False, error=text(content))
    if content is None:
        return Reply(identity, True)
    named = plain(content)
    return Reply(identity, True, named if isinstance(named, dict) else {"result": named})


def _event_of(command: Command) -> tuple[str, str] | None:
    event = command.args.get("event")
    return (command.name, event) if isinstance(event, str) and event else None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:180]


def _ignore(*_: Any) -> None:
    """Send no reply."""

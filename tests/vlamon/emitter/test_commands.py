"""Commands: accepted once, answered when executed, refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlamon.emitter.commands import (
    ENDED,
    OTHER_USERS,
    READ_ONLY,
    REQUESTERS,
    WAITING,
    CommandInbox,
    outcome,
)
from vlamon.protocol.commands import NO_CONTROL, Command, Peer
from vlamon.records import Reply

ME = Peer(pid=10, uid=1000)


class Requester:
    """A monitor that remembers what it received."""

    def __init__(self) -> None:
        self.received: list[Reply] = []

    def deliver(self, reply: Reply) -> None:
        self.received.append(reply)


class Desk:
    """An inbox with the emitter's end of it."""

    def __init__(self, serving: bool = True, read_only: bool = False) -> None:
        self.reported: list[tuple[Command, Reply]] = []
        self.swallowed: list[str] = []
        self.inbox = CommandInbox(1000, read_only, self._report, self.swallowed.append)
        self.inbox.serving = serving
        self.requester = Requester()

    def _report(self, command: Command, reply: Reply) -> None:
        self.reported.append((command, reply))

    def give(self, identity: str, name: str = "pause", peer: Peer = ME, /, **args: Any) -> None:
        self.inbox.take(Command(identity, name, args, peer), self.requester)

    def settle(self) -> None:
        """What the sidecar does with the answers of the training thread."""
        for _, reply in self.reported:
            self.inbox.settle(reply)
        self.reported.clear()

    @property
    def received(self) -> list[Reply]:
        return self.requester.received


def test_the_same_id_is_executed_once_and_answered_as_often_as_asked() -> None:
    desk = Desk()
    other = Requester()
    for requester in (desk.requester, other, other):
        desk.inbox.take(Command("a", "checkpoint", origin=ME), requester)
    (command,) = desk.inbox.hand_out()
    command.done({"step": 4})
    desk.settle()
    done = Reply("a", True, {"step": 4})
    assert desk.received == [done]
    assert other.received == [done]
    desk.give("a", "checkpoint")
    assert desk.received == [done] * 2
    assert not desk.inbox.hand_out()


def test_two_watchers_answer_one_explosion_with_one_command() -> None:
    desk = Desk()
    for identity in ("from-1", "from-2"):
        desk.give(identity, "rollback", event="e-7")
    (command,) = desk.inbox.hand_out()
    command.done({"step": 4})
    desk.settle()
    assert [(reply.id, reply.ok) for reply in desk.received] == [("from-1", True), ("from-2", True)]
    desk.give("from-3", "rollback", event="e-7")
    assert desk.received[-1] == Reply("from-3", True, {"step": 4})
    desk.give("other", "rollback", event="e-8")
    assert len(desk.inbox.hand_out()) == 1


def test_a_refused_command_leaves_its_explosion_to_the_next_one() -> None:
    desk = Desk(serving=False)
    desk.give("early", "rollback", event="e-7")
    desk.inbox.serving = True
    desk.give("wrong", "rollback", event="e-7", to="soon")
    desk.give("foreign", "rollback", Peer(1, 1001), event="e-7")
    desk.reported.clear()
    desk.give("refused", "rollback", event="e-7")
    (command,) = desk.inbox.hand_out()
    command.refuse("no trusted snapshot yet")
    desk.settle()
    desk.give("later", "rollback", event="e-7")
    (command,) = desk.inbox.hand_out()
    command.done({"step": 4})
    desk.settle()
    assert [(reply.id, reply.ok) for reply in desk.received] == [
        ("early", False),
        ("wrong", False),
        ("foreign", False),
        ("refused", False),
        ("later", True),
    ]


def test_refusals_say_why() -> None:
    unserved, read_only, foreign = Desk(serving=False), Desk(read_only=True), Desk()
    unserved.give("a")
    read_only.give("b")
    foreign.give("c", "pause", Peer(pid=1, uid=1001))
    assert [desk.received[0].error for desk in (unserved, read_only)] == [NO_CONTROL, READ_ONLY]
    assert "not uid 1001" in foreign.received[0].error
    assert not any(desk.received[0].ok for desk in (unserved, read_only, foreign))


def test_what_is_not_in_the_table_is_refused_before_it_reaches_the_training() -> None:
    desk = Desk()
    desk.give("a", "explode")
    desk.give("b", "set", name="lr_scale", value=1e308)
    assert "there is no command 'explode'" in desk.received[0].error
    assert "lr_scale must be a number from" in desk.received[1].error
    assert not desk.inbox.hand_out()


def test_root_may_give_commands() -> None:
    desk = Desk()
    desk.give("a", "pause", Peer(pid=1, uid=0))
    assert len(desk.inbox.hand_out()) == 1


def test_a_strangers_attempts_are_recorded_once_a_user() -> None:
    desk = Desk()
    for number in range(1000):
        desk.give(str(number), "pause", Peer(1, 1001 + number % (2 * OTHER_USERS)))
    assert len(desk.reported) == OTHER_USERS
    assert outcome(*desk.reported[0], "me").startswith("uid 1001: pause refused: only the owner")


def test_a_flood_of_commands_is_bounded() -> None:
    desk = Desk()
    for number in range(WAITING + 5):
        desk.give(str(number), "note", text="x")
    assert len(desk.inbox.hand_out()) == WAITING
    assert len(desk.received) == 5


def test_a_command_repeated_in_one_long_step_holds_bounded_memory() -> None:
    desk = Desk()
    for _ in range(100_000):
        desk.give("a")
    for number in range(10 * REQUESTERS):
        desk.give(f"twin-{number}", "rollback", event="e-7")
    for command in desk.inbox.hand_out():
        command.done()
    desk.settle()
    told = [reply for reply in desk.received if reply.ok]
    assert len([reply for reply in told if reply.id == "a"]) == 1
    assert len(told) == 1 + REQUESTERS
    assert len(desk.received) == 1 + 10 * REQUESTERS


def test_a_monitor_that_is_gone_is_forgotten() -> None:
    desk = Desk()
    desk.give("a")
    desk.inbox.forget(desk.requester)
    desk.inbox.hand_out()[0].done()
    desk.settle()
    assert desk.received == []


def test_what_still_waits_at_the_end_is_refused() -> None:
    desk = Desk()
    desk.give("a")
    desk.inbox.close()
    assert desk.received == [Reply("a", False, error=ENDED)]


class Speechless:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def handed_out() -> tuple[Desk, Command]:
    desk = Desk()
    desk.give("c1", "note", text="x")
    return desk, desk.inbox.hand_out()[0]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, {}),
        ({"step": 3}, {"step": 3}),
        (3.5, {"result": 3.5}),
        (0, {"result": 0}),
        ("runs/a/step-3", {"result": "runs/a/step-3"}),
        (True, {"result": True}),
        ([1, 2], {"result": [1, 2]}),
        (np.float32(0.5), {"result": 0.5}),
        (Path("runs/a"), {"result": "runs/a"}),
    ],
)
def test_any_result_is_an_answer(result: object, told: dict[str, object]) -> None:
    desk, command = handed_out()
    command.done(result)
    assert [reply for _, reply in desk.reported] == [Reply("c1", True, result=told)]
    assert desk.swallowed == []


def test_a_result_that_cannot_be_sent_leaves_no_command_without_an_answer() -> None:
    desk, command = handed_out()
    command.done(Speechless())
    command.done("too late")
    assert [reply for _, reply in desk.reported] == [Reply("c1", True)]
    assert desk.swallowed == ["done failed: RuntimeError: no words"]


def test_a_reason_that_cannot_be_sent_is_a_refusal_all_the_same() -> None:
    desk, command = handed_out()
    command.refuse(Speechless())  # type: ignore[arg-type]
    assert [reply for _, reply in desk.reported] == [Reply("c1", False, error="no reason given")]


def test_an_event_tells_what_somebody_did_and_to_what() -> None:
    def said(name: str, result: object = None, /, **args: object) -> str:
        command = Command("a", name, args, Peer(1, 1001))
        named = result if isinstance(result, dict) else {}
        return outcome(command, Reply("a", True, named), "me")

    assert said("rollback", {"step": 246, "where": "ring"}) == "uid 1001 rolled back to 246"
    value = {"name": "loss_ct", "before": 10.0, "value": 5.0}
    assert said("set", value, name="loss_ct", value=5.0) == "uid 1001 set loss_ct to 5.0"
    assert said("pause", {"step": 91}) == "uid 1001 paused"
    assert said("rollback") == "uid 1001: rollback done", "a script may answer without saying where"
    assert said("shuffle") == "uid 1001 gave the command shuffle"

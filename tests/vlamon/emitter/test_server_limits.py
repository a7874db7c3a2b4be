"""What the server grants a monitor: so many, so fast, so much memory, and who."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.stage import Client, Stage, names, steps
from vlamon.emitter import server, subscriber
from vlamon.protocol import messages
from vlamon.protocol.commands import Command


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(str(tmp_path / "vla.sock"))
    yield made
    made.server.close()


def test_memory_does_not_grow_with_stuck_monitors(stage: Stage) -> None:
    stuck = [stage.join() for _ in range(20)]
    stage.log(0, 5000)
    stage.turn(50)
    frames = {id(each.sending.obj) for each in stage.server.subscribers if each.sending is not None}
    held = {id(entry.frame) for entry in stage.history.log._entries}
    assert frames <= held  # all of them send the log's own bytes, not copies
    assert all(len(each.outbox) == 0 for each in stage.server.subscribers)
    assert len(stuck) == len(stage.server.subscribers) == 20


def test_a_monitor_that_reads_nothing_is_dropped(stage: Stage) -> None:
    dead, alive = stage.join(), stage.join()
    stage.log(0, 5000)
    stage.turn()
    stage.server.stall = 0.0
    for _ in range(20):
        alive.receive()
        stage.server.stall = 1000.0
        stage.turn()
    stage.server.stall = 0.0
    assert len(stage.server.subscribers) == 2
    stage.turn(1)
    assert len(stage.server.subscribers) == 1
    del dead


def test_one_monitor_too_many_is_reported(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SUBSCRIBERS", 2)
    clients = [stage.join() for _ in range(3)]
    said = [stage.talk(client) for client in clients]
    assert names(said[2]) == ["bye"]
    assert said[2][0]["code"] == "full"
    assert clients[2].closed
    assert names(said[0]) == ["hello"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("share", [False, True])
def test_another_user_reads_only_what_is_shared_and_never_sends_commands(share: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        stage = Stage(folder + "/vla.sock", share=share)
        os.chmod(stage.path, 0o666)  # the kernel's own check out of the way: ours is at issue
        stage.history.change_info(devices=("one",))  # a new greeting, which is for watchers alone
        os.seteuid(65534)
        try:
            client = stage.join()
        finally:
            os.seteuid(0)
        stage.commands.serving = True
        stage.log(0, 1)
        client.send(messages.encode(Command("c-1", "pause")))
        found = stage.talk(client)
        if share:
            assert steps(found) == list(range(10))
            (reply,) = [message for message in found if message["t"] == "reply"]
            assert "not uid 65534" in reply["error"]
            assert not stage.commands.hand_out()
        else:
            assert names(found) == ["bye"]
            assert "not shared with uid 65534" in found[0]["reason"]
        stage.server.close()


def test_the_kernels_own_descriptor_limit_is_survived(stage: Stage) -> None:
    clients = [stage.join() for _ in range(3)]
    listener = stage.server.bound.listener

    class Exhausted:
        def accept(self) -> tuple[socket.socket, Any]:
            raise OSError(24, "Too many open files")

    stage.server.bound.listener = Exhausted()  # type: ignore[assignment]
    stage.turn()
    stage.server.bound.listener = listener
    assert names(stage.talk(clients[0])) == ["hello"]


def test_a_flood_of_messages_is_read_at_the_pace_of_the_allowance(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    rate, burst = subscriber.MESSAGES
    client = stage.join()
    for number in range(400):
        client.send(messages.encode(Command(f"c-{number}", "pause")))
    replies = 0
    for second in range(3):
        replies += names(stage.talk(client)).count("reply")
        assert replies == burst - 1 + second * rate  # one was the subscription
        now[0] += 1.0
    assert len(stage.server.subscribers) == 1


def test_a_monitor_that_takes_no_answers_is_not_read(stage: Stage) -> None:
    client = stage.join()
    stage.turn()
    (subscriber,) = stage.server.subscribers
    subscriber.blocked = True
    for number in range(90):
        client.send(messages.encode(Command(f"c-{number}", "pause")))
    stage.turn()
    assert len(subscriber.outbox) == server.OUTBOX
    assert not subscriber.events & selectors.EVENT_READ
    subscriber.blocked = False
    assert names(stage.talk(client)).count("reply") == 90


def test_connections_are_accepted_at_the_pace_of_the_allowance(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    rate, burst = server.CONNECTIONS
    accepted = 0
    accept = stage.server._accept

    def counted() -> None:
        nonlocal accepted
        before = len(stage.server.subscribers)
        accept()
        accepted += len(stage.server.subscribers) - before

    monkeypatch.setattr(stage.server, "_accept", counted)
    for _ in range(300):
        with contextlib.suppress(BlockingIOError):  # the listener's queue is full
            Client(stage.path).socket.close()
        stage.turn(1)
    assert accepted == burst
    now[0] += 0.5
    stage.turn()
    assert accepted == burst + rate / 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_leave_the_owner_a_place() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        stage = Stage(folder + "/vla.sock", share=True)
        os.seteuid(65534)
        try:
            strangers = [stage.join() for _ in range(server.OTHER_USERS + 5)]
        finally:
            os.seteuid(0)
        assert [names(stage.talk(client))[-1] for client in strangers].count("bye") == 5
        assert names(stage.talk(stage.join())) == ["hello"]
        stage.server.close()

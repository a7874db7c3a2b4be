"""The server among monitors that are late, slow, hostile or many."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.protocol.strategies import messages_, rows_of
from vlamon.emitter import server, subscriber
from vlamon.emitter.blocklog import BlockLog, NoteLog
from vlamon.emitter.commands import CommandInbox
from vlamon.emitter.history import History
from vlamon.emitter.journal_writer import Journal
from vlamon.emitter.server import Server
from vlamon.hardware import GpuSample
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.address import BoundSocket, connect
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import FrameReader, pack
from vlamon.protocol.messages import Subscription
from vlamon.records import Event, Reply, RunInfo, Status

EVENT = Event("e", "explode", 3, 0, 1.0)


class Client:
    """A monitor made of a socket and nothing else."""

    def __init__(self, path: str) -> None:
        self.socket = connect(path, 60.0)
        self.socket.setblocking(False)
        self.reader = FrameReader()
        self.closed = False

    def send(self, message: dict[str, Any] | bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(message if isinstance(message, bytes) else pack(message))

    def receive(self) -> list[dict[str, Any]]:
        """What is there, without waiting."""
        try:
            while data := self.socket.recv(1 << 20):
                self.reader.feed(data)
            self.closed = True
        except BlockingIOError:
            pass
        except ConnectionResetError:  # closed with our bytes unread
            self.closed = True
        return list(self.reader.messages())


class Stage:
    """A server whose thread is the test."""

    def __init__(self, path: str, memory: int = 64 << 20, share: bool = False) -> None:
        self.path = path
        self.history = History(RunInfo("run", "goal"), BlockLog(memory=memory), NoteLog())
        self.commands = CommandInbox(os.geteuid())
        self.server = Server(BoundSocket(path, share), self.history, self.commands, share)

    def turn(self, times: int = 5) -> None:
        for _ in range(times):
            self.server.serve(0.0)

    def join(self, **subscription: Any) -> Client:
        client = Client(self.path)
        client.send(messages.encode(Subscription(**subscription)))
        return client

    def talk(self, client: Client) -> list[dict[str, Any]]:
        """Everything that the client gets from now on."""
        found = []
        while True:
            self.turn()
            got = client.receive()
            if not got and not self._coming(client):
                return found
            found += got

    def _coming(self, client: Client) -> bool:
        return any(each.live.fetch is not None for each in self.server.subscribers)

    def log(self, first: int, count: int, **kwargs: Any) -> None:
        for block in plain_blocks(first, count, **kwargs):
            self.history.log.append(block)
            self.history.log.forget(None)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(str(tmp_path / "vla.sock"))
    yield made
    made.server.close()


def names(found: list[dict[str, Any]]) -> list[str]:
    return [message["t"] for message in found]


def steps(found: list[dict[str, Any]]) -> list[int]:
    batches = [blocks.from_message(item) for item in found if item["t"] == "batch"]
    return [row[0] for block in batches for row in rows_of(block)]


def test_a_late_joiner_gets_the_whole_history_in_order(stage: Stage) -> None:
    stage.log(0, 2)
    stage.history.notes.append(messages.encode(EVENT), stage.history.log.end)
    stage.log(20, 1)
    stage.history.set_status(Status("training", 29))
    stage.history.add_gpu(GpuSample(1.0, ()))
    found = stage.talk(stage.join())
    assert names(found) == ["hello", "status", "batch", "batch", "event", "batch", "gpu"]
    assert steps(found) == list(range(30))


def test_a_reconnecting_monitor_gets_no_row_and_no_event_twice(stage: Stage) -> None:
    stage.log(0, 3)
    stage.history.notes.append(messages.encode(EVENT), 30)
    stage.log(30, 2)
    found = stage.talk(stage.join(since_seq=27, since_note=1))
    assert steps(found) == list(range(27, 50))
    assert "event" not in names(found)


def test_numbers_of_another_boot_mean_nothing(stage: Stage) -> None:
    stage.log(0, 3)
    assert steps(stage.talk(stage.join(since_seq=27, boot="another"))) == list(range(30))


def test_live_rows_reach_every_monitor(stage: Stage) -> None:
    clients = [stage.join() for _ in range(4)]
    stage.turn()
    stage.log(0, 3)
    for client in clients:
        assert steps(stage.talk(client)) == list(range(30))


def test_a_monitor_without_rows_gets_the_newest_one_and_all_events(stage: Stage) -> None:
    stage.log(0, 3)
    stage.history.notes.append(messages.encode(EVENT), 30)
    found = stage.talk(stage.join(rows=False))
    assert steps(found) == [29]
    assert "event" in names(found)


def test_who_comes_too_late_for_memory_gets_a_gap(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path / "vla.sock"), memory=100_000)
    stage.log(0, 5000)
    found = stage.talk(stage.join())
    (gap,) = [message for message in found if message["t"] == "gap"]
    start = stage.history.log.start
    assert (gap["rows"], gap["last_step"]) == (start, start - 1)
    assert steps(found) == list(range(start, 50_000))
    stage.server.close()


def test_a_slow_reader_is_moved_forward_with_a_gap_and_keeps_its_events(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path / "vla.sock"), memory=300_000)
    slow = stage.join()
    stage.turn()
    for first in range(0, 200_000, 10_000):
        stage.history.notes.append(messages.encode(EVENT), stage.history.log.end)
        stage.log(first, 1000)
        stage.turn()  # the kernel's buffer is full soon, nobody reads
    found = stage.talk(slow)
    assert names(found).count("event") == 20
    lost = sum(message["rows"] for message in found if message["t"] == "gap")
    assert lost > 0
    assert len(steps(found)) + lost == 200_000
    assert steps(found) == sorted(set(steps(found)))
    stage.server.close()


def test_what_memory_forgot_is_read_back_from_the_journal(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path / "vla.sock"), memory=100_000)
    journal = Journal(tmp_path / "run.vlaj")
    journal.wake = stage.server.wake
    stage.history.fetch = journal.fetch
    for block in plain_blocks(0, 5000):
        stage.history.log.append(block)
        journal.add_block(block, {})
    journal._close_group()
    journal._signal.set()
    while journal.flushed_seq < 50_000:
        stage.turn()
    stage.history.log.forget(journal.flushed_seq)
    assert stage.history.log.start > 0
    found = stage.talk(stage.join(since_seq=17))
    assert steps(found) == list(range(17, 50_000))
    assert "gap" not in names(found)
    journal.close(60.0)
    stage.server.close()


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


def test_one_monitor_too_many_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SUBSCRIBERS", 2)
    clients = [stage.join() for _ in range(3)]
    said = [stage.talk(client) for client in clients]
    assert names(said[2]) == ["bye"]
    assert said[2][0]["code"] == "full"
    assert clients[2].closed
    assert names(said[0]) == ["hello"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"\xff\xff\xff\xff", "over the 16384"),
        (pack({"t": "batch"}), "subscribe, rows and command, not 'batch'"),
        (pack({"t": "command", "id": "", "name": "x"}), "wrong `id`"),
        (pack({"t": "subscribe", "since_seq": -1}), "wrong `since_seq`: -1"),
        (pack({"t": "subscribe", "v": [99]}), "the monitor 99"),
        (b"\0\0\0\1\xc1", "msgpack"),
    ],
)
def test_an_offending_connection_is_closed_with_one_reason(
    stage: Stage, wrong: bytes, reason: str
) -> None:
    good, bad = stage.join(), stage.join()
    stage.talk(good)
    stage.talk(bad)
    bad.send(wrong)
    said = stage.talk(bad)
    assert names(said) == ["bye"]
    assert reason in said[0]["reason"]
    assert bad.closed
    stage.log(0, 1)
    assert steps(stage.talk(good)) == list(range(10))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(max_size=100) | messages_.map(pack), max_size=5))
def test_any_bytes_of_a_monitor_leave_the_others_alone(stage: Stage, chunks: list[bytes]) -> None:
    stage.server._connections.spent = 0.0  # how often one may connect is another test's
    bad = Client(stage.path)
    for chunk in chunks:
        bad.send(chunk)
        stage.turn(2)
    bad.socket.close()
    stage.turn()
    good = stage.join()
    assert names(stage.talk(good))[0] == "hello"
    good.socket.close()
    stage.turn()
    assert stage.server.subscribers == []


def test_an_order_is_answered_to_who_gave_it(stage: Stage) -> None:
    stage.commands.serving = True
    one, other = stage.join(), stage.join()
    stage.talk(one)
    one.send(messages.encode(Command("c-1", "pause")))
    stage.turn()
    (command,) = stage.commands.hand_out()
    assert command.origin is not None
    assert (command.name, command.origin.uid) == ("pause", os.geteuid())
    stage.commands.settle(Reply("c-1", True))
    assert names(stage.talk(one)) == ["reply"]
    assert names(stage.talk(other)) == ["hello"]


def test_at_the_end_everybody_gets_everything_and_a_goodbye(stage: Stage) -> None:
    client = stage.join()
    stage.turn()
    stage.log(0, 3000)
    stage.history.notes.append(messages.encode(EVENT), stage.history.log.end)
    stage.server.say_goodbye("the training ended")
    found = stage.talk(client)
    assert steps(found) == list(range(30_000))
    assert names(found)[-2:] == ["event", "bye"]
    assert client.closed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("share", [False, True])
def test_another_user_reads_only_what_is_shared_and_never_orders(share: bool) -> None:
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


def test_a_connection_subscribes_once(stage: Stage) -> None:
    client = stage.join()
    stage.talk(client)
    client.send(messages.encode(Subscription(rows=False)))
    (bye,) = stage.talk(client)
    assert (bye["t"], bye["reason"]) == ("bye", "a connection subscribes once")


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
            strangers = [stage.join() for _ in range(server.STRANGERS + 5)]
        finally:
            os.seteuid(0)
        assert [names(stage.talk(client))[-1] for client in strangers].count("bye") == 5
        assert names(stage.talk(stage.join())) == ["hello"]
        stage.server.close()

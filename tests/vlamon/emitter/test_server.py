"""The server among monitors that are late, slow, hostile or many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vlamon.emitter.stage import Client, Stage, names, steps
from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.protocol.strategies import messages_
from vlamon.emitter.journal_writer import Journal
from vlamon.hardware import GpuSample
from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import pack
from vlamon.protocol.messages import Subscription
from vlamon.records import Event, Reply, Status

EVENT = Event("e", "explode", 3, 0, 1.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(str(tmp_path / "vla.sock"))
    yield made
    made.server.close()


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


def test_a_reader_too_late_for_memory_gets_a_gap(tmp_path: Path) -> None:
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


def test_a_command_is_answered_to_who_gave_it(stage: Stage) -> None:
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


def test_a_connection_subscribes_once(stage: Stage) -> None:
    client = stage.join()
    stage.talk(client)
    client.send(messages.encode(Subscription(rows=False)))
    (bye,) = stage.talk(client)
    assert (bye["t"], bye["reason"]) == ("bye", "a connection subscribes once")

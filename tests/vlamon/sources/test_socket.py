"""A monitor on a socket: it waits, it follows, and it survives whatever is at the other end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import messages_
from vlamon import Emitter
from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import pack
from vlamon.records import BatchBlock, Event, Link, MetricsAnnounced, Record, Reply, RunInfo
from vlamon.sources import SourceError, stream
from vlamon.sources.socket import socket_source
from vlamon.sources.stream import StreamSource


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "vla.sock")


def collect(
    source: StreamSource, until: Callable[[list[Record]], bool], seconds: float = 60.0
) -> list[Record]:
    """Everything that the source says until the condition holds."""
    found: list[Record] = []
    end = time.monotonic() + seconds
    while not until(found):
        assert time.monotonic() < end, f"it never came; only {found[-5:]}"
        found.extend(source.read(0.05))
    return found


def links(found: list[Record]) -> list[str]:
    return [record.state for record in found if isinstance(record, Link)]


def steps(found: list[Record]) -> list[int]:
    blocks = [record for record in found if isinstance(record, BatchBlock)]
    return [step for block in blocks for step in block.step.tolist()]


def is_linked(state: str) -> Callable[[list[Record]], bool]:
    return lambda found: state in links(found)


@contextlib.contextmanager
def fake_trainer(path: str, answer: bytes, keep: bool = False) -> Iterator[None]:
    """Something that accepts one connection after the other, says `answer` and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(answer)
                    kept.append(connection)
                    if not keep:
                        kept.pop().close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def test_it_waits_for_a_trainer_that_is_not_there_yet(path: str) -> None:
    source = socket_source(path)
    (waiting,) = collect(source, is_linked("waiting"))
    assert isinstance(waiting, Link)
    assert path in waiting.text
    with Emitter(path) as emitter:
        emitter.log(3, closs=1.0)
        found = collect(source, lambda found: bool(steps(found)))
    assert links(found) == ["connecting", "live"]
    assert steps(found) == [3]


def test_eof_before_the_greeting_means_that_no_trainer_is_there(path: str) -> None:
    with fake_trainer(path, b""):
        found = collect(socket_source(path), is_linked("waiting"))
    assert "no trainer is behind it" in found[-1].text  # type: ignore[union-attr]


def test_a_trainer_that_says_nothing_is_told_apart(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "GREETING", 0.2)
    with fake_trainer(path, b"", keep=True):
        found = collect(socket_source(path), is_linked("waiting"))
    assert "says nothing" in found[-1].text  # type: ignore[union-attr]


def test_something_else_on_the_socket_is_a_sentence(path: str) -> None:
    with (
        fake_trainer(path, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        pytest.raises(SourceError, match="cannot be read"),
    ):
        collect(socket_source(path), lambda found: False)


def test_another_major_version_is_a_sentence(path: str) -> None:
    hello = pack(messages.encode(RunInfo("r", "goal")) | {"v": [9, 0]})
    with fake_trainer(path, hello), pytest.raises(SourceError, match="upgrade vlamon here"):
        collect(socket_source(path), lambda found: False)


def test_a_refusal_is_a_sentence(path: str) -> None:
    bye = pack(messages.encode(messages.Bye("this training belongs to uid 7", "refused")))
    with fake_trainer(path, bye), pytest.raises(SourceError, match="belongs to uid 7"):
        collect(socket_source(path), lambda found: False)


GREETING = pack(messages.encode(RunInfo("r", "goal", boot="b")))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(max_size=60) | messages_.map(pack), max_size=4), st.booleans())
def test_any_bytes_of_a_trainer_end_in_records_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], greeted: bool
) -> None:
    path = str(tmp_path_factory.mktemp("any") / "s")
    answer = (GREETING if greeted else b"") + b"".join(chunks)
    with fake_trainer(path, answer), contextlib.suppress(SourceError):
        source = socket_source(path)
        collect(
            source, lambda found: bool({"waiting", "reconnecting", "ended"} & set(links(found)))
        )


def test_a_restarted_trainer_is_followed_without_gap_or_duplicate(
    path: str, tmp_path: Path
) -> None:
    source = socket_source(path)
    with Emitter(path, run_dir=tmp_path / "run") as emitter:
        for step in range(5):
            emitter.log(step, closs=1.0)
        found = collect(source, lambda found: len(steps(found)) == 5)
    found += collect(source, is_linked("ended"))
    with Emitter(path, run_dir=tmp_path / "run") as emitter:
        assert emitter.attempt == 1
        for step in range(3, 8):
            emitter.log(step, closs=1.0)
        found += collect(source, lambda found: len(steps(found)) == 5)
    assert steps(found) == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]
    blocks = [record for record in found if isinstance(record, BatchBlock)]
    assert [block.seq for block in blocks] == sorted({block.seq for block in blocks})
    assert {block.attempt for block in blocks if block.seq >= 5} == {1}
    assert len({record.boot for record in found if isinstance(record, RunInfo)}) == 2


def test_without_a_journal_a_restart_still_begins_another_attempt(path: str) -> None:
    source = socket_source(path)
    found: list[Record] = []
    for _ in range(2):
        with Emitter(path) as emitter:
            emitter.log(1, closs=1.0)
            emitter.event("note", text="hi")
            found += collect(source, lambda found: any(isinstance(r, Event) for r in found))
        found += collect(source, is_linked("ended"))
    blocks = [record for record in found if isinstance(record, BatchBlock)]
    assert [block.attempt for block in blocks] == [0, 1]
    notes = [r for r in found if isinstance(r, Event) and r.kind == "note"]
    assert [note.attempt for note in notes] == [0, 1]


def test_a_metric_seen_late_is_announced_before_its_first_row(path: str) -> None:
    source = socket_source(path)
    with Emitter(path) as emitter:
        emitter.log(0, closs=1.0)
        found = collect(source, lambda found: len(steps(found)) == 1)
        emitter.log(1, closs=1.0, surprise=2.0)
        found += collect(source, lambda found: len(steps(found)) == 1)
    kinds = [type(record) for record in found if isinstance(record, BatchBlock | MetricsAnnounced)]
    assert kinds[-2:] == [MetricsAnnounced, BatchBlock]


def test_a_command_to_a_script_that_never_asks_is_refused_at_once(path: str) -> None:
    source = socket_source(path)
    with pytest.raises(SourceError, match="not sent"):
        source.send(Command("c", "pause"))
    with Emitter(path):
        collect(source, is_linked("live"))
        with pytest.raises(SourceError, match=r"never calls emitter.commands\(\)"):
            source.send(Command("c", "pause"))


def test_a_command_is_answered_though_the_connection_broke_meanwhile(path: str) -> None:
    source = socket_source(path)
    with Emitter(path) as emitter:
        emitter.commands()
        collect(source, lambda _: source.info is not None and source.info.control)
        source.send(Command("c-1", "checkpoint"))
        ordered: list[Any] = []
        while not ordered:
            source.read(0.02)
            ordered = list(emitter.commands())
        assert source._stream is not None
        source._stream.close()
        source._stream = None
        ordered[0].done({"step": 3})
        found = collect(source, lambda found: any(isinstance(r, Reply) for r in found))
        assert not list(emitter.commands())
    (reply,) = [record for record in found if isinstance(record, Reply)]
    assert (reply.id, reply.ok, reply.result) == ("c-1", True, {"step": 3})


def test_a_command_whose_trainer_was_killed_is_not_left_open(path: str) -> None:
    source = socket_source(path)
    with Emitter(path) as emitter:
        emitter.commands()
        collect(source, lambda _: source.info is not None and source.info.control)
        source.send(Command("c-1", "checkpoint"))
        while not emitter.commands():
            source.read(0.02)
    found = collect(source, lambda found: any(isinstance(r, Reply) for r in found))
    (reply,) = [record for record in found if isinstance(record, Reply)]
    assert not reply.ok
    assert "ended before" in reply.error


def test_closing_ends_a_read_that_waits(path: str) -> None:
    source = socket_source(path)
    source.read(0.01)
    thread = threading.Thread(target=lambda: [source.read(30.0) for _ in range(3)])
    thread.start()
    time.sleep(0.1)
    source.close()
    thread.join(60.0)
    assert not thread.is_alive()
    assert source.finished

"""From afar a run's newest rows come first, then all others, each once and in its place."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.vlamon.detect.test_monitor import RUN, batches, level
from vlamon import Emitter
from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import pack
from vlamon.protocol.messages import Bye, Start
from vlamon.records import Backfill, BatchBlock, Event, Gap, Record, Status
from vlamon.sources.client import Conversation, Cursor
from vlamon.sources.feed import Feed
from vlamon.sources.monitored import Monitored
from vlamon.sources.older_rows import Backlog
from vlamon.sources.socket import socket_source

ROWS = 20_000
NEWEST = 500


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Emitter, str]]:
    """A training with a history of two attempts, whose weights changed once."""
    path = str(tmp_path / "vla.sock")
    with Emitter(path, run_dir=tmp_path, weights={"closs": 1.0}) as emitter:
        for row in range(ROWS):
            if row == 7_000:
                emitter.set_attempt(1)
            if row == 9_000:
                emitter.set_weights({"closs": 2.0})
            step = row if row < 7_000 else row - 1_000
            more = {"late": 1.0} if row > 15_000 else {}
            emitter.log(step, closs=float(row), **more)
        assert emitter._service is not None
        log = emitter._service.sidecar.history.log
        until(lambda: log.end == ROWS)
        yield emitter, path


class Line:
    """A connection of a monitor, read as long as a condition lasts."""

    def __init__(self, path: str, cursor: Cursor) -> None:
        self.talk = Conversation(cursor, "test", newest=NEWEST)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.settimeout(30.0)

    def read(self, until: Callable[[list[Record]], bool], size: int = 4096) -> list[Record]:
        found: list[Record] = []
        end = time.monotonic() + 60
        while not until(found):
            assert time.monotonic() < end, "it never came"
            data = self.sock.recv(size)
            assert data, "hung up"
            found += self.talk.feed(data)
            self.sock.sendall(self.talk.outgoing())
        return found


def older(found: Sequence[Record]) -> list[Backfill]:
    return [record for record in found if isinstance(record, Backfill)]


def values(found: Sequence[Record]) -> list[float]:
    blocks = [record for record in found if isinstance(record, BatchBlock)]
    blocks += [block for record in older(found) for block in record.records]  # type: ignore[misc]
    return [value for block in blocks for value in block.columns["closs"].values.tolist()]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_store_has_the_newest_rows_first_and_in_the_end_every_row_in_its_place(
    served: tuple[Emitter, str],
) -> None:
    emitter, path = served
    whole, part = socket_source(path), socket_source(path)
    part.newest = NEWEST
    feeds = [Feed(whole), Feed(part)]
    seen: list[tuple[int, float | None]] = []
    feeds[1].on_change = lambda: seen.append((feeds[1].store.rows, feeds[1].store.latest("closs")))
    for feed in feeds:
        feed.start()
    try:
        until(lambda: all(feed.store.rows >= ROWS for feed in feeds))
        emitter.log(ROWS, closs=float(ROWS))
        until(lambda: all(feed.store.rows == ROWS + 1 for feed in feeds))
        for feed in feeds:
            feed.close()
        right, found = (feed.store for feed in feeds)
        assert np.array_equal(found.steps(), right.steps())
        assert np.array_equal(found.times(), right.times())
        for metric in ("closs", "late"):
            assert np.array_equal(
                found.present(metric, 0, ROWS + 1), right.present(metric, 0, ROWS + 1)
            )
            assert np.array_equal(
                found.values(metric, 0, ROWS), right.values(metric, 0, ROWS), equal_nan=True
            )
            assert (found.latest(metric), found.exact(metric)) == (
                right.latest(metric), right.exact(metric)
            )  # fmt: skip
        assert found.attempts == right.attempts
        assert [found.weights_at(row) for row in (0, 8_999, 9_000)] == [
            {"closs": 1.0}, {"closs": 1.0}, {"closs": 2.0}
        ]  # fmt: skip
        assert found.gaps == []
    finally:
        for feed in feeds:
            feed.close()
    first = next(each for each in seen if each[0])
    assert first[0] <= 3 * NEWEST, "the newest rows and one window come with the first read"
    assert first[1] == float(ROWS - 1)
    assert len({rows for rows, _ in seen}) > 3, "the rest comes in pieces that can be seen"


def test_a_line_that_breaks_amid_older_rows_goes_on_there(served: tuple[Emitter, str]) -> None:
    _, path = served
    cursor, found = Cursor(), list[Record]()
    for _ in range(3):
        line = Line(path, cursor)
        found += line.read(lambda records: bool(older(records)))
        line.sock.close()
    line = Line(path, cursor)
    found += line.read(lambda _: cursor.backlog is None, size=1 << 20)
    line.sock.close()
    assert not any(isinstance(record, Gap) for record in found)
    assert sorted(values(found)) == [float(row) for row in range(ROWS)]


def test_live_rows_and_commands_do_not_wait_for_older_ones(served: tuple[Emitter, str]) -> None:
    emitter, path = served
    line = Line(path, Cursor())
    found = line.read(lambda records: bool(older(records)), size=2048)
    emitter.log(ROWS, closs=-1.0)
    found += line.read(lambda records: -1.0 in values(records), size=2048)
    line.sock.close()
    assert line.talk.cursor.backlog is not None, "older rows were still on their way"


def test_a_thin_line_is_asked_for_little_at_a_time_and_a_fast_one_for_much() -> None:
    def asked(seconds: float) -> list[int]:
        backlog, now, sizes = Backlog(0, 10**6, 10**6), 0.0, []
        for _ in range(8):
            request = backlog.request(now)
            assert request is not None
            sizes.append(request.end_seq - request.since_seq)
            now += seconds
            list(backlog.skip(Gap(sizes[-1], None, None, "")))
            assert backlog.due(now)
        return sizes

    assert asked(0.8) == [2048] * 8
    assert asked(0.01) == [2048, 4096, 8192, 16_384, 32_768, 65_536, 65_536, 65_536]
    assert asked(2.0) == [2048] * 8


def test_rows_that_are_lost_on_the_way_are_said() -> None:
    cursor = Cursor()
    cursor.backlog = Backlog(100, 1000, 600)
    request = cursor.backlog.request(0.0)
    assert request is not None
    assert (request.since_seq, request.end_seq) == (400, 1000)
    lost = list(cursor.backlog.skip(Gap(600, None, None, "the journal has lost them")))
    assert isinstance(lost[0], Gap)
    assert lost[1:] == [Backfill((), True, before=True)]
    assert cursor.backlog.left == 300


def test_a_training_that_ends_before_its_older_rows_came_says_how_many_are_missing() -> None:
    talk = Conversation(Cursor(), "test", newest=100)
    talk.feed(pack(messages.greeting(RUN, Start(end_seq=1000))))
    found = talk.feed(pack(messages.encode(Bye("ended", "ended"))))
    assert [record.rows for record in found if isinstance(record, Gap)] == [900]


class Told:
    """A source that says what it was told."""

    finished = True

    def __init__(self, *records: Record) -> None:
        self.records = records

    def read(self, timeout: float) -> Sequence[Record]:
        return self.records

    def send(self, command: Command) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("at", [700, 1005])
def test_an_explosion_among_older_rows_is_found_once(at: int) -> None:
    numbers = level(3000)
    numbers[at : at + 3] = 80.0
    newest = batches(2000, closs=numbers[2000:].tolist())
    windows = [batches(first, closs=numbers[first : first + 1000].tolist()) for first in (1000, 0)]
    filled = [Backfill((window,), True, before=True) for window in windows]
    found = Monitored(Told(RUN, newest, Status("training", 0), *filled)).read(0.0)
    events = [record for record in found if isinstance(record, Event)]
    assert [(event.kind, event.step) for event in events] == [("explode", at)]

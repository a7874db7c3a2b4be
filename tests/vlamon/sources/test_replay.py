"""A replay hands over what the journal holds, at the pace at which it came."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from vlamon.emitter.journal_writer import Journal
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import pack
from vlamon.records import BatchBlock, Event, Link, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.replay import PAUSE, ReplaySource

START = 1_000_000.0


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """100 batches, ten a second, an event after the 50th, and a night before the last ten."""
    made = tmp_path / "run.vlaj"
    journal = Journal(made)
    journal.add_frame(pack(messages.encode(RunInfo("run", "goal"))))
    for first in range(0, 100, 10):
        late = 40_000.0 if first == 90 else 0.0
        rows = [
            (s, 0.0, START + s / 10 + late, {"closs": float(s)}) for s in range(first, first + 10)
        ]
        journal.add_block(blocks.from_rows(first, 0, rows), {})
        if first == 40:
            event = Event("e", "explode", 49, 0, START + 4.95)
            journal.add_frame(pack(messages.encode(event)))
    journal.close(5.0)
    return made


def play(source: ReplaySource, clock: Clock) -> list[tuple[float, Record]]:
    """Every record with the seconds since the start at which it came."""
    start, found = clock.now, []
    while not source.finished:
        records = source.read(0.1)
        found += [(clock.now - start, record) for record in records]
    return found


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_rows_come_at_their_time(path: Path, speed: float) -> None:
    clock = Clock()
    source = ReplaySource(path, speed, clock, clock.sleep)
    came: dict[int, float] = {}
    for when, record in play(source, clock):
        if isinstance(record, BatchBlock):
            came |= {int(step): when for step in record.step}
    assert sorted(came) == list(range(100))
    for step in range(90):
        assert came[step] == pytest.approx(step / 10 / speed, abs=0.05)
    assert came[90] - came[89] <= PAUSE + 0.1  # nobody watches a night


def test_an_event_keeps_its_place_among_the_rows(path: Path) -> None:
    clock = Clock()
    order: list[object] = []
    for _, record in play(ReplaySource(path, 50.0, clock, clock.sleep), clock):
        if isinstance(record, BatchBlock):
            order += record.step.tolist()
        elif isinstance(record, Event):
            order.append(record.kind)
    assert order[order.index("explode") - 1] == 49
    assert order[order.index("explode") + 1] == 50


@pytest.mark.parametrize("speed", [2.0, math.inf])
def test_it_says_first_that_it_is_a_replay_and_last_that_it_ended(path: Path, speed: float) -> None:
    clock = Clock()
    told = [r for _, r in play(ReplaySource(path, speed, clock, clock.sleep), clock)]
    assert isinstance(told[0], Link)
    assert [record.state for record in told if isinstance(record, Link)] == ["replay", "ended"]


def test_as_fast_as_possible_is_a_speed_too(path: Path) -> None:
    source = ReplaySource(path, math.inf)
    rows = 0
    while not source.finished:
        rows += sum(r.rows for r in source.read(0.0) if isinstance(r, BatchBlock))
    assert rows == 100


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_that_never_arrives_is_refused(path: Path, speed: float) -> None:
    with pytest.raises(SourceError, match="above 0"):
        ReplaySource(path, speed)


def test_a_replay_takes_no_commands(path: Path) -> None:
    with pytest.raises(SourceError, match="this is a replay"):
        ReplaySource(path).send(Command("c", "pause"))

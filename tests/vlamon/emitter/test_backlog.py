"""A script that logs faster than rows can be packed: memory is bounded, and what lacks is said."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.test_journal import read_all, steps_in
from vlamon import Emitter
from vlamon.emitter import backlog
from vlamon.emitter.backlog import Backlog
from vlamon.emitter.blocklog import BlockLog, RowsForgotten
from vlamon.emitter.service import Service
from vlamon.protocol import block as blocks
from vlamon.records import Event, Gap

ROW = dict.fromkeys((f"m{i}" for i in range(100)), 1.0)


class Owner:
    def __init__(self) -> None:
        self.swallowed: dict[str, int] = {}
        self.warned: list[str] = []

    def swallow(self, reason: str, count: int = 1) -> None:
        self.swallowed[reason] = self.swallowed.get(reason, 0) + count

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def last_words(self) -> list[Event]:
        return []


def waiting(rows: int) -> Backlog:
    return Backlog(deque((step, None, 0.0, ROW) for step in range(rows)), Owner())


def test_nothing_is_too_much_below_the_bound_and_half_of_it_stays_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert waiting(20_000).excess() == 0
    assert waiting(30_000).excess() == pytest.approx(30_000 - 13_000, rel=0.01)
    monkeypatch.setattr(backlog, "MOST", 1 << 20)
    assert waiting(60).excess() == 0
    assert waiting(101).excess() == 0
    assert 50 < waiting(103).excess() < 54


def test_what_was_left_out_is_said_now_and_then_and_counted_in_full() -> None:
    owner = Owner()
    held = Backlog(deque(), owner)
    for step in range(5):
        held.leave_out(step)
        held.tell()
    held.tell(at_once=True)
    held.tell(at_once=True)
    assert owner.swallowed == {"rows: they came faster than they could be packed": 5}
    assert [each.partition(":")[0] for each in owner.warned] == [
        "1 rows are left out, steps 0 to 0",
        "4 rows are left out, steps 1 to 4",
    ]
    assert held.hole == 5


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sidecar that runs only when a test lets it, and a bound of about 100 rows."""
    monkeypatch.setattr(Service, "start", lambda self: None)
    monkeypatch.setattr(backlog, "MOST", 1 << 20)


@pytest.mark.usefixtures("crowded")
def test_a_thousand_rows_at_once_leave_a_gap_that_every_reader_sees(tmp_path: Path) -> None:
    emitter = Emitter(None, run_dir=tmp_path)
    sidecar: Any = emitter._service.sidecar  # type: ignore[union-attr]
    for step in range(50):
        emitter.log(step, **ROW)
    sidecar._turn(0.0)
    for step in range(50, 1050):
        emitter.log(step, **ROW)
    emitter.event("note", text="kept")
    most = len(emitter._inbox)
    while emitter._inbox:
        sidecar._turn(0.0)
    sidecar.stopping.set()
    sidecar.run()
    assert most > 1000
    lost = emitter.swallowed
    assert 900 < lost < 1000
    records = read_all(tmp_path / "run.vlaj")
    kept = steps_in(records)
    assert kept == [*range(50), *range(50 + lost, 1050)]
    (gap,) = [each for each in records if isinstance(each, Gap)]
    assert (gap.rows, gap.first_step, gap.last_step) == (lost, 50, 49 + lost)
    texts = [each.text for each in records if isinstance(each, Event)]
    assert any(each.startswith(f"{lost} rows are left out, steps 50 to") for each in texts)
    assert "kept" in texts


@pytest.mark.usefixtures("crowded")
def test_an_attempt_that_began_among_rows_left_out_is_another_one(tmp_path: Path) -> None:
    emitter = Emitter(None, run_dir=tmp_path)
    sidecar: Any = emitter._service.sidecar  # type: ignore[union-attr]
    for step in (*range(100, 200), *range(50, 950)):  # a rollback that the script did not name
        emitter.log(step, **ROW)
    sidecar._turn(0.0)
    assert sidecar.attempt == 1


@pytest.mark.usefixtures("crowded")
def test_what_a_script_logged_right_before_its_end_is_kept(tmp_path: Path) -> None:
    emitter = Emitter(None, run_dir=tmp_path)
    sidecar: Any = emitter._service.sidecar  # type: ignore[union-attr]
    for step in range(500):
        emitter.log(step, **ROW)
    sidecar.stopping.set()
    sidecar.run()
    assert emitter.swallowed == 0
    assert steps_in(read_all(tmp_path / "run.vlaj")) == list(range(500))


def test_a_live_reader_sees_why_rows_are_missing() -> None:
    log = BlockLog()
    log.append(blocks.from_rows(0, 0, [(0, 0.0, 0.0, {"a": 1.0})]))
    log.append(blocks.from_rows(7, 0, [(7, 0.0, 0.0, {"a": 1.0})]))
    assert log.read(1) == RowsForgotten(7, 7, left_out=True)

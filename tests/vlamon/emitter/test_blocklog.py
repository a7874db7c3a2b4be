"""The log that every reader is a cursor in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import chains, rows_of
from vlamon.emitter.blocklog import BlockLog, NextFrame, NoteLog, RowsForgotten
from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block, Row
from vlamon.protocol.frames import unpack


def plain_blocks(first: int, count: int, rows: int = 10, attempt: int = 0) -> list[Block]:
    """Blocks of `rows` rows; step and closs are the row number."""

    def row(number: int) -> Row:
        return number, 0.0, 0.0, {"closs": float(number)}

    starts = range(first, first + count * rows, rows)
    return [
        blocks.from_rows(start, attempt, [row(start + place) for place in range(rows)])
        for start in starts
    ]


def read_all(log: BlockLog, seq: int) -> tuple[list[Block], list[RowsForgotten]]:
    """What a cursor gets from `seq` on."""
    found, lost = [], []
    while (piece := log.read(seq)) is not None:
        if isinstance(piece, NextFrame):
            block = blocks.from_message(unpack(piece.frame[4:]))
            assert (block.seq, block.end) == (seq, piece.end)
            found.append(block)
            seq = piece.end
        else:
            lost.append(piece)
            seq = piece.resume
    return found, lost


@given(chains(), st.data())
def test_a_cursor_anywhere_gets_every_row_once(chain: list[Block], data: st.DataObject) -> None:
    log = BlockLog(chain[0].seq)
    for block in chain:
        log.append(block, opens=data.draw(st.booleans()))
    since = data.draw(st.integers(chain[0].seq, chain[-1].end))
    found, lost = read_all(log, since)
    assert not lost
    wanted = [row for block in chain for row in rows_of(block)][since - chain[0].seq :]
    assert repr([row for block in found for row in rows_of(block)]) == repr(wanted)


def test_old_rows_are_packed_and_every_cursor_still_gets_each_row_once() -> None:
    log = BlockLog()
    for block in plain_blocks(0, 3000):
        log.append(block)
    assert log.end == 30_000
    for since in (0, 1, 4095, 4096, 12_345, 29_999, 30_000):
        found, lost = read_all(log, since)
        assert not lost
        steps = [row[0] for block in found for row in rows_of(block)]
        assert steps == list(range(since, 30_000))
    assert len(read_all(log, 0)[0]) < 1000 + 30_000 // 4096
    assert read_all(log, 0)[0][0].rows == 4090


def test_packing_never_joins_attempts_or_weights_or_announcements() -> None:
    log = BlockLog()
    for block in plain_blocks(0, 100) + plain_blocks(1000, 100, attempt=1):
        log.append(block)
    for number, block in enumerate(plain_blocks(2000, 2000, attempt=1)):
        log.append(block, opens=number == 0)
    assert [block.rows for block in read_all(log, 0)[0][:3]] == [1000, 1000, 4090]


def test_a_reader_that_joins_in_the_middle_gets_the_weights_in_force() -> None:
    log = BlockLog()
    first = plain_blocks(0, 1)[0]
    log.append(blocks.from_rows(0, 0, rows_of(first), {"closs": 2.0}))
    for block in plain_blocks(10, 2000):
        log.append(block)
    assert read_all(log, 777)[0][0].weights == {"closs": 2.0}


def test_memory_is_bounded_and_what_is_forgotten_is_said() -> None:
    log = BlockLog(memory=100_000)
    for block in plain_blocks(0, 5000):
        log.append(block)
        log.forget(None)
        assert log.held <= 100_000 + 4096 * 40
    found, lost = read_all(log, 0)
    assert lost == [RowsForgotten(log.start, log.start)]
    assert [row[0] for block in found for row in rows_of(block)] == list(range(log.start, 50_000))


def test_rows_that_the_journal_does_not_have_yet_are_never_forgotten() -> None:
    log = BlockLog(memory=1000)
    for block in plain_blocks(0, 2000):
        log.append(block)
    log.forget(kept_elsewhere=0)
    assert log.start == 0
    log.forget(kept_elsewhere=5000)
    assert 0 < log.start <= 5000


@pytest.mark.parametrize("seq", [0, 3, 10])
def test_an_empty_log_has_nothing_yet(seq: int) -> None:
    assert BlockLog(3).read(max(seq, 3)) is None


def test_a_note_is_due_when_all_rows_before_it_were_sent() -> None:
    notes = NoteLog()
    frame = notes.append({"t": "event"}, at=10)
    assert notes.due(0, 9) is None
    assert notes.due(0, 10) == frame
    assert notes.due(1, 99) is None
    assert unpack(frame[4:])["k"] == 0

"""The journal: what was written comes back, and damage costs only what it touches."""

from __future__ import annotations

import itertools
import os
import random
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.protocol.strategies import chains, rows_of
from vlamon.emitter import journal_writer
from vlamon.emitter.journal_writer import Journal
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.block import Block
from vlamon.protocol.frames import pack, unpack
from vlamon.protocol.journal import MAGIC, JournalError, Scanner, Sealed, TornBytes, scan, seal
from vlamon.records import BatchBlock, Gap, Link, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.journal import JournalSource

HELLO = pack(messages.encode(RunInfo("run-1", "goal")))


def write(path: Path, chain: list[Block]) -> None:
    journal = Journal(path)
    journal.add_frame(HELLO)
    for block in chain:
        journal.add_block(block, dict(block.weights))
    journal.close(60.0)


def read_all(path: Path) -> list[Record]:
    source = JournalSource(path, follow=False)
    found: list[Record] = []
    while not source.finished:
        found += source.read(0.0)
    return found


def steps_in(records: list[Record]) -> list[int]:
    return [
        step
        for record in records
        if isinstance(record, BatchBlock)
        for step in record.step.tolist()
    ]


@settings(max_examples=30)
@given(chains())
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, chain: list[Block]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "run.vlaj"
    write(path, chain)
    found = [record for record in read_all(path) if isinstance(record, BatchBlock)]
    wanted = [row for block in chain for row in rows_of(block)]
    assert [step for record in found for step in record.step.tolist()] == [row[0] for row in wanted]
    assert found[0].attempt == chain[0].attempt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of 40 frames of 10 rows, steps 0 … 399."""
    path = tmp_path_factory.mktemp("journal") / "run.vlaj"
    journal = Journal(path)
    journal.add_frame(HELLO)
    for block in plain_blocks(0, 40):
        journal.add_block(block, {})
        journal._close_group()
    journal.close(60.0)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_tail_costs_at_most_the_last_frame_and_is_said(
    whole: bytes, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "run.vlaj"
    choose = random.Random(seed)
    for length in choose.sample(range(800, len(whole)), 20):
        path.write_bytes(whole[:length])
        records = read_all(path)
        steps = steps_in(records)
        assert steps == list(range(len(steps)))
        assert len(steps) >= 10 * ((length - 800) // ((len(whole) - 700) // 40) - 1)
        gaps = [record for record in records if isinstance(record, Gap)]
        last_good = list(scan_bytes(whole[:length]))[-1]
        assert bool(gaps) == isinstance(last_good, TornBytes)
        if gaps:
            assert "1 frame lost" in gaps[0].reason


def scan_bytes(data: bytes) -> list[Sealed | TornBytes]:
    scanner = Scanner()
    return [*scanner.feed(data), *scanner.finish()]


@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bits_cost_only_the_frames_that_they_touch(
    whole: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole)
    good = [found for found in scan_bytes(whole) if isinstance(found, Sealed)]
    flips = data.draw(st.lists(st.integers(len(MAGIC), len(whole) - 1), min_size=1, max_size=5))
    for place in flips:
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    found = scan_bytes(bytes(damaged))
    survivors = {item.offset for item in found if isinstance(item, Sealed)}
    touched = {
        item.offset for item in good if any(item.offset <= place < item.end for place in set(flips))
    }
    assert survivors >= {item.offset for item in good} - touched
    assert sum(len(i.payload) + 12 if isinstance(i, Sealed) else i.bytes for i in found) + len(
        MAGIC
    ) == len(whole)


@settings(max_examples=60)
@given(st.binary(max_size=400), st.integers(1, 100))
def test_any_bytes_end_in_a_run_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    scanner = Scanner()
    for start in range(0, len(data), size):
        list(scanner.feed(data[start : start + size]))
    list(scanner.finish())
    path = tmp_path_factory.mktemp("journal") / "run.vlaj"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="holds no run"):
        read_all(path)


def test_a_file_made_to_be_slow_is_given_up() -> None:
    # Every 12 bytes a mark that claims a megabyte behind it: a crc over each would take hours.
    bomb = b"\xf7vJ\xfe\x00\x10\x00\x00\x00\x00\x00\x00" * 200_000
    with pytest.raises(JournalError, match="giving up"):
        scan_bytes(bomb)


def test_a_missing_stretch_is_reported_with_its_steps(whole: bytes, tmp_path: Path) -> None:
    good = [found for found in scan_bytes(whole) if isinstance(found, Sealed)]
    path = tmp_path / "run.vlaj"
    path.write_bytes(whole[: good[11].offset] + whole[good[13].offset :])
    (gap,) = [record for record in read_all(path) if isinstance(record, Gap)]
    assert (gap.rows, gap.first_step, gap.last_step) == (20, 100, 119)


def test_a_restart_goes_on_where_the_last_boot_ended(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    write(path, plain_blocks(0, 5, attempt=0))
    again = Journal(path)
    assert (again.past.run_id, again.past.next_seq, again.past.last_attempt) == ("run-1", 50, 0)
    again.add_frame(HELLO)
    for block in plain_blocks(50, 5, attempt=1):
        again.add_block(block, {})
    again.close(60.0)
    records = read_all(path)
    assert steps_in(records) == list(range(100))
    assert not [record for record in records if isinstance(record, Gap)]


def test_a_restart_writes_over_a_torn_tail(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    path.write_bytes(whole[:-7])
    again = Journal(path)
    assert again.past.next_seq == 390
    assert [torn.frames for torn in again.past.torn] == [1]
    for block in plain_blocks(390, 2):
        again.add_block(block, {})
    again.close(60.0)
    records = read_all(path)
    assert steps_in(records) == list(range(410))
    assert not [record for record in records if isinstance(record, Gap)]


def test_two_trainings_cannot_write_one_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path / "run.vlaj")
    with pytest.raises(JournalError, match="another live training"):
        Journal(tmp_path / "run.vlaj")
    first.close(60.0)


def test_a_journal_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    write(path, plain_blocks(0, 1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)  # as an earlier version made it
    Journal(path).close(60.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_journal_that_a_stranger_put_into_a_shared_directory_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's file")
    tmp_path.chmod(0o1777)
    path = tmp_path / "run.vlaj"
    path.touch()
    os.chown(path, 65534, 65534)
    with pytest.raises(JournalError, match="belongs to uid 65534"):
        Journal(path)


def test_what_is_no_regular_file_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    os.mkfifo(path)
    with pytest.raises(JournalError, match="not a regular file"):
        Journal(path)
    with pytest.raises(SourceError, match="not a regular file"):
        JournalSource(path).read(0.1)


def flushed(journal: Journal, seq: int) -> None:
    """Wait until everything before `seq` is on disk."""
    journal.push()
    while journal.flushed_seq < seq:
        time.sleep(0.001)


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_journal_that_is_removed_while_it_is_written_loses_nothing(
    tmp_path: Path, folder_too: bool
) -> None:
    path = tmp_path / "run" / "run.vlaj"
    journal = Journal(path)
    journal.add_frame(HELLO)
    for block in plain_blocks(0, 5):
        journal.add_block(block, {})
    flushed(journal, 50)
    path.unlink()
    if folder_too:
        path.parent.rmdir()
    for block in plain_blocks(50, 5):
        journal.add_block(block, {})
    flushed(journal, 100)
    journal.close(60.0)
    assert steps_in(read_all(path)) == list(range(100))
    (news,) = journal.news
    assert "was removed" in news


def test_a_file_put_in_the_journals_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    journal = Journal(path)
    path.unlink()
    path.write_text("somebody's thesis")
    journal.add_frame(HELLO)
    journal.close(60.0)
    assert journal.failure == "another file was put in its place"
    assert path.read_text() == "somebody's thesis"


def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.vlaj"
    real, full, turn = os.pwrite, threading.Event(), itertools.cycle((0, 1))

    def crowded(descriptor: int, data: bytes, at: int) -> int:
        if full.is_set() and next(turn):
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data[: 1 + len(data) // 2]), at)  # and short writes before it

    journal = Journal(path)
    monkeypatch.setattr(journal_writer.os, "pwrite", crowded)
    monkeypatch.setattr(journal_writer, "RETRY", 0.01)
    journal.add_frame(HELLO)
    full.set()
    for number, block in enumerate(plain_blocks(0, 20)):
        journal.add_block(block, {})
        journal.push()
        if number == 10:
            while not journal.trouble:
                time.sleep(0.001)
            full.clear()
    flushed(journal, 200)
    journal.close(60.0)
    assert journal.failure == ""
    records = read_all(path)
    assert steps_in(records) == list(range(200))
    assert not [record for record in records if isinstance(record, Gap)]
    assert ["waits for room" in journal.news[0], "written again" in journal.news[1]] == [True] * 2


def test_a_disk_that_is_full_at_the_start_gets_the_whole_journal_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.vlaj"
    real, full = os.pwrite, threading.Event()
    full.set()

    def crowded(descriptor: int, data: bytes, at: int) -> int:
        if full.is_set():
            raise OSError(28, "No space left on device")
        return real(descriptor, data, at)

    monkeypatch.setattr(journal_writer.os, "pwrite", crowded)
    monkeypatch.setattr(journal_writer, "RETRY", 0.01)
    journal = Journal(path)
    journal.add_frame(HELLO)
    for block in plain_blocks(0, 20):
        journal.add_block(block, {})
        journal.push()
    while not journal.trouble:
        time.sleep(0.001)
    assert path.read_bytes() == b""
    full.clear()
    flushed(journal, 200)
    journal.close(60.0)
    assert steps_in(read_all(path)) == list(range(200))


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    path.write_text("somebody's thesis")
    with pytest.raises(JournalError, match="not a vlamon journal"):
        Journal(path)
    assert path.read_text() == "somebody's thesis"


@pytest.mark.parametrize("since", [0, 5, 4096, 17_003, 29_999])
def test_rows_are_read_back_from_any_row_on(tmp_path: Path, since: int) -> None:
    journal = Journal(tmp_path / "run.vlaj")
    for number, block in enumerate(plain_blocks(0, 3000)):
        journal.add_block(block, {})
        if number % 7 == 0:
            journal._close_group()
    journal._close_group()
    journal._signal.set()
    while journal.flushed_seq < 30_000:
        time.sleep(0.001)
    fetch = journal.fetch(since)
    assert fetch.done.wait(60.0)
    journal.close(60.0)
    steps = []
    for piece in fetch.frames:
        block = blocks.from_message(unpack(piece.frame[4:]))
        assert (piece.seq, piece.end) == (block.seq, block.end)
        steps += [row[0] for row in rows_of(block)]
    assert steps == list(range(since, 30_000))


def test_a_journal_is_followed_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    journal = Journal(path)
    source = JournalSource(path, follow=True)
    journal.add_frame(HELLO)
    found: list[Record] = []
    for block in plain_blocks(0, 3):
        journal.add_block(block, {})
        journal._close_group()
        journal._signal.set()
        while len(steps_in(found)) < block.end:
            found += source.read(0.01)
    assert not source.finished
    journal.close(60.0)
    while not source.finished:
        found += source.read(0.01)
    assert steps_in(found) == list(range(30))
    links = [record.state for record in found if isinstance(record, Link)]
    assert links == ["live", "ended"]


def test_the_scanner_holds_no_more_than_a_frame_of_garbage() -> None:
    scanner = Scanner()
    for _ in range(50):
        list(scanner.feed(b"\0" * 100_000))
        assert scanner.pending < 16
    assert [type(found) for found in scanner.feed(seal(HELLO))] == [TornBytes, Sealed]


def test_scanning_a_descriptor_stops_at_the_given_end(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.vlaj"
    path.write_bytes(whole)
    good = [found for found in scan_bytes(whole) if isinstance(found, Sealed)]
    with path.open("rb") as file:
        part = list(scan(file.fileno(), good[3].offset, good[6].offset))
    assert part == good[3:6]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 16, 64])
def test_damage_and_frames_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    """A mark, a header and a frame may each be cut in two; what is garbage must not hide one."""
    frame = seal(HELLO)
    hit = bytearray(frame)
    hit[20] ^= 1
    parts = [b"\xf7vJ", frame, bytes(hit), b"\xf7", frame, frame, b"abc", bytes(hit), frame[:9]]
    data = b"".join(parts)
    scanner, found = Scanner(), list[Sealed | TornBytes]()
    for start in range(0, len(data), size):
        found += scanner.feed(data[start : start + size])
    found += scanner.finish()
    places = [sum(map(len, parts[:index])) for index in range(len(parts) + 1)]
    assert found == [
        TornBytes(0, 3, 1),
        Sealed(places[1], HELLO[4:]),
        TornBytes(places[2], len(frame) + 1, 1),
        Sealed(places[4], HELLO[4:]),
        Sealed(places[5], HELLO[4:]),
        TornBytes(places[6], 3 + len(frame) + 9, 2),
    ]
    assert scanner.offset == len(data)

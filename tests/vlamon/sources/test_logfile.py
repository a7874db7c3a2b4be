"""Following a log file, whatever happens to it on the way."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlamon.protocol.commands import Command
from vlamon.records import BatchBlock, EpochBlock, Link, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.bytestream import watch
from vlamon.sources.logfile import MAX_LINE, LogFile

PATIENCE = 60.0
"""Seconds after which a record that should come counts as lost; never waited for in full."""


def line(epoch: int, closs: float = 8.5) -> str:
    return json.dumps({"train_closs": closs, "train_loss_ct": 0.13, "epoch": epoch}) + "\n"


def epochs(records: list[Record]) -> list[int]:
    return [int(e) for r in records if isinstance(r, EpochBlock) for e in r.epoch]


class Reader:
    """Reads a log file until something is there."""

    def __init__(self, path: Path, **options: bool) -> None:
        self.source = LogFile(str(path), **options)
        self.records: list[Record] = []

    def until(self, there: Callable[[list[Record]], bool]) -> list[Record]:
        deadline = time.monotonic() + PATIENCE
        while not there(self.records):
            assert time.monotonic() < deadline, f"never came; got {self.records}"
            self.records += self.source.read(0.05)
        return self.records

    def until_epochs(self, *wanted: int) -> list[Record]:
        return self.until(lambda records: epochs(records) == list(wanted))

    def all(self) -> list[Record]:
        while not self.source.finished:
            self.records += self.source.read(0.05)
        return self.records


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run7" / "log_train.txt"
    path.parent.mkdir()
    return path


def test_a_file_is_read_to_its_end_once(log: Path) -> None:
    log.write_text(line(0) + line(1))

    records = Reader(log, follow=False).all()

    assert isinstance(records[0], RunInfo)
    assert records[0].name == "run7"
    assert epochs(records) == [0, 1]
    assert isinstance(records[-1], Link)
    assert records[-1].state == "ended"


def test_a_line_that_is_appended_arrives(log: Path) -> None:
    log.write_text(line(0))
    reader = Reader(log)
    reader.until_epochs(0)
    with log.open("a") as file:
        file.write(line(1))

    reader.until_epochs(0, 1)


def test_a_half_written_line_waits_for_its_rest(log: Path) -> None:
    text = line(1)
    log.write_text(line(0) + text[:20])
    reader = Reader(log)
    reader.until_epochs(0)
    for _ in range(3):
        assert epochs(list(reader.source.read(0.02))) == []
    with log.open("a") as file:
        file.write(text[20:])

    reader.until_epochs(0, 1)
    assert reader.source.unknown.count == 0


def test_a_last_line_without_newline_is_read_once(log: Path) -> None:
    log.write_text(line(0) + line(1).rstrip("\n"))

    assert epochs(Reader(log, follow=False).all()) == [0, 1]


def test_a_complete_last_line_without_newline_is_not_waited_for_forever(log: Path) -> None:
    log.write_text(line(0) + line(1).rstrip("\n"))
    reader = Reader(log)
    reader.until_epochs(0, 1)
    with log.open("a") as file:
        file.write("\n" + line(2))

    reader.until_epochs(0, 1, 2)
    assert reader.source.unknown.count == 0


def test_a_torn_last_line_is_counted_and_the_rest_read(log: Path) -> None:
    log.write_text(line(0) + line(1)[:25])

    reader = Reader(log, follow=False)

    assert epochs(reader.all()) == [0]
    assert reader.source.unknown.count == 1
    assert reader.source.unknown.samples[0][0] == 2


def test_a_file_that_lacks_its_last_newline_is_read_whole(log: Path) -> None:
    log.write_text("step=1 loss=10.5\nstep=2 loss=10.4")

    reader = Reader(log, follow=False)

    blocks = [record for record in reader.all() if isinstance(record, BatchBlock)]
    assert [step for block in blocks for step in block.step.tolist()] == [1, 2]
    assert reader.source.unknown.count == 0


def test_a_last_dict_without_newline_is_whole(log: Path) -> None:
    log.write_text("{'loss': 2.5, 'epoch': 0.1}\n{'loss': 2.4, 'epoch': 0.2}")

    blocks = [
        record for record in Reader(log, follow=False).all() if isinstance(record, BatchBlock)
    ]

    assert [block.columns["loss"].values.tolist() for block in blocks] == [[2.5], [2.4]]


def test_a_file_that_is_not_there_yet_is_waited_for(log: Path) -> None:
    reader = Reader(log)
    waiting = reader.until(lambda records: len(records) > 0)
    assert waiting == [Link("waiting", f"waiting for {log} to appear")]

    log.write_text(line(0))

    reader.until_epochs(0)


def test_a_directory_that_is_not_there_yet_is_waited_for_too(tmp_path: Path) -> None:
    log = tmp_path / "later" / "log_train.txt"
    reader = Reader(log)
    reader.until(lambda records: len(records) > 0)

    log.parent.mkdir()
    log.write_text(line(0))

    reader.until_epochs(0)


def test_a_truncated_file_starts_a_new_attempt(log: Path) -> None:
    log.write_text(line(0) + line(1) + line(2))
    reader = Reader(log)
    reader.until_epochs(0, 1, 2)

    log.write_text(line(0))

    records = reader.until_epochs(0, 1, 2, 0)
    blocks = [record for record in records if isinstance(record, EpochBlock)]
    assert [block.attempt for block in blocks] == [0, 1]
    assert any(isinstance(r, Link) and "rewritten" in r.text for r in records)


def test_a_file_written_anew_with_more_lines_is_noticed(log: Path) -> None:
    log.write_text(line(0, 8.0) + line(1, 8.0))
    reader = Reader(log)
    reader.until_epochs(0, 1)

    log.write_text(line(0, 7.0) + line(1, 7.0) + line(2, 7.0))

    reader.until_epochs(0, 1, 0, 1, 2)


def test_rotation_reads_the_old_file_to_its_end_and_goes_on(log: Path) -> None:
    log.write_text(line(0))
    reader = Reader(log)
    reader.until_epochs(0)
    with log.open("a") as file:
        log.rename(log.with_suffix(".1"))
        file.write(line(1).rstrip("\n"))
    log.write_text(line(2))

    reader.until_epochs(0, 1, 2)


def test_gzip_is_unpacked(log: Path) -> None:
    packed = log.with_suffix(".txt.gz")
    packed.write_bytes(gzip.compress((line(0) + line(1)).encode()))

    assert epochs(Reader(packed, follow=False).all()) == [0, 1]
    assert epochs(Reader(packed).all()) == [0, 1]


def test_a_torn_gzip_gives_what_came_before(log: Path) -> None:
    packed = log.with_suffix(".txt.gz")
    text = "".join(line(epoch, epoch * 0.7310585) for epoch in range(20_000)).encode()
    packed.write_bytes(gzip.compress(text)[:-1000])

    reader = Reader(packed, follow=False)

    assert len(epochs(reader.all())) > 10_000
    assert any(isinstance(r, Link) and "breaks off" in r.text for r in reader.records)


def test_a_line_that_never_ends_costs_bounded_memory(log: Path) -> None:
    with log.open("w") as file:
        file.write(line(0))
        for _ in range(MAX_LINE // (1 << 20) + 8):
            file.write("\r 37%|###" * (1 << 17))
        file.write("\n" + line(1))

    reader = Reader(log, follow=False)

    assert epochs(reader.all()) == [0, 1]
    assert reader.source.overlong == 1


def test_nan_and_infinity_are_values(log: Path) -> None:
    log.write_text(
        '{"train_closs": NaN, "train_loss_ct": Infinity, "epoch": 0}\n'
        '{"train_loss_ct": -Infinity, "train_closs": 1.0, "epoch": 1}\n'
    )

    (block,) = (r for r in Reader(log, follow=False).all() if isinstance(r, EpochBlock))

    assert str(block.columns["closs"].values.tolist()) == "[nan, 1.0]"
    assert block.columns["loss_ct"].values.tolist() == [float("inf"), float("-inf")]


def test_lines_in_between_are_counted_not_fatal(log: Path) -> None:
    log.write_text(line(0) + "Traceback (most recent call last):\n" + line(1))

    reader = Reader(log, follow=False)

    assert epochs(reader.all()) == [0, 1]
    assert reader.source.unknown.samples == [(2, "Traceback (most recent call last):")]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.write_text("hello\nworld\n"), "a line of it: 'hello'"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + b"junk" * 99), "cannot be unpacked"),
    ],
)
def test_what_cannot_be_read_ends_in_a_sentence(
    log: Path, make: Callable[[Path], object], sentence: str
) -> None:
    make(log)

    with pytest.raises(SourceError, match=sentence) as raised:
        Reader(log, follow=False).all()

    assert str(log) in str(raised.value)


def test_a_log_file_takes_no_commands(log: Path) -> None:
    log.write_text(line(0))

    with pytest.raises(SourceError, match="log file"):
        LogFile(str(log)).send(Command("1", "pause"))


def test_stdin_is_read_as_it_comes(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "tail", "-", "--json"],
        stdin=reading,
        stdout=subprocess.PIPE,
    )
    os.close(reading)
    assert process.stdout is not None
    os.write(writing, line(0).encode())
    assert json.loads(process.stdout.readline())["kind"] == "run"
    assert json.loads(process.stdout.readline())["epoch"] == 0
    os.write(writing, line(1).encode())
    assert json.loads(process.stdout.readline())["epoch"] == 1
    os.close(writing)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


def test_the_watch_tells_of_a_change(log: Path) -> None:
    log.write_text("")
    changed = threading.Event()
    stop = watch(str(log), changed)
    try:
        changed.clear()
        log.write_text(line(0))
        if not changed.wait(PATIENCE / 6):
            pytest.skip("this file system sends no events; polling serves it")
    finally:
        stop()


def test_a_directory_that_cannot_be_watched_is_polled(tmp_path: Path) -> None:
    stop = watch(str(tmp_path / "gone" / "log_train.txt"), threading.Event())

    stop()


def test_polling_serves_where_the_system_has_no_watch_left(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr("watchdog.observers.Observer", none_left)
    log.write_text(line(0))
    reader = Reader(log)
    reader.until_epochs(0)
    with log.open("a") as file:
        file.write(line(1))
    reader.until_epochs(0, 1)
    reader.source.close()


def test_the_watch_on_a_file_writes_nothing_on_the_screen(tmp_path: Path) -> None:
    script = f"""
import logging, threading
from vlamon.sources.bytestream import watch
watch({str(tmp_path / "log")!r}, threading.Event())()
logging.getLogger("watchdog.observers.inotify").error("called when the thread is inactive")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_terabyte_without_a_line_is_given_up_soon(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    source = LogFile(str(path), follow=False)
    with pytest.raises(SourceError, match="no lines of a log"):
        all(source.read(0.0) is not None for _ in range(1000))

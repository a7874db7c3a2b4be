"""A long log shows its newest part first and all of it a little later; several logs are one run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vlamon.hardware import GpuSample
from vlamon.records import EpochBlock, EpochRow, IntervalBlock, Record
from vlamon.sources import Source, newest_first
from vlamon.sources.feed import Feed
from vlamon.sources.local_gpu import LocalGpu, writer_of
from vlamon.sources.logfile import LogFile
from vlamon.sources.multi_file import MergedSource, opened
from vlamon.sources.newest_first import NewestFirst, long_log
from vlamon.store import RunStore

SAMPLE = Path(__file__).parents[2] / "fixtures" / "metriclogger" / "sample"


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that counts as long, though it is not."""
    monkeypatch.setattr(newest_first, "LONG", 100_000)
    monkeypatch.setattr(newest_first, "NEWEST", 20_000)
    monkeypatch.setattr(newest_first, "PAINT", 0.0)
    text = (SAMPLE / "output.log").read_text()
    path = tmp_path / "output.log"
    with path.open("w") as log:
        for turn in range(8):
            shifted = text
            for epoch in range(3, -1, -1):
                shifted = shifted.replace(f"Epoch: [{epoch}]", f"Epoch: [{epoch + 4 * turn}]")
            log.write(shifted)
    return path


@contextmanager
def feeding(source: Source, on_change: Callable[[Feed], None] | None = None) -> Iterator[Feed]:
    feed = Feed(source)
    if on_change is not None:
        feed.on_change = lambda: on_change(feed)
    feed.start()
    try:
        yield feed
    finally:
        feed.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def whole(path: Path) -> RunStore:
    store, source = RunStore(), LogFile(str(path), follow=False)
    while not source.finished:
        for record in source.read(1.0):
            store.apply(record)
    return store


def test_the_newest_rows_come_before_all_others(long: Path) -> None:
    known = long_log(str(long))
    assert known is not None
    source = NewestFirst(str(long), known, follow=False)
    first = [record for record in source.read(0.1) if isinstance(record, IntervalBlock)]
    assert first[-1].epoch[-1] == 31
    assert sum(block.rows for block in first) < 60


def test_the_whole_takes_the_place_of_the_part(long: Path) -> None:
    expected = whole(long)
    seen: list[int] = []
    source = opened(str(long), follow=True, format_name=None, newest_first=True)
    with feeding(source, lambda feed: seen.append(feed.store.rows)) as feed:
        wait_for(lambda: feed.store.rows == expected.rows)
        assert 0 < seen[0] < expected.rows
        assert feed.store.steps().tolist() == expected.steps().tolist()
        first, last = (feed.store.value("closs", row) for row in (0, expected.rows - 1))
        assert (first, last) == tuple(expected.value("closs", r) for r in (0, expected.rows - 1))
        assert len(feed.store.intervals) == len(expected.intervals)


def test_lines_appended_afterwards_are_followed(long: Path) -> None:
    expected = whole(long).rows
    with feeding(opened(str(long), follow=True, format_name=None, newest_first=True)) as feed:
        wait_for(lambda: feed.store.rows == expected)
        lines = long.read_text().splitlines(keepends=True)
        last = next(line for line in reversed(lines) if "Epoch: [31]" in line and "  [" in line)
        with long.open("a") as log:
            log.write(last.replace("Epoch: [31]", "Epoch: [32]"))
        wait_for(lambda: feed.store.rows == expected + 1)


def test_short_logs_pipes_and_missing_files_are_read_as_they_are(tmp_path: Path) -> None:
    assert long_log(str(SAMPLE / "output.log")) is None
    assert long_log("-") is None
    assert long_log(str(tmp_path / "none.log")) is None


def epoch_attempts(records: list[Record]) -> list[tuple[int, int]]:
    found = []
    for record in records:
        if isinstance(record, EpochBlock):
            found += [(int(epoch), record.attempt) for epoch in record.epoch]
        elif isinstance(record, EpochRow):
            found.append((int(record.epoch), record.attempt))
    return found


def drain(source: Source) -> list[Record]:
    records: list[Record] = []
    while not source.finished:
        records += source.read(0.1)
    source.close()
    return records


def test_an_epoch_line_belongs_to_the_attempt_that_finished_the_epoch(tmp_path: Path) -> None:
    def lines(epoch: int, stop: int) -> str:
        return "".join(
            f"Epoch: [{epoch}]  [{i}/40]  closs: 8.0 (8.0)  time: 0.1\n" for i in range(0, stop, 10)
        )

    # The first process dies in the middle of epoch 1; the second begins that epoch again.
    (tmp_path / "output.log").write_text(lines(0, 40) + lines(1, 20) + lines(1, 40) + lines(2, 40))
    (tmp_path / "log_train.txt").write_text(
        "".join(f'{{"train_closs": 8.0, "epoch": {epoch}}}\n' for epoch in range(3))
    )
    files = [str(tmp_path / name) for name in ("log_train.txt", "output.log")]
    source = MergedSource([opened(path, follow=False, format_name=None) for path in files])
    assert epoch_attempts(drain(source)) == [(0, 0), (1, 1), (2, 1)]


def test_epochs_and_batches_stand_on_one_axis(tmp_path: Path) -> None:
    store = RunStore()
    files = [str(SAMPLE / name) for name in ("log_train.txt", "output.log")]
    for record in drain(MergedSource([opened(p, follow=False, format_name=None) for p in files])):
        store.apply(record)
    assert store.rows == 104
    assert "train_closs" in store.metrics
    # The first epoch ends behind its last batch, not at step 0.
    assert store.value("train_closs", 3) == pytest.approx(12.105106169866483, rel=1e-6)
    assert store.value("train_closs", 103) == pytest.approx(9.810278012538568, rel=1e-6)


def holding(log: Path) -> subprocess.Popen[bytes]:
    """A process that has a log open for writing until its stdin ends."""
    script = "import sys; log = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_the_writer_of_a_log_is_found_and_a_reader_is_not(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("")
    assert writer_of([str(log)]) is None
    script = (
        f"import sys; log = open({str(log)!r}, 'a'); print('open', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert writer_of([str(log)]) == writer.pid
        with log.open():
            assert writer_of([str(log)]) == writer.pid
    finally:
        writer.communicate()
    assert writer_of([str(log)]) is None


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_samples_stand_beside_a_log_that_is_written_here(tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n')
    script = (
        f"import sys; log = open({str(log)!r}, 'a'); print('open', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    source = LocalGpu(LogFile(str(log)), [str(log)])
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        samples: list[GpuSample] = []
        deadline = time.monotonic() + 60
        while not samples and time.monotonic() < deadline:
            samples += [r for r in source.read(0.1) if isinstance(r, GpuSample)]
        assert samples[0].process is not None
        assert samples[0].process.pid == writer.pid
    finally:
        source.close()
        writer.communicate()

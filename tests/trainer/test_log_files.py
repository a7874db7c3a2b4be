"""Logs on a disk that is full, read-only or hangs: counted, said, written later, never the end."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.trainings import config, trained
from trainer import log_files
from trainer.config import ConfigError
from trainer.log_files import LogFiles, append_or_nothing
from trainer.run import Options
from trainer.run_json import write_description
from trainer.setup import prepare
from vlamon.records import Event
from vlamon.sources.journal import JournalSource

REAL_WRITE = os.write


class Disk:
    """Stands for `os.write`: takes a number of bytes, then is full until told otherwise."""

    def __init__(self, room: int = 0) -> None:
        self.room: int | None = room

    def __call__(self, handle: int, data: bytes) -> int:
        if self.room is None:
            return REAL_WRITE(handle, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return REAL_WRITE(handle, data[:taken])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    full = Disk()
    monkeypatch.setattr(log_files.os, "write", full)
    return full


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_wait_for_a_full_disk_and_are_written_in_order_once_there_is_room(
    tmp_path: Path, disk: Disk
) -> None:
    files, path = LogFiles(retry_seconds=0.01), tmp_path / "log_train.txt"
    for number in range(3):
        files.append(path, f"line {number}")
        until(lambda number=number: files.failures > number)  # type: ignore[misc]
    disk.room = None
    files.append(path, "line 3")
    files.close()
    assert path.read_text() == "line 0\nline 1\nline 2\nline 3\n"
    first, second = files.news
    assert (
        first == f"{path} cannot be written (No space left on device); its lines wait for the disk"
    )
    assert second.startswith(f"{path} is written again; ")


def test_half_a_line_is_taken_back(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "log_train.txt"
    path.write_text("before\n")
    disk.room = 5
    with pytest.raises(OSError, match="No space left"):
        append_or_nothing(path, b"a line that does not fit\n")
    assert path.read_text() == "before\n"


@pytest.mark.usefixtures("disk")
def test_what_is_never_written_is_counted_at_the_end(tmp_path: Path) -> None:
    files = LogFiles(retry_seconds=0.01)
    for number in range(3):
        files.append(tmp_path / "output.log", str(number))
    files.close()
    assert files.news[-1] == f"3 lines of {tmp_path / 'output.log'} could not be written"


@pytest.mark.usefixtures("disk")
def test_lines_beyond_a_limit_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "KEPT", 5)
    files = LogFiles(retry_seconds=0.01)
    for number in range(50):
        files.append(tmp_path / "output.log", str(number))
    files.close()
    assert files.news[-1].startswith("5 lines of ")


def test_a_disk_that_hangs_holds_up_neither_the_training_nor_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(handle: int, data: bytes) -> int:
        released.wait(30)
        return REAL_WRITE(handle, data)

    monkeypatch.setattr(log_files.os, "write", hang)
    files = LogFiles()
    files.append(tmp_path / "output.log", "a line")
    files.append(tmp_path / "output.log", "another")
    files.close(timeout=0.1)
    assert files.news[0] == "the logs are not complete: the disk hangs for 0.1 s"
    released.set()


def test_a_training_whose_logs_cannot_be_written_goes_on_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("log_train.txt", "log_eval_ind.txt", "output.log"):
        (tmp_path / name).symlink_to("/dev/full")
    run = trained(tmp_path, 40)
    assert run.outcome == "finished"
    assert "log_train.txt cannot be written (No space left on device)" in capfd.readouterr().err
    lines = (tmp_path / "log_eval_ood.txt").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    warnings = [text for text in events(tmp_path) if "cannot be written" in text]
    assert len(warnings) == 3


def events(run_dir: Path) -> list[str]:
    source = JournalSource(run_dir / "run.vlaj")
    found: list[str] = []
    while not source.finished:
        found += [r.text for r in source.read(0.1) if isinstance(r, Event) and r.kind == "warn"]
    source.close()
    return found


def test_a_run_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ConfigError, match=r"--run-dir .* cannot be written: Is a directory"):
        prepare(config(), Options(run_dir=tmp_path, device="cpu"))


def test_a_run_json_that_cannot_be_written_leaves_the_one_before_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_description(config(), tmp_path, 0, 1)
    before = (tmp_path / "run.json").read_text()

    def torn(handle: int, data: memoryview) -> int:
        real(handle, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    monkeypatch.setattr(os, "write", torn)
    with pytest.raises(OSError, match="No space left"):
        write_description(config(), tmp_path, 1, 1)
    monkeypatch.undo()
    assert (tmp_path / "run.json").read_text() == before

"""A fault at every system call of the journal's thread: rows wait, or are named as lost."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.emitter.test_journal import HELLO, read_all, steps_in
from vlamon.emitter import journal_writer
from vlamon.emitter.journal_writer import Journal
from vlamon.protocol.journal import MAGIC
from vlamon.records import Gap
from vlamon.sources import SourceError

ROWS = 60
CALLS = ("pwrite", "lstat", "fstat", "ftruncate")
Happens = Callable[[Callable[..., Any], tuple[Any, ...]], Any]


def failing(code: int) -> Happens:
    def happens(real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        raise OSError(code, os.strerror(code))

    return happens


def short(real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A write that takes one byte."""
    if real.__name__ != "pwrite":
        return real(*arguments)
    return real(arguments[0], bytes(arguments[1][:1]), arguments[2])


def slow(real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    time.sleep(0.05)
    return real(*arguments)


class Fault:
    """Something that happens at one call of the journal's thread."""

    def __init__(self, at: int, happens: Happens, patch: pytest.MonkeyPatch) -> None:
        self.at, self.happens, self.calls = at, happens, 0
        for name in CALLS:
            patch.setattr(os, name, self._wrapped(getattr(os, name)))
        patch.setattr(journal_writer, "RETRY", 0.01)

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                return self.happens(real, arguments)
            return real(*arguments, **options)

        return call


def journalled(path: Path, fault: Callable[[], Fault]) -> tuple[Journal, Fault]:
    """A journal of ROWS rows with the fault in force once it is open."""
    journal = Journal(path)
    journal.add_frame(HELLO)
    wrong = fault()
    for block in plain_blocks(0, ROWS // 10):
        journal.add_block(block, {})
        journal.push()
        until = time.monotonic() + 0.2  # one write a block, where nothing is wrong
        while journal.waiting and time.monotonic() < until:
            time.sleep(0.001)
    end = time.monotonic() + 60
    while journal.waiting and not journal.failure and time.monotonic() < end:
        time.sleep(0.001)
    journal.close(60.0)
    return journal, wrong


def every_call(
    tmp_path: Path, happens: Happens, check: Callable[[Journal, list[int], int], None]
) -> int:
    """Try the fault at each call in turn, until none is left; returns how many there were."""
    at = 0
    while True:
        at += 1
        path = tmp_path / str(at) / "run.vlaj"
        with pytest.MonkeyPatch.context() as patch:
            journal, fault = journalled(path, lambda at=at, p=patch: Fault(at, happens, p))  # type: ignore[misc]
        records = read_all(path) if path.stat().st_size > len(MAGIC) else []
        assert not [record for record in records if isinstance(record, Gap)]
        check(journal, steps_in(records), at)
        if fault.calls < at:
            return at - 1


@pytest.mark.parametrize(
    "happens",
    [failing(errno.ENOSPC), failing(errno.EDQUOT), short, slow],
    ids=["ENOSPC", "EDQUOT", "short write", "delay"],
)
def test_what_a_disk_does_not_take_at_once_is_written_later(
    tmp_path: Path, happens: Happens
) -> None:
    def check(journal: Journal, steps: list[int], at: int) -> None:
        assert journal.failure == "", at
        assert steps == list(range(ROWS)), at

    assert every_call(tmp_path, happens, check) >= 6


def test_a_broken_disk_leaves_whole_rows_from_the_first_on_and_says_so(tmp_path: Path) -> None:
    def check(journal: Journal, steps: list[int], at: int) -> None:
        assert steps == list(range(len(steps))), at
        assert len(steps) == ROWS or journal.failure, at

    assert every_call(tmp_path, failing(errno.EIO), check) >= 6


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_directory_that_cannot_be_searched_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def hidden(path: object) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    journal = Journal(tmp_path / "run.vlaj")
    journal.add_frame(HELLO)
    monkeypatch.setattr(os, "lstat", hidden)
    for block in plain_blocks(0, 6):
        journal.add_block(block, {})
    journal.close(60.0)
    monkeypatch.undo()
    assert journal.failure == ""
    assert steps_in(read_all(tmp_path / "run.vlaj")) == list(range(60))


def test_a_directory_that_is_removed_and_cannot_be_made_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY", 0.01)
    folder = tmp_path / "run"
    journal = Journal(folder / "run.vlaj")
    journal.add_frame(HELLO)
    for number, block in enumerate(plain_blocks(0, 6)):
        if number == 3:
            end = time.monotonic() + 60
            while journal.waiting and time.monotonic() < end:
                time.sleep(0.001)  # or it makes the directory again meanwhile
            os.unlink(folder / "run.vlaj")
            folder.rmdir()
            folder.write_text("in its place")  # no directory can be made here
        journal.add_block(block, {})
        journal.push()
        if number == 3:
            end = time.monotonic() + 60
            while not journal.trouble and time.monotonic() < end:
                time.sleep(0.001)
            assert journal.trouble
            folder.unlink()
    end = time.monotonic() + 60
    while journal.waiting and time.monotonic() < end:
        time.sleep(0.001)
    journal.close(60.0)
    assert journal.failure == ""
    assert steps_in(read_all(folder / "run.vlaj")) == list(range(60))


@pytest.mark.parametrize("at", [1, 2, 5, 9, 13])
def test_a_crash_at_any_call_leaves_whole_rows_from_the_first_on(tmp_path: Path, at: int) -> None:
    def crash(real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if real.__name__ == "pwrite":
            real(arguments[0], bytes(arguments[1][: len(arguments[1]) // 2]), arguments[2])
        os._exit(9)

    path = tmp_path / "run.vlaj"
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            journalled(path, lambda: Fault(at, crash, patch))
        os._exit(0)
    os.waitpid(child, 0)
    steps = _whole_steps(path)
    assert steps == list(range(len(steps)))
    again = Journal(path)  # a restart goes on behind the last whole frame
    again.add_block(plain_blocks(len(steps), 1)[0], {})
    again.close(60.0)
    assert again.past.next_seq == len(steps)


def _whole_steps(path: Path) -> list[int]:
    try:
        return steps_in(read_all(path))
    except SourceError:  # it died before the first frame was whole
        return []

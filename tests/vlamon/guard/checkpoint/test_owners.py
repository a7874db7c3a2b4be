"""Whether the writer of a half-written directory lives, also where nothing can be locked."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from vlamon.guard.checkpoint.disk import _owner_lives

DEAD = 1 << 30
"""More than any process is numbered."""


def directory(root: Path, name: str) -> Path:
    path = root / name
    path.mkdir()
    return path


def test_a_lock_says_that_the_writer_lives(tmp_path: Path) -> None:
    path = directory(tmp_path, f".writing-7-{DEAD}-x")
    assert not _owner_lives(path)
    assert not _owner_lives(tmp_path / "gone")
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert _owner_lives(path)
    os.close(handle)
    assert not _owner_lives(path)


@pytest.mark.parametrize(
    ("name", "lives"),
    [
        ("-{other}-x", True),
        ("-{dead}-x", False),
        ("-{own}-x", False),  # of this process before it began to write again
        ("-name-x", False),
        ("", False),
    ],
)
def test_without_locks_its_number_says_so(
    name: str, lives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    said = name.format(other=os.getppid(), dead=DEAD, own=os.getpid())
    assert _owner_lives(directory(tmp_path, f".writing-7{said}")) is lives

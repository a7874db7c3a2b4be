"""A fault at each system call that makes a socket and a journal: the script starts all the same."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlamon import Emitter
from vlamon.emitter.places import claim

CALLS = (
    "open", "pwrite", "pread", "fstat", "lstat", "stat", "fchmod", "ftruncate", "mkdir", "unlink",
)  # fmt: skip


def claimed_with(code: int, at: int, place: Path) -> int:
    """Take the places with the fault at one call; returns how many calls there were."""
    calls = 0
    ours = threading.get_ident()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            if threading.get_ident() == ours:
                calls += 1
                if calls == at:
                    raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrapped(getattr(os, name)))
        patch.setattr(fcntl, "flock", wrapped(fcntl.flock))
        patch.setattr("vlamon.protocol.address._holder", lambda descriptor: "")
        found = claim(str(place / "v.sock"), str(place / "run"), share=True, strict=False)
    if found.socket is not None:
        found.socket.close()
    if found.journal is not None:
        found.journal.close(5.0)
    return calls


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_no_fault_while_it_starts_ends_a_script(code: int, tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path / "run") as before:
        before.log(0, closs=1.0)
    with (tmp_path / "run" / "run.vlaj").open("ab") as journal:
        journal.write(b"torn")  # a killed process was here
    at, calls = 0, 1
    while at < calls:
        at += 1
        calls = max(calls, claimed_with(code, at, tmp_path))
    assert calls > 10


def test_a_script_starts_in_a_directory_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with Emitter("v.sock", run_dir="run") as emitter:
        emitter.log(0, closs=1.0)

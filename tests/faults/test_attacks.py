"""What other users and odd scripts do to a run, from outside and with real processes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlamon import Emitter
from vlamon.records import BatchBlock
from vlamon.sources.journal import JournalSource

STRANGER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_stranger(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python program of another user, who may not be able to read Python's own modules."""
    become = (
        "import fcntl, os, socket, sys\n"
        f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
    )
    command = [sys.executable, "-c", become + program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


CROWD = """
held = []
for _ in range(64):
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(sys.argv[1])
    except OSError:
        break
    held.append(connection)
print(len(held), flush=True)
sys.stdin.read()
"""


@needs_root
def test_a_crowd_of_another_user_leaves_the_owner_a_place(place: Path) -> None:
    path = place / "vla.sock"
    with Emitter(path, run="shared", share=True) as emitter:
        emitter.log(0, closs=1.0)
        crowd = as_stranger(CROWD, path)
        assert crowd.stdout is not None
        assert int(crowd.stdout.readline()) > 16
        time.sleep(0.5)
        with socket.socket(socket.AF_UNIX) as owner:
            owner.settimeout(30)
            owner.connect(str(path))
            greeting = owner.recv(1 << 16)
        crowd.communicate("")
    assert b"hello" in greeting
    assert b"run_id" in greeting


LOCK = """
try:
    held = os.open(sys.argv[1], os.O_RDONLY)
except OSError as error:
    print(type(error).__name__, flush=True)
else:
    fcntl.flock(held, fcntl.LOCK_EX)
    print("locked", flush=True)
sys.stdin.read()
"""


@needs_root
@pytest.mark.parametrize("name", ["run/run.vlaj", "vla.sock.lock"])
def test_a_stranger_cannot_hold_a_restart_up_by_a_lock(place: Path, name: str) -> None:
    with Emitter(place / "vla.sock", run_dir=place / "run") as emitter:
        emitter.log(0, closs=1.0)
        stranger = as_stranger(LOCK, place / name)
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "PermissionError\n"
        stranger.communicate("")
    with Emitter(place / "vla.sock", run_dir=place / "run", on_conflict="raise"):
        pass


@needs_root
def test_what_a_stranger_puts_in_the_sockets_place_is_never_touched(place: Path) -> None:
    os.chmod(place, 0o1777)
    victim = place / "thesis"
    victim.write_text("a thesis")
    os.chmod(victim, 0o640)
    stranger = as_stranger("os.symlink(*sys.argv[1:])", victim, place / "vla.sock")
    stranger.communicate("")
    with Emitter(place / "vla.sock", run_dir=place / "run") as emitter:
        emitter.log(0, closs=1.0)
    assert victim.read_text() == "a thesis"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o640


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "link"])
def test_what_is_no_file_in_the_journals_place_ends_no_training(tmp_path: Path, kind: str) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    place = run_dir / "run.vlaj"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/full" if kind == "device" else tmp_path / "elsewhere")
    with Emitter(tmp_path / "vla.sock", run_dir=run_dir) as emitter:
        for step in range(10):
            emitter.log(step, closs=1.0)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("length", "kept"), [(49, 1000), (50, 0)])
def test_long_names_are_in_the_journal_or_counted_and_cost_no_row(
    tmp_path: Path, length: int, kept: int
) -> None:
    """A name may have 200 bytes; an emoji has four."""
    names = [f"{'😀' * length}{number:04}" for number in range(1000)]
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(5):
            emitter.log(step, **dict.fromkeys(names, 1.5))
    source = JournalSource(tmp_path / "run.vlaj", follow=False)
    found: dict[int, set[str]] = {}
    while not source.finished:
        for record in source.read(0.0):
            if isinstance(record, BatchBlock):
                for step in record.step.tolist():
                    found.setdefault(step, set()).update(record.columns)
    assert sorted(found) == list(range(5))
    assert all(len(columns) == kept for columns in found.values())
    assert emitter.swallowed == 5 * (1000 - kept)

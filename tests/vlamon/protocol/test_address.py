"""The socket's place: locked, checked, never somebody else's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vlamon.protocol import address
from vlamon.protocol.address import AddressError, BoundSocket, connect, peer_of


def test_the_socket_is_private_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    bound = BoundSocket(str(path))
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    with connect(str(path), 60.0) as client:
        assert peer_of(client) == (type(peer_of(client)))(os.getpid(), os.geteuid())
    bound.close()
    assert list(tmp_path.iterdir()) == []


def test_a_shared_socket_lets_everybody_connect(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    bound = BoundSocket(str(path), share=True)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o666
    bound.close()


def test_a_live_socket_is_an_error_that_names_the_process(tmp_path: Path) -> None:
    path = str(tmp_path / "vla.sock")
    bound = BoundSocket(path)
    with pytest.raises(AddressError, match=f"served by process {os.getpid()}"):
        BoundSocket(path)
    assert os.path.exists(path)
    bound.close()


@pytest.mark.parametrize("written", [b"", b"DEAD\n", b"99999999999999999999\n"])
def test_a_holder_that_has_not_written_itself_in_yet_is_waited_for(
    tmp_path: Path, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "vla.sock")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, written.replace(b"DEAD", str(gone.pid).encode()))

    waits: list[float] = []

    def write_in(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    monkeypatch.setattr(address.time, "sleep", write_in)
    with pytest.raises(AddressError, match=f"served by process {os.getpid()};"):
        BoundSocket(path)
    assert len(waits) == 3
    os.close(lock)


def test_a_live_socket_without_our_lock_is_an_error_too(tmp_path: Path) -> None:
    path = str(tmp_path / "vla.sock")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(path)
        stranger.listen(1)
        with pytest.raises(AddressError, match=f"process {os.getpid()}"):
            BoundSocket(path)
    assert os.path.exists(path)
    assert not os.path.exists(path + ".lock")


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "vla.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    BoundSocket(path).close()
    assert not os.path.exists(path)


@pytest.mark.parametrize("target", ["nowhere", "file"])
def test_a_symbolic_link_is_never_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("keep me")
    path = tmp_path / "vla.sock"
    path.symlink_to(tmp_path / target)
    with pytest.raises(AddressError, match="symbolic link"):
        BoundSocket(str(path))
    assert path.is_symlink()
    assert (tmp_path / "file").read_text() == "keep me"


def test_a_symbolic_link_in_place_of_the_lock_is_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    (tmp_path / "vla.sock.lock").symlink_to(victim)
    with pytest.raises(AddressError, match="symbolic link"):
        BoundSocket(str(tmp_path / "vla.sock"))
    assert victim.read_text() == "keep me"


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    path.write_text("keep me")
    with pytest.raises(AddressError, match="not a socket"):
        BoundSocket(str(path))
    assert path.read_text() == "keep me"


def test_a_directory_where_anyone_may_replace_the_socket_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(AddressError, match="sticky"):
        BoundSocket(str(tmp_path / "vla.sock"))
    tmp_path.chmod(0o1777)
    BoundSocket(str(tmp_path / "vla.sock")).close()


def test_a_missing_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="No such file"):
        BoundSocket(str(tmp_path / "none" / "vla.sock"))


def test_the_directory_that_monitors_look_in_is_made_for_us_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path) + "/")
    folder = tmp_path / "vlamon"
    BoundSocket(str(folder / "a.sock")).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    BoundSocket(str(folder / "a.sock")).close()
    with pytest.raises(AddressError, match="No such file"):
        BoundSocket(str(tmp_path / "vlammon" / "a.sock"))


def test_a_runtime_directory_that_is_missing_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    with pytest.raises(AddressError, match="No such file"):
        BoundSocket(str(tmp_path / "none" / "vlamon" / "a.sock"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    path = str(deep / "vla.sock")
    bound = BoundSocket(path)
    connect(path, 60.0).close()
    bound.close()
    assert list(deep.iterdir()) == []


def test_closing_never_removes_a_successors_socket(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    bound = BoundSocket(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        bound.close()
        assert path.exists()


RACE = """
import sys, time
from vlamon.protocol import address
from vlamon.protocol.address import AddressError, BoundSocket
sys.stdin.readline()
try:
    bound = BoundSocket(sys.argv[1])
    print("won", flush=True)
    sys.stdin.readline()
    bound.close()
except AddressError as error:
    print("lost", error, flush=True)
"""


def test_of_many_that_start_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    for _ in range(3):
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(tmp_path / "vla.sock")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.stdout.readline() for racer in racers if racer.stdout is not None]
        winners = [racer for racer, line in zip(racers, said, strict=True) if line == "won\n"]
        for racer in racers:
            racer.communicate("done\n")
        assert len(winners) == 1
        assert all(str(winners[0].pid) in line for line in said if line != "won\n")


def test_the_mode_is_set_before_the_socket_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep me private")
    victim.chmod(0o600)
    path = tmp_path / "vla.sock"
    bind = socket.socket.bind

    class Swapped(socket.socket):
        def bind(self, name: str) -> None:  # type: ignore[override]
            bind(self, name)
            os.unlink(name)  # what a member of the directory's group can do at this moment
            os.symlink(victim, name)

    monkeypatch.setattr(address.socket, "socket", Swapped)
    with contextlib.suppress(AddressError):
        BoundSocket(str(path), share=True).close()
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_a_directory_of_another_group_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another group")
    os.chown(tmp_path, 0, 65534)
    tmp_path.chmod(0o775)
    with pytest.raises(AddressError, match="group 65534 may replace files"):
        BoundSocket(str(tmp_path / "vla.sock"))
    tmp_path.chmod(0o1775)
    BoundSocket(str(tmp_path / "vla.sock")).close()


def test_a_strangers_lock_is_a_sentence(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's file")
    lock = tmp_path / "vla.sock.lock"
    lock.touch()
    os.chown(lock, 65534, 65534)
    with pytest.raises(AddressError, match=r"lock belongs to uid 65534; choose another path"):
        BoundSocket(str(tmp_path / "vla.sock"))


def test_a_fifo_in_place_of_the_lock_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vla.sock.lock")
    with pytest.raises(AddressError, match="is not a file"):
        BoundSocket(str(tmp_path / "vla.sock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other groups")
def test_a_directory_of_a_group_that_only_reads_is_served_in(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    os.chown(folder, -1, 4321)
    folder.chmod(0o750)
    BoundSocket(str(folder / "a.sock")).close()
    folder.chmod(0o770)
    with pytest.raises(AddressError, match="group 4321 may replace files"):
        BoundSocket(str(folder / "b.sock"))


@pytest.mark.parametrize("length", [106, 107, 108, 109])
def test_a_path_of_about_the_length_of_an_address_works(length: int, tmp_path: Path) -> None:
    """The kernel takes 108 bytes, of which the last one is a zero."""
    folder = tmp_path / "s"
    folder.mkdir()
    path = str(folder / "x")
    path += "x" * (length - len(path))
    assert len(path) == length
    bound = BoundSocket(path)
    try:
        with connect(path, timeout=5.0):
            pass
        name = path.rpartition("/")[2]
        assert sorted(os.listdir(folder)) == [name, f"{name}.lock"]
    finally:
        bound.close()


def test_what_belongs_to_us_or_to_root_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [address.trusted(uid) for uid in (0, 1000, 1, 1001)] == [True, True, False, False]

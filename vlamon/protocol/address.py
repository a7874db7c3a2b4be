"""The socket's place in the file system: checked, locked, bound 0600, and left without a trace.

Two trainers that start on one path at the same moment must not both win, and no other user's file
may ever be replaced. So a lock file beside the socket is held with flock for as long as the socket
is served, and whatever is done to the path is done under that lock. The path may be in /tmp, where
others create files, too: no link is followed, and nothing that belongs to another user is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from vlamon import processes
from vlamon.protocol.commands import Peer

_SUN_PATH = 107
"""Longest path that a Unix socket address holds."""
_UCRED = struct.Struct("3i")
_ELSEWHERE = "choose another path or stop that training first"


class AddressError(Exception):
    """The socket cannot be served at that path; the message is for the user."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason}; {advice}" if advice else reason)
        self.reason = reason
        """What is wrong, without what to do about it."""


def peer_of(connection: socket.socket) -> Peer:
    """SO_PEERCRED. Behind `ssh -L` the peer is sshd: the uid counts, the pid is informative."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return Peer(pid, uid)


def trusted(uid: int) -> bool:
    """Whether what belongs to this user is as good as our own: us, and root."""
    return uid in (os.geteuid(), 0)


@contextlib.contextmanager
def short(path: str) -> Iterator[str]:
    """A name for `path` that fits a socket address, however deep the run directory is."""
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield path
        return
    folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def connect(path: str, timeout: float | None) -> socket.socket:
    """A connected stream socket; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with short(path) as name:
            connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection


class BoundSocket:
    """A listening socket together with the lock that makes its path ours."""

    def __init__(self, path: str, share: bool = False) -> None:
        """Lock, check, bind and listen. Raises AddressError with the reason."""
        self.path = os.path.abspath(path)
        _check_directory(self.path)
        self._lock = _take_lock(self.path)
        self._inode: tuple[int, int] | None = None
        try:
            _clear_stale(self.path)
            self.listener = self._bind(0o666 if share else 0o600)
        except BaseException:
            self._release_lock()
            raise

    def _bind(self, mode: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The mode is the socket's before it has a name: a chmod of the name would follow
            # whatever a member of the directory's group puts in its place meanwhile.
            os.fchmod(listener.fileno(), 0o600)
            with short(self.path) as name:
                listener.bind(name)
            found = os.lstat(self.path)
            self._inode = (found.st_dev, found.st_ino)
            if mode != 0o600:
                self._widen(mode)
            listener.listen(64)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise AddressError(f"cannot serve {self.path}: {error.strerror}") from error
        return listener

    def _widen(self, mode: int) -> None:
        """Open the socket to others, by its inode: the umask would have taken that back."""
        place = os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(place)
            if (found.st_dev, found.st_ino) == self._inode:
                os.chmod(f"/proc/self/fd/{place}", mode)
        finally:
            os.close(place)

    def close(self) -> None:
        """Stop listening and remove what is ours: never a socket that replaced it meanwhile."""
        self.listener.close()
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self.path)
        self._release_lock()

    def abandon(self) -> None:
        """In a forked child: let go of the descriptors and leave everything to the parent."""
        self.listener.close()
        os.close(self._lock)

    def _release_lock(self) -> None:
        # Unlinked while still held: who takes it next finds the name gone and makes a new one.
        with contextlib.suppress(OSError):
            os.unlink(_lock_path(self.path))
        os.close(self._lock)


def _check_directory(path: str) -> None:
    folder = os.path.dirname(path)
    _make_own(folder)
    try:
        found = os.stat(folder)
    except OSError as error:
        raise AddressError(f"cannot serve {path}: {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise AddressError(f"cannot serve {path}: {folder} is not a directory")
    if found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        raise AddressError(
            f"cannot serve {path}: anyone may replace files in {folder} (world-writable without "
            f"the sticky bit); use another directory or `chmod o-w {folder}`"
        )
    # A user's private group has the user's own number; any other one has other members.
    if found.st_mode & stat.S_IWGRP and found.st_gid != os.geteuid():
        raise AddressError(
            f"cannot serve {path}: group {found.st_gid} may replace files in {folder} (group-"
            f"writable without the sticky bit); use another directory or `chmod g-w {folder}`"
        )


def _make_own(folder: str) -> None:
    """Make `$XDG_RUNTIME_DIR/vlamon`, where monitors look: nothing else makes it, and it is ours.

    Any other directory that is missing may be a mistyped one: that stays an error.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime) or folder != os.path.join(os.path.normpath(runtime), "vlamon"):
        return
    with contextlib.suppress(OSError):  # what is wrong shows itself when it is looked at
        if os.stat(runtime).st_uid == os.geteuid():
            os.mkdir(folder, 0o700)


def _lock_path(path: str) -> str:
    return path + ".lock"


def _take_lock(path: str) -> int:
    name = _lock_path(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        try:
            descriptor = os.open(name, flags, 0o600)
        except OSError as error:
            why = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise AddressError(f"cannot serve {path}: {name} {why}") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not trusted(found.st_uid):
            os.close(descriptor)
            whose = (
                f"belongs to uid {found.st_uid}" if stat.S_ISREG(found.st_mode) else "is not a file"
            )
            raise AddressError(f"cannot serve {path}: {name} {whose}", "choose another path")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise AddressError(_held(path, holder), _ELSEWHERE) from error
        try:
            ours = os.path.samestat(os.fstat(descriptor), os.lstat(name))
        except OSError:
            ours = False
        if ours:
            with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)  # its holder closed and unlinked it meanwhile: begin again


def _holder(descriptor: int) -> str:
    """The process that holds the lock, as it wrote itself in; empty if it does not say in time.

    A holder writes its number right after it took the lock: who comes in between finds nothing,
    or the number of a killed holder before it, and looks again.
    """
    for _ in range(200):
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if pid.isdecimal() and processes.exists(int(pid)):
            return pid
        time.sleep(0.01)
    return ""


def _held(path: str, pid: str) -> str:
    by = f"process {pid}" if pid else "another process"
    return f"{path} is served by {by}"


def _clear_stale(path: str) -> None:
    """Remove a dead trainer's socket; anything else that lies there is an error."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise AddressError(f"cannot serve {path}: it is a symbolic link, which is never followed")
    if not stat.S_ISSOCK(found.st_mode):
        raise AddressError(f"cannot serve {path}: a file that is not a socket exists there")
    try:
        with connect(path, timeout=1.0) as other:
            raise AddressError(_held(path, str(peer_of(other).pid)), _ELSEWHERE)
    except (ConnectionRefusedError, FileNotFoundError):
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise AddressError(f"cannot serve {path}: {error.strerror or error}") from error

"""A connection of our own to the store of the training's process group.

c10d's client waits for ever where a store takes a request and does not answer, as one whose process
is stopped does: its timeout only makes it ask the store to end the wait. And a thread that is
inside such a call while the interpreter ends may abort the process, because CPython unwinds the
thread through C++ that forbids it. So the socket under the client gets a limit of its own, and
`cut` ends the call that is inside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

RETRY = 5.0
"""Seconds between two tries to reach a store that failed."""
TIMEOUT = 5.0
"""Seconds that the store may take for an answer."""
PREFIX = "vlamon/"
_DESCRIPTORS = "/proc/self/fd"


class JobStore:
    """Reports of ranks in the job's store. One thread calls it; `cut` may be called by another."""

    def __init__(self) -> None:
        self._client: Any = None
        self._next_try = 0.0
        self._port = 0
        self._others: frozenset[int] = frozenset()
        """Connections to the store that were there before ours."""
        self._closed = False

    def connected(self) -> bool:
        """Connect, as soon as the script has a process group over a TCPStore."""
        if self._client is None and not self._closed and time.monotonic() >= self._next_try:
            place = address()
            if place is not None:
                self._next_try = time.monotonic() + RETRY
                self._client = self._connect(*place)
        return self._client is not None and not self._closed

    def put(self, rank: int, data: bytes) -> None:
        """Write a rank's report."""
        self._client.set(f"{PREFIX}{rank}", data)

    def get(self, ranks: Sequence[int]) -> Mapping[int, bytes]:
        """The reports of these ranks in one request; empty where a rank has none."""
        keys = [f"{PREFIX}{rank}" for rank in ranks]
        if self._client.has_extended_api():
            return dict(zip(ranks, self._client.multi_get(keys), strict=True))
        return {rank: self._client.get(key) for rank, key in zip(ranks, keys, strict=True)}

    def clear(self, ranks: range) -> None:
        """Empty reports: reading a missing key would wait for it."""
        for rank in ranks:
            self.put(rank, b"")

    def drop(self) -> None:
        """Connect again at the next try."""
        self._client = None

    def close(self) -> None:
        """Connect no more, and end the call that another thread is inside."""
        self._closed = True
        self.cut()

    def cut(self) -> None:
        """Shut our connection down: a call that waits for the store fails at once."""
        mine = self._mine()
        if mine is not None:
            with contextlib.suppress(OSError), mine:
                mine.shutdown(socket.SHUT_RDWR)

    def _connect(self, host: str, port: int) -> Any:
        """A client whose every call ends; None where the store is not there."""
        try:
            socket.create_connection((host, port), TIMEOUT).close()
        except OSError:  # refused: c10d would try again and again, where nothing can cut it
            return None
        self._port, self._others = port, frozenset(_connections(port))
        ready = threading.Event()
        threading.Thread(target=self._hurry, args=(ready,), daemon=True).start()
        try:
            client = client_of(host, port, TIMEOUT)
        except Exception:  # it refuses, hangs or is something else: no ranks are seen
            return None
        finally:
            ready.set()
        if os.path.isdir(_DESCRIPTORS):
            mine = self._mine()
            if mine is None:  # the script connected at the same moment: which one is ours?
                self._next_try = 0.0
                return None
            with mine:
                limit = struct.pack("ll", int(TIMEOUT), int(TIMEOUT % 1 * 1e6))
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return client

    def _hurry(self, ready: threading.Event) -> None:
        """End attempts of c10d to connect that hang: it shakes hands without a limit."""
        while not ready.wait(TIMEOUT):
            self.cut()

    def _mine(self) -> socket.socket | None:
        """Our connection, beside the client's own handle of it; None where that is uncertain."""
        found = _connections(self._port)
        mine = [fd for inode, fd in found.items() if inode not in self._others]
        if len(mine) != 1:
            return None
        try:
            return socket.socket(fileno=os.dup(mine[0]))
        except OSError:  # closed meanwhile
            return None


def address() -> tuple[str, int] | None:
    """Where the job's store is; None where there is no process group, or one over another store."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    try:
        if distributed is None or not distributed.is_initialized():
            return None
        store = distributed.distributed_c10d._get_default_store()
        while hasattr(store, "underlying_store"):
            store = store.underlying_store
        if not isinstance(store, distributed.TCPStore):
            return None
        return str(store.host), int(store.port)
    except Exception:  # torn down meanwhile, or another version of torch: no ranks are seen
        return None


def client_of(host: str, port: int, timeout: float) -> Any:
    """c10d's client of that store."""
    distributed: Any = sys.modules["torch"].distributed
    limit = timedelta(seconds=timeout)
    return distributed.TCPStore(host, port, None, False, limit, wait_for_workers=False)


def _connections(port: int) -> dict[int, int]:
    """Descriptor by inode of each connection that this process has to that port."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):  # no /proc: not Linux
        for name in os.listdir(_DESCRIPTORS):
            with contextlib.suppress(OSError):  # closed meanwhile, or not connected
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode) and _port_of_peer(int(name)) == port:
                    found[status.st_ino] = int(name)
    return found


def _port_of_peer(descriptor: int) -> int | None:
    with socket.socket(fileno=os.dup(descriptor)) as held:
        if held.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        port: int = held.getpeername()[1]
        return port

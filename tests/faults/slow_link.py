"""A slow network between two TCP ends: a proxy that delays and paces bytes as a thin link does."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PACKET = 1400
WAITING = 64
"""Packets that the link's router holds; then the sender waits, as with TCP's window."""


@dataclass(slots=True)
class SlowLink:
    """Listens on loopback for a server there; each direction has the delay and the rate."""

    port: int
    """Of the server."""
    delay: float
    """Seconds one way."""
    rate: float
    """Bits a second, each way."""
    down: int = 0
    """Bytes that came from the server."""
    up: int = 0
    """Bytes that went to it."""
    _listener: socket.socket = field(default_factory=socket.socket)
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.cut()

    @property
    def near(self) -> int:
        """The port to connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """End every connection, as a network that goes away and comes back does."""
        ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [near, far]
            self._carry(near, far, "up")
            self._carry(far, near, "down")

    def _carry(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        held: queue.Queue[tuple[float, bytes]] = queue.Queue(WAITING)

        def take() -> None:
            free = 0.0  # when the line has carried what came before
            with contextlib.suppress(OSError):
                while data := source.recv(PACKET):
                    now = time.monotonic()
                    free = max(free, now) + 8 * len(data) / self.rate
                    time.sleep(max(0.0, free - now))
                    held.put((free + self.delay, data))
            held.put((0.0, b""))

        def give() -> None:
            with contextlib.suppress(OSError):
                while (packet := held.get())[1]:
                    time.sleep(max(0.0, packet[0] - time.monotonic()))
                    setattr(self, way, getattr(self, way) + len(packet[1]))
                    sink.sendall(packet[1])
                sink.shutdown(socket.SHUT_WR)
            while held.get()[1]:  # a sink that is gone must not hold up the other thread
                continue

        for body in (take, give):
            threading.Thread(target=body, daemon=True).start()

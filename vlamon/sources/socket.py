"""The live socket of a training, here or at the near end of `ssh -L`."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from vlamon.protocol.address import connect, peer_of, trusted
from vlamon.sources import SourceError
from vlamon.sources.stream import NotThere, StreamSource


class SocketStream:
    """A connected Unix socket as a Stream."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def write_fileno(self) -> int:
        """The same one."""
        return self._socket.fileno()

    def receive(self, size: int) -> bytes:
        """What has come."""
        return self._socket.recv(size)

    def send(self, data: bytes) -> int:
        """What the kernel takes."""
        return self._socket.send(data)

    @property
    def other_user(self) -> int | None:
        """Who serves it, as the kernel says, where that is neither ourselves nor root."""
        uid = peer_of(self._socket).uid
        return None if trusted(uid) else uid

    def last_words(self) -> str:
        """A socket that ends does not say why."""
        return ""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class SocketEndpoint:
    """A Unix socket on this machine."""

    name: str
    """Its path."""
    retry: float = 0.25
    """Seconds between two attempts to connect."""

    def open(self) -> SocketStream:
        """Connect; what is not there yet may come."""
        try:
            return SocketStream(connect(self.name, timeout=5.0))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN) or isinstance(
                error, TimeoutError
            ):
                why = {
                    errno.ENOENT: "no training serves it yet",
                    errno.ECONNREFUSED: "the training that made it is gone",
                }.get(error.errno or 0, "it is busy")
                raise NotThere(f"waiting for {self.name}: {why}") from error
            hint = ""
            if error.errno in (errno.EACCES, errno.EPERM):
                hint = " (it belongs to another user; its owner can start it with share=True)"
            raise SourceError(f"cannot open {self.name}: {error.strerror}{hint}") from error


def socket_source(path: str | os.PathLike[str], rows: bool = True) -> StreamSource:
    """Records of the training that serves `path`."""
    return StreamSource(SocketEndpoint(os.fspath(path)), rows)

"""The live socket of a training, here or at the near end of `ssh -L`."""

from __future__ import annotations

import errno
import os
import socket

from vlamon.protocol.address import connect, peer_of, trusted
from vlamon.records import Command
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

    def last_words(self) -> str:
        """A socket that ends does not say why."""
        return ""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class SocketSource(StreamSource):
    """Records of the training that serves `path`; waits for it where it is not there yet.

    With `rows=False` no batches come, only greeting, status, events and GPU samples, and nothing
    imports NumPy: what `vlamon status` and `vlamon ctl` use.
    """

    def __init__(self, path: str | os.PathLike[str], rows: bool = True) -> None:
        super().__init__(os.fspath(path), rows)

    def send(self, command: Command) -> None:
        """Queue a command; never for a server of another user, who would read what it says."""
        if self.stranger is not None:
            raise SourceError(
                f"{self.name} is served by uid {self.stranger}; only its owner may give commands"
            )
        super().send(command)

    def _open(self) -> SocketStream:
        try:
            connection = connect(self.name, timeout=5.0)
            uid = peer_of(connection).uid
            self.stranger = None if trusted(uid) else uid
            return SocketStream(connection)
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

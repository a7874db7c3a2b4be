"""A training on another machine, through `ssh HOST vlamon relay`."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import subprocess
import tempfile
from dataclasses import dataclass

from vlamon.sources import SourceError
from vlamon.sources.stream import StreamSource

ENTRY = "vlamon relay"
"""What is run at the far end; `$VLAMON_REMOTE` names another place of vlamon there."""

_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=20")
"""So that a dead network ends the stream instead of leaving it silent for ever."""
_THIN = ("-o", "Compression=yes")
"""Steps, times and slow metrics repeat: a history takes a fraction of the bytes on a thin line."""
_COMPLAINTS = 16 << 20
"""Bytes of complaints on disk, which the far end writes; a carrier that goes on is ended."""
_LAST = 8 << 10
"""Bytes of them that are read."""
_NO_TRAINING = 3
_NO_COMMAND = 127


class PipeStream:
    """The pipes of a running carrier, such as ssh, as a Stream."""

    def __init__(self, command: list[str], host: str, carrier: str) -> None:
        self._carrier = carrier
        # A file, not a pipe: it is read only after a failure, and the screen is not ssh's.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._host = host
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints
        )
        with contextlib.suppress(OSError, ValueError):  # ended already, or with a smaller limit
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_COMPLAINTS, _COMPLAINTS))
        assert process.stdin is not None
        assert process.stdout is not None
        self._in = process.stdout.fileno()
        self._out = process.stdin.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def fileno(self) -> int:
        """What ssh writes."""
        return self._in

    def write_fileno(self) -> int:
        """What ssh reads."""
        return self._out

    def receive(self, size: int) -> bytes:
        """What has come."""
        return os.read(self._in, size)

    def send(self, data: bytes) -> int:
        """What the pipe takes."""
        return os.write(self._out, data)

    @property
    def other_user(self) -> int | None:
        """None: the far end looks who serves the socket, as the user that ssh logged in."""
        return None

    def last_words(self) -> str:
        """What ssh or the relay complained about; a failure of ssh itself is final."""
        try:
            code = self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return ""
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _LAST))
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        text = lines[-1].removeprefix("vlamon: ") if lines else f"ended with exit code {code}"
        if code == _NO_TRAINING:
            return f"{self._host}: {text}"
        hint = "; install vlamon there or set VLAMON_REMOTE" if code == _NO_COMMAND else ""
        raise SourceError(f"{self._carrier} {self._host}: {text}{hint}")

    def close(self) -> None:
        """End ssh; it dies with its pipes, and is made to if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._complaints.close()
        self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class CarriedEndpoint:
    """The far end of a command that carries the stream on its pipes."""

    name: str
    """The host, and the socket there where one is named."""
    host: str
    """The host that error messages name."""
    command: tuple[str, ...]
    """What is run; its first word is the carrier."""
    retry: float = 2.0
    """Seconds between two attempts: each is a login."""

    def open(self) -> PipeStream:
        """Start the carrier."""
        carrier = self.command[0]
        try:
            return PipeStream([*self.command], self.host, os.path.basename(carrier))
        except OSError as error:
            raise SourceError(f"cannot run {carrier}: {error.strerror}") from error


def ssh_source(
    host: str,
    path: str | None = None,
    rows: bool = True,
    newest: int = 0,
    ssh: tuple[str, ...] = ("ssh",),
) -> StreamSource:
    """Records of the training that serves `path` on `host`. ssh itself asks for passwords.

    `host` is what ssh takes, with the options of the user's ssh configuration; without `path` the
    far end looks for the socket itself.
    """
    if not host or host.startswith("-"):
        raise SourceError(f"{host!r} is not a host; write it as node or user@node")
    entry = os.environ.get("VLAMON_REMOTE", ENTRY)
    there = f" --socket {shlex.quote(path)}" if path else ""
    command = (*ssh, "-T", *_ALIVE, *_THIN, host, entry + there)
    return StreamSource(
        CarriedEndpoint(f"{host}:{path}" if path else host, host, command), rows, newest
    )

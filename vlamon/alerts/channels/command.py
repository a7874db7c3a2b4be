"""`--on-alert CMD`: any program, with the alert as JSON on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import IO

from vlamon.alerts.as_json import as_json
from vlamon.alerts.channels.http import ChannelError
from vlamon.alerts.message import Message, document

TIMEOUT = 30.0
"""Seconds after which the program is killed, and what it started with it."""
KEPT = 200
"""Characters of its last words; what it says besides costs no memory."""


class CommandLine:
    """Runs a command line in a shell, as the user wrote it."""

    def __init__(self, line: str) -> None:
        self._line = line

    def send(self, message: Message) -> None:
        """Hand the alert over; it was accepted where the program exits with 0."""
        try:
            process = subprocess.Popen(
                self._line,
                shell=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ChannelError(f"the command cannot be run: {error}") from None
        assert process.stdin is not None
        assert process.stderr is not None
        said = _LastWords(process.stderr)
        fed = threading.Thread(
            target=_feed, args=(process.stdin, as_json(document(message)) + b"\n"), daemon=True
        )
        fed.start()
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ChannelError(f"the command did not end within {TIMEOUT:.0f} s") from None
        if code:
            raise ChannelError(f"the command exited with {code}: {said.text()}")


class _LastWords:
    """Reads what a program says for as long as it speaks, and keeps the end of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(1.0)  # what it left running may hold the pipe
        return self._kept.decode(errors="replace").strip()[-KEPT:]

    def _read(self) -> None:
        with self._pipe:
            while data := os.read(self._pipe.fileno(), 1 << 16):
                self._kept = (self._kept + data)[-4 * KEPT :]


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError), pipe:  # it need not read its input
        pipe.write(data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""A short connection to a trainer, for one question or command. Imports no NumPy."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from vlamon.errors import VlamonError
from vlamon.protocol.commands import Command
from vlamon.records import Link, Record, Reply, RunInfo, Status
from vlamon.sources import SourceError
from vlamon.sources.discovery import NoTrainer, chosen_socket
from vlamon.sources.socket import socket_source
from vlamon.sources.stream import GREETING, StreamSource

Found = TypeVar("Found")

DONE, REFUSED, USAGE, NO_TRAINER, TIMED_OUT = 0, 1, 2, 3, 4
"""Exit codes, documented in docs/cli.md."""


class TimedOut(VlamonError):
    """A trainer is there but does not answer."""

    exit_code = TIMED_OUT


class BriefConnection:
    """A connection without rows, as a context manager; raises NoTrainer where none serves."""

    def __init__(self, socket: str | None, ssh: str | None = None, job: str | None = None) -> None:
        if sum(each is not None for each in (socket, ssh, job)) > 1:
            raise SourceError("--socket, --ssh and --job exclude each other")
        self.status: Status | None = None
        self._source: StreamSource
        if job is not None:
            from vlamon.sources.jobs import served_by

            self._source = served_by(job, rows=False)
            self.path = self._source.name
        elif ssh is None:
            self.path = chosen_socket(socket)
            self._source = socket_source(self.path, rows=False)
        else:
            from vlamon.sources.ssh import ssh_source

            host, _, path = ssh.partition(":")
            self._source = ssh_source(host, path or None, rows=False)
            self.path = self._source.name
        self._unread: deque[Record] = deque()

    def __enter__(self) -> BriefConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    @property
    def source(self) -> StreamSource:
        """The source itself."""
        return self._source

    def greet(self, timeout: float) -> RunInfo:
        """The trainer's greeting, within GREETING however long an answer may take."""

        def greeting(record: Record) -> RunInfo | None:
            return record if isinstance(record, RunInfo) else None

        found = self.wait(greeting, min(timeout, GREETING), connecting=True)
        if found is None:
            raise TimedOut(
                f"the training behind {self.path} accepted the connection but did not answer in "
                f"{timeout:g} s; it may be stopped or under a debugger."
            )
        return found

    def ask(self, command: Command, timeout: float) -> Reply | None:
        """Send a command; its reply, or None after `timeout` seconds."""
        self._source.send(command)

        def reply(record: Record) -> Reply | None:
            return record if isinstance(record, Reply) and record.id == command.id else None

        return self.wait(reply, timeout)

    def wait(
        self, find: Callable[[Record], Found | None], timeout: float, *, connecting: bool = False
    ) -> Found | None:
        """The first result of `find` that is not None; None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not self._unread:
                try:
                    self._unread.extend(self._source.read(min(left, 0.25)))
                except SourceError as error:
                    raise NoTrainer(str(error)) from error
            while self._unread:
                record = self._unread.popleft()
                if isinstance(record, Status):
                    self.status = record
                found = find(record)
                if found is not None:
                    return found
                if isinstance(record, Link) and _gone(record, connecting):
                    why = record.text.removeprefix(f"waiting for {self.path}: ")
                    raise NoTrainer(f"no training answers on {self.path}: {why}.")
        return None

    def settle(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until status and newest values are known."""

        def known(_: Record) -> bool | None:
            return True if self.status is not None and self._source.latest else None

        self.wait(known, timeout)


def _gone(link: Link, connecting: bool) -> bool:
    return link.state in ("ended", "failed", "reconnecting") or (
        connecting and link.state == "waiting"
    )

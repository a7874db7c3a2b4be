"""The sources of records: a live socket, a log file, a journal, a relay over ssh.

Every source has the same small face, so that one screen serves `watch`, `tail` and `replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vlamon.errors import VlamonError
from vlamon.protocol.commands import Command
from vlamon.records import Record


class SourceError(VlamonError):
    """A source cannot go on; the message is the sentence that the user reads."""


class Source(Protocol):
    """A stream of records. `read` runs on one thread (the feed's); `send` and `close` on any."""

    def read(self, timeout: float) -> Sequence[Record]:
        """Wait at most `timeout` seconds and return what came, in order; often nothing.

        A change of the link (waiting, live, reconnecting, ended) arrives as a `Link` record.
        Raises SourceError when nothing can ever come.
        """

    def send(self, command: Command) -> None:
        """Send a command to the trainer; its `Reply` arrives through `read`.

        Raises SourceError at once where no trainer listens (a log file, a control-less script).
        """

    @property
    def finished(self) -> bool:
        """True when everything was read and nothing more can come."""

    def close(self) -> None:
        """Release sockets, files and watches; `read` returns soon after."""

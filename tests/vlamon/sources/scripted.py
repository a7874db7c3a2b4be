"""A source for tests that hands over what it was made with."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.protocol.commands import Command
from vlamon.records import Record


class ScriptedSource:
    """Hands over one list of records a read, and has then ended."""

    def __init__(self, *reads: Sequence[Record]) -> None:
        self.reads = list(reads)

    @property
    def finished(self) -> bool:
        return not self.reads

    def read(self, timeout: float) -> Sequence[Record]:
        return self.reads.pop(0)

    def send(self, command: Command) -> None: ...

    def close(self) -> None: ...

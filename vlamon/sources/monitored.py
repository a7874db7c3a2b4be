"""A run's source with the explosions that the run itself does not report."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.detect.monitor import ExplosionMonitor
from vlamon.detect.rules import SpikeRules
from vlamon.protocol.commands import Command
from vlamon.records import Record
from vlamon.sources import Source


class Monitored:
    """Records as they come, each explosion behind the batches that show it."""

    def __init__(self, source: Source, rules: SpikeRules | None = None) -> None:
        self._source = source
        self._monitor = ExplosionMonitor(rules)

    @property
    def finished(self) -> bool:
        """True when the source is."""
        return self._source.finished

    def read(self, timeout: float) -> Sequence[Record]:
        """What came, with what the monitor reports of it."""
        records: list[Record] = []
        for record in self._source.read(timeout):
            records.append(record)
            records += self._monitor.hear(record)
        return records

    def send(self, command: Command) -> None:
        """Pass a command on."""
        self._source.send(command)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

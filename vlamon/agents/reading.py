"""Reads a run as it is now: its files to their end, or a live training's history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vlamon.agents.where import RunPlaces
from vlamon.records import BatchBlock, Link, Record, Status
from vlamon.sources import Source, SourceError
from vlamon.sources.read_all import FileContents, read_files, records_of
from vlamon.store import RunStore

LONGEST = 60.0
"""Seconds that the history of a live training may take."""
QUIET = 1.0
"""Seconds without a record after which a training that logs slowly has sent all."""


@dataclass(frozen=True)
class Run:
    """Everything that is known of a run."""

    where: RunPlaces
    records: Sequence[Record]
    logs: Sequence[FileContents] = field(default=())
    """What its files said besides, where it was read from files."""

    @cached_property
    def store(self) -> RunStore:
        """The records, arranged for questions."""
        store = RunStore()
        for record in self.records:
            store.apply(record)
        return store


def read_run(where: RunPlaces) -> Run:
    """The whole history. Raises SourceError with the sentence for the user."""
    if where.files:
        logs, _ = read_files(where.files)
        return Run(where, _judged(records_of(logs)), logs)
    if where.ssh is not None:
        from vlamon.sources.ssh import ssh_source

        host, _, path = where.ssh.partition(":")
        return Run(where, _judged(_history(ssh_source(host, path or None))))
    from vlamon.sources.socket import socket_source

    assert where.socket is not None
    return Run(where, _judged(_history(socket_source(where.socket))))


def _history(source: Source) -> list[Record]:
    """Read a live training until its batches are up to date."""
    began, last = time.time(), time.monotonic()
    end = last + LONGEST
    records: list[Record] = []
    try:
        while time.monotonic() < end and not source.finished:
            found = source.read(0.2)
            records += found
            last = time.monotonic() if found else last
            if _newest(found) >= began:
                break
            answered = any(isinstance(record, Status) for record in records)
            if time.monotonic() - last > (QUIET if answered else 10.0):
                break
    finally:
        source.close()
    failed = [each for each in records if isinstance(each, Link) and each.state == "failed"]
    if failed:
        raise SourceError(failed[0].text)
    return records


def _newest(records: Sequence[Record]) -> float:
    blocks = [record for record in records if isinstance(record, BatchBlock) and record.rows]
    newest = float(blocks[-1].time[-1]) if blocks else math.nan
    return newest if newest == newest else -math.inf


def _judged(records: Sequence[Record]) -> list[Record]:
    """The records with the explosions of a run that does not judge itself."""
    from vlamon.config import rules_in_force
    from vlamon.detect.monitor import ExplosionMonitor

    # A mistake in the settings was reported where `vlamon` started.
    monitor, judged = ExplosionMonitor(rules_in_force(lambda complaint: None)), []
    for record in [*records, Link("ended")]:
        judged += [record, *monitor.observe(record)]
    return judged

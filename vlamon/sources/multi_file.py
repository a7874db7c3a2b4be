"""Several sources as one run: their records are taken in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlamon.protocol.commands import Command
from vlamon.records import (
    Backfill,
    BatchBlock,
    EpochBlock,
    EpochRow,
    IntervalBlock,
    Link,
    Record,
    RunInfo,
)
from vlamon.sources import Source, SourceError
from vlamon.sources.attempts import AttemptsOfEpochs
from vlamon.sources.bytestream import JOURNAL, starts_with
from vlamon.sources.logfile import LogFile
from vlamon.sources.newest_first import NewestFirst, long_log
from vlamon.sources.one_run import OneRun


def opened(
    path: str, *, follow: bool, format_name: str | None, newest_first: bool = False
) -> Source:
    """The source for a file given to `tail`; a screen shows a long log's newest part first."""
    if starts_with(path, JOURNAL):
        raise SourceError(f"{path} is a journal, not a log: open it with `vlamon watch {path}`.")
    known = long_log(path, format_name) if newest_first else None
    if known is not None:
        return NewestFirst(path, known, follow=follow)
    return LogFile(path, follow=follow, format_name=format_name)


def _has_rows(records: Sequence[Record]) -> bool:
    return any(not isinstance(record, Link) for record in records)


class MergedSource:
    """Reads each source in turn; ends when all have."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._info: RunInfo | None = None
        self._one_run = OneRun()
        self._attempts = AttemptsOfEpochs()
        self._broken: dict[int, SourceError] = {}
        self._behind = set(range(len(self._sources)))
        """Sources that have not caught up with their files yet."""
        self._absent: set[int] = set()
        """Sources whose files are not there yet."""
        self._held: list[EpochBlock | EpochRow] = []

    @property
    def finished(self) -> bool:
        """True when every source is."""
        return all(self._is_over(number) for number in range(len(self._sources)))

    @property
    def problems(self) -> list[SourceError]:
        """Why files were left out: an unknown format, a file that cannot be read."""
        return list(self._broken.values())

    def _is_over(self, number: int) -> bool:
        return number in self._broken or self._sources[number].finished

    def read(self, timeout: float) -> Sequence[Record]:
        """What has come from any of them."""
        records: list[Record] = []
        going = [number for number in range(len(self._sources)) if not self._is_over(number)]
        for number in going:
            # While one of them still has much to say, the others are not waited for.
            came = self._from(number, 0.0 if records else timeout / len(going))
            if self._is_over(number) or not _has_rows(came):
                self._behind.discard(number)
            came = self._one_run.take(number, self._without_waiting(number, came))
            records += [record for one in came if (record := self._merged(one)) is not None]
        records += self._epoch_lines(records)
        if not self.finished:
            ended = [r for r in records if isinstance(r, Link) and r.state == "ended"]
            records = [r for r in records if r not in ended]
        return records

    def _from(self, number: int, timeout: float) -> Sequence[Record]:
        """What one source says; one that fails is left out while another has something to say."""
        try:
            return self._sources[number].read(timeout)
        except SourceError as error:
            self._broken[number] = error
            self._sources[number].close()
            if len(self._broken) == len(self._sources):
                raise next(iter(self._broken.values())) from error
            return []

    def _without_waiting(self, number: int, came: Sequence[Record]) -> Sequence[Record]:
        """A file that is still to come is news only where none is there: else the run is."""
        waiting = [r for r in came if isinstance(r, Link) and r.state == "waiting"]
        if waiting:
            self._absent.add(number)
        elif came:
            self._absent.discard(number)
        if not waiting or len(self._absent) == len(self._sources):
            return came
        return [record for record in came if record not in waiting]

    def _epoch_lines(self, records: list[Record]) -> list[EpochBlock | EpochRow]:
        """Epoch lines with the attempts of their batches, once the batch logs are read.

        Takes them out of `records`.
        """
        for record in records:
            if isinstance(record, BatchBlock | IntervalBlock):
                self._attempts.observe(record)
            elif isinstance(record, Backfill):
                for row in record.records:
                    if isinstance(row, BatchBlock | IntervalBlock):
                        self._attempts.observe(row)
            elif isinstance(record, EpochBlock | EpochRow):
                self._held.append(record)
        records[:] = [r for r in records if not isinstance(r, EpochBlock | EpochRow)]
        if self._behind:
            return []
        held, self._held = self._held, []
        return self._attempts.assign(held)

    def _merged(self, record: Record) -> Record | None:
        """One RunInfo for the run: the first file's, completed by the later ones."""
        if not isinstance(record, RunInfo):
            return record
        before = self._info
        if before is None:
            self._info = record
            return record
        self._info = replace(
            before,
            total_steps=before.total_steps or record.total_steps,
            steps_per_epoch=before.steps_per_epoch or record.steps_per_epoch,
            metrics=before.metrics
            + tuple(spec for spec in record.metrics if spec not in before.metrics),
            source=f"{before.source} {record.source}",
        )
        return self._info

    def send(self, command: Command) -> None:
        """Pass a command to the first source that accepts it."""
        refusal: SourceError | None = None
        for source in self._sources:
            try:
                return source.send(command)
            except SourceError as error:
                refusal = refusal or error
        raise refusal or SourceError("there is no source that takes commands.")

    def close(self) -> None:
        """Close all of them."""
        for source in self._sources:
            source.close()

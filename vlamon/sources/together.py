"""Several sources as one run: their records are taken in turn."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.records import Command, Link, Record
from vlamon.sources import Source, SourceError
from vlamon.sources.logfile import LogFile


def opened(path: str, *, follow: bool, format_name: str | None) -> Source:
    """The source for a file that `tail` was given."""
    return LogFile(path, follow=follow, format_name=format_name)


class Together:
    """Reads each source in turn; ends when all have."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)

    @property
    def finished(self) -> bool:
        """True when every source is."""
        return all(source.finished for source in self._sources)

    def read(self, timeout: float) -> Sequence[Record]:
        """What has come from any of them."""
        going = [source for source in self._sources if not source.finished]
        records: list[Record] = []
        for source in going:
            # While one of them still has much to say, nobody waits for another.
            records += source.read(0.0 if records else timeout / len(going))
        if not self.finished:
            ended = [r for r in records if isinstance(r, Link) and r.state == "ended"]
            records = [r for r in records if r not in ended]
        return records

    def send(self, command: Command) -> None:
        """Hand an order to the first source that takes one."""
        refusal: SourceError | None = None
        for source in self._sources:
            try:
                return source.send(command)
            except SourceError as error:
                refusal = refusal or error
        raise refusal or SourceError("there is no source to order anything from.")

    def close(self) -> None:
        """Close all of them."""
        for source in self._sources:
            source.close()

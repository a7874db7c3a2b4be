"""The demo's story: what is happening, in one line each, while it happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vlamon.protocol.commands import Command
from vlamon.records import BatchBlock, EpochBlock, EpochRow, Event, Record
from vlamon.sources import Source

BRIEF = ("closs", "loss_ct", "z_loss", "grad_norm", "lr")
"""Metrics on a line of the demo: with all of them a line fills three rows of a terminal."""
SOON = 10
"""Steps before the explosion at which it is announced."""

CHAPTERS = {
    "begin": "a small vision-language-action model trains on this machine: closs is its token "
    "loss, loss_ct the loss of its action head",
    "checkpoint": "a checkpoint is on disk; the guard keeps newer snapshots in memory",
    "soon": "soon the learning rate jumps a thousandfold, as after a wrong resume",
    "explode": "it exploded: the guard stops before the next step and replays the batches to find "
    "the cause",
    "autopsy": "the verdict says whether the data, the dynamics or the hardware broke it",
    "rollback": "back to a trusted snapshot, the bad batches are skipped; the abandoned attempt "
    "stays in the history",
    "recovered": "recovered: the losses are where they were, and nobody had to intervene",
    "end": "the training is over",
}


class NarratedSource:
    """A source that adds a note where the next chapter begins."""

    def __init__(self, source: Source, explodes_at: int, *, brief: bool) -> None:
        self._source = source
        self._explodes_at = explodes_at
        self._brief = brief
        self._narrated: set[str] = set()
        self._step = 0
        self._attempt = 0

    def read(self, timeout: float) -> Sequence[Record]:
        """The source's records and the notes between them."""
        return [shown for record in self._source.read(timeout) for shown in self._tell(record)]

    def send(self, command: Command) -> None:
        """Pass a command on."""
        self._source.send(command)

    @property
    def finished(self) -> bool:
        """Whether the source has ended."""
        return self._source.finished

    @property
    def is_cut(self) -> bool:
        """Whether the story ended between the explosion and the recovery."""
        return "explode" in self._narrated and "recovered" not in self._narrated

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _tell(self, record: Record) -> Iterator[Record]:
        if isinstance(record, BatchBlock) and record.rows:
            # A short run may come as one block: it begins at the block's first row.
            self._step, self._attempt = int(record.step[0]), record.attempt
            yield from self._chapter("begin", float(record.time[0]))
            self._step = int(record.step[-1])
            if self._explodes_at - SOON <= self._step < self._explodes_at:
                yield from self._chapter("soon", float(record.time[-1]))
        if isinstance(record, Event) and record.kind == "end":
            yield from self._chapter("end", record.time)
        yield shortened(record) if self._brief else record
        if isinstance(record, Event) and record.kind in CHAPTERS and record.kind != "end":
            yield from self._chapter(record.kind, record.time)

    def _chapter(self, name: str, time: float) -> Iterator[Event]:
        if name not in self._narrated:
            self._narrated.add(name)
            yield Event(
                f"demo-{name}", "note", self._step, self._attempt, time, text=CHAPTERS[name]
            )


def shortened(record: Record) -> Record:
    """A record with the metrics alone that a line has room for."""
    if isinstance(record, BatchBlock | EpochBlock):
        kept = {name: cells for name, cells in record.columns.items() if name in BRIEF}
        return replace(record, columns=kept)
    if isinstance(record, EpochRow):
        return replace(
            record, metrics={name: v for name, v in record.metrics.items() if name in BRIEF}
        )
    return record


def next_steps(kept: str | None) -> Iterator[str]:
    """What to try after the demo."""
    yield "Try next:"
    if kept is None:
        yield "  vlamon demo --keep                    the same, and keep the run to open it again"
    else:
        yield f"  vlamon watch {kept}    look at this run again"
        yield f"  vlamon analyze {kept}    a report on it"
    yield "  vlamon explain closs                  what a number means, and what to do about it"
    yield "  vlamon tail output.log                a log that you have"
    yield "  vlamon run -- python train.py         a training of yours, unchanged"
    yield "  vlamon doctor                         problems on this machine, and how to fix them"

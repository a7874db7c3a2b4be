"""Reads what earlier boots wrote into a run's journal, as far as a restart needs it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

from vlamon.protocol.frames import Message, ProtocolError, unpack
from vlamon.protocol.journal import Sealed, TornBytes
from vlamon.protocol.messages import SPECS
from vlamon.records import MetricSpec

_INDEX_ROWS = 4096


@dataclass(slots=True)
class JournalIndex:
    """What earlier boots wrote: where to go on, and what late joiners still have to receive."""

    run_id: str = ""
    next_seq: int = 0
    last_attempt: int = -1
    last_step: int | None = None
    """Of the newest batch."""
    notes: list[tuple[int, Message]] = field(default_factory=list)
    """Events, epoch rows and announcements with the row at which they happened."""
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    """Every metric announced, by name."""
    good_end: int = 0
    """Offset after the last good frame."""
    torn: list[TornBytes] = field(default_factory=list)
    index_seq: array[int] = field(default_factory=lambda: array("q"))
    index_offset: array[int] = field(default_factory=lambda: array("q"))

    @property
    def damage(self) -> str:
        """What the journal lost before this boot."""
        lost, size = sum(torn.frames for torn in self.torn), sum(torn.bytes for torn in self.torn)
        return f"the journal had {size} damaged bytes: about {lost} frames are lost"

    def take(self, found: Sealed | TornBytes) -> None:
        """Remember what matters of one frame; a frame that makes no sense is skipped."""
        if isinstance(found, TornBytes):
            self.torn.append(found)
            return
        self.good_end = found.end
        try:
            message = unpack(found.payload)
            self._remember(message, found.offset)
        except (ProtocolError, TypeError, ValueError, LookupError):
            return  # written by a newer minor version, or by an unknown program

    def _remember(self, message: Message, offset: int) -> None:
        name = message["t"]
        if name == "batch":
            seq, rows, attempt = (int(message[key]) for key in ("seq", "n", "attempt"))
            self.index(seq, offset)
            self.next_seq = max(self.next_seq, seq + rows)
            self.last_attempt = max(self.last_attempt, attempt)
            self.last_step = int.from_bytes(message["step"][-8:], "little", signed=True)
        elif name == "hello":
            self.run_id = self.run_id or str(message.get("run_id", ""))
        elif name in ("event", "epoch"):
            self.last_attempt = max(self.last_attempt, int(message.get("attempt", 0)))
        if name in ("hello", "metrics"):
            self.metrics |= {spec.name: spec for spec in SPECS.decode(message["metrics"])}
        if name in ("event", "epoch", "metrics"):
            self.notes.append((self.next_seq, message))

    def index(self, seq: int, offset: int) -> None:
        """Remember where about every 4096th row begins."""
        if not self.index_seq or seq >= self.index_seq[-1] + _INDEX_ROWS:
            self.index_seq.append(seq)
            self.index_offset.append(offset)

    def offset_of(self, seq: int) -> int:
        """Where to begin to read for row `seq`."""
        place = bisect_right(self.index_seq, seq) - 1
        return self.index_offset[place] if place >= 0 else 0

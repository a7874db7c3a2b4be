"""A monitor's place in a run's rows, whether they are in memory or read back from the journal."""

from __future__ import annotations

from dataclasses import dataclass

from vlamon.emitter.blocklog import RowsForgotten
from vlamon.emitter.history import Fetch, History
from vlamon.protocol import messages
from vlamon.protocol.frames import pack
from vlamon.records import Gap

_FORGOTTEN = "older than the trainer's memory, and there is no journal to read it from"
_DAMAGED = "they are not in the journal"
_LEFT_OUT = "they came faster than they could be packed"


@dataclass(slots=True)
class RowCursor:
    """The next row to send, of all that come or of those before `end`."""

    seq: int = 0
    end: int | None = None
    """One past the last row; None where it follows the run."""
    fetch: Fetch | None = None
    """Rows that are being read back from the journal."""

    @property
    def done(self) -> bool:
        """Whether it has come to its end."""
        return self.end is not None and self.seq >= self.end

    def next_frame(self, history: History) -> bytes | None:
        """The frame with the next rows, or that tells of a gap; None while there is none."""
        if self.done:
            return None
        if self.fetch is not None:
            return self._next_fetched(history)
        following = history.log.read(self.seq)
        if following is None:
            return None
        if not isinstance(following, RowsForgotten):
            self.seq = following.end
            return following.frame
        if following.left_out:
            return self._skip(following.resume, following.resume_step, _LEFT_OUT)
        if history.fetch is not None:
            self.fetch = history.fetch(self.seq)
            return None
        return self._skip(following.resume, following.resume_step, _FORGOTTEN)

    def _next_fetched(self, history: History) -> bytes | None:
        """Rows that the journal's thread has read back; None while it is at it."""
        fetch = self.fetch
        assert fetch is not None
        if not fetch.done.is_set():
            return None
        if fetch.frames:
            following = fetch.frames[0]
            if following.seq > self.seq:
                return self._skip(following.seq, following.first_step, _DAMAGED)
            self.seq = following.end
            fetch.frames.popleft()
            if not fetch.frames:
                self.fetch = None
            return following.frame
        self.fetch = None
        gone = history.log.read(self.seq)
        if isinstance(gone, RowsForgotten):
            return self._skip(gone.resume, gone.resume_step, _DAMAGED)
        return None

    def _skip(self, resume: int, resume_step: int | None, reason: str) -> bytes:
        """Move forward and say what was lost."""
        if self.end is not None and resume > self.end:
            resume, resume_step = self.end, None
        first, self.seq = self.seq, resume
        last = None if resume_step is None else resume_step - 1
        return pack(messages.encode(Gap(resume - first, None, last, reason), seq=first))

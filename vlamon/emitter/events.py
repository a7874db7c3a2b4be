"""Makes the events of one boot: numbered, timed, and of plain values that a frame can carry."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlamon.protocol.sanitize import plain, text
from vlamon.records import Event, Severity
from vlamon.safe_text import line

_LOUD: Mapping[str, Severity] = {"warn": "warn", "explode": "error", "trainer_error": "error"}


@dataclass(slots=True)
class EventMaker:
    """Numbers events through a boot; on any thread."""

    boot: str
    """Begins every id, so that ids are unique within the run."""
    ended: bool = False
    """Whether the script sent the end itself."""
    failed: bool = False
    """Whether the training ended by an error."""
    last_data: dict[str, Any] = field(default_factory=dict)
    """What the `end` event holds besides."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def make(
        self,
        attempt: int,
        kind: str,
        step: int | None = None,
        message: str = "",
        severity: Severity | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Event:
        """One event, with step -1 if the script named none. Raises if the step is not a number."""
        return Event(
            f"{self.boot[:8]}-{next(self._numbers)}",
            line(text(kind)),
            -1 if step is None else int(step),
            attempt,
            time.time(),
            severity or _LOUD.get(kind, "info"),
            text(message),
            plain(dict(data or {})),
        )

    def note_end(self, kind: str) -> None:
        """Remember how the run ended, where this kind of event says so."""
        self.ended |= kind == "end"
        self.failed |= kind == "trainer_error"

    def last_words(
        self, attempt: int, reason: str, dropped: str, reasons: Mapping[str, int]
    ) -> list[Event]:
        """The events that end a run: what was left out, and the end, unless the script said it."""
        words = []
        if dropped:
            data = {"reasons": dict(reasons)}
            words.append(self.make(attempt, "note", message=dropped, severity="warn", data=data))
        if not self.ended:
            severity: Severity = "error" if self.failed else "info"
            message = reason or "the training ended"
            end = self.make(attempt, "end", message=message, severity=severity, data=self.last_data)
            words.append(end)
        return words

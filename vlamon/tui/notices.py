"""Words for the status line: what became of a command, where a file was saved."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS = 6.0
"""How long a notice stays in the status line."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A few words and the role that colours them."""

    text: str
    role: str = "note"


@dataclass(slots=True)
class Notices:
    """The newest notice, for as long as it stands; time is passed in."""

    newest: Notice = Notice("")
    _until: float = 0.0

    def say(self, notice: Notice, now: float) -> None:
        """Show a notice from now on."""
        self.newest = notice
        self._until = now + SECONDS

    def current(self, now: float) -> Notice:
        """Return the notice that still stands, an empty one otherwise."""
        if self.newest.text and now >= self._until:
            self.newest = Notice("")
        return self.newest

"""A row as it is written: text and styles, without what Textual's own strips carry about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment


class StyledRow:
    """One row of a widget, ready to be written.

    Textual's `Strip` has seven caches, which cost more to make than a row to write: it is made only
    for the compositor, which seldom asks.
    """

    __slots__ = ("_strip", "cell_length", "segments")

    def __init__(self, segments: Sequence[Segment], cell_length: int) -> None:
        self.segments = segments
        self.cell_length = cell_length
        self._strip: Strip | None = None

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @property
    def strip(self) -> Strip:
        """The same for the compositor."""
        if self._strip is None:
            self._strip = Strip(self.segments, self.cell_length)
        return self._strip

    def render(self, console: Console) -> str:
        """The row with the sequences of all its styles."""
        return self.strip.render(console)

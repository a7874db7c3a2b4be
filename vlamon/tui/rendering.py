"""How this terminal is drawn on: the palette and the characters that all widgets share."""

from __future__ import annotations

from dataclasses import dataclass

from vlamon.charts.glyphs import ASCII, UNICODE, Glyphs
from vlamon.tui.themes import Palette


@dataclass(slots=True)
class Rendering:
    """One object for the whole application: a new palette is seen by every widget."""

    palette: Palette
    """Colours by role; replaced when another theme is chosen."""
    ascii_only: bool = False
    """Whether everything is drawn in ASCII."""

    @property
    def glyphs(self) -> Glyphs:
        """The characters to draw with."""
        return ASCII if self.ascii_only else UNICODE

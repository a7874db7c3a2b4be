"""Widgets that keep their own strips: Textual's cache of styled lines is passed by.

That cache works out borders, padding and backgrounds anew for every widget of every frame, a third
of a frame's time here, for widgets that have none of them and whose strips are complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from vlamon.tui.direct import DirectRows

if TYPE_CHECKING:
    # A mixin to the checker's eyes as well, so that `render_lines` has its super class.
    _Base = Widget
else:
    _Base = object


class KeptLines(_Base):
    """Mixin, before Widget in the bases, for `render_line`s that give whole, styled rows."""

    def refresh_rows(self, rows: Sequence[int]) -> None:
        """Have rows painted again, on the short way where the screen offers one."""
        screen = self.screen if self.is_attached else None
        if isinstance(screen, DirectRows):
            screen.mark_rows(self, rows)
        else:
            self.refresh(*(Region(0, row, self.size.width, 1) for row in rows))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Give the rows of a region as `render_line` keeps them.

        Between a resize and the next drawing they have the width of before: they are cut to what
        the widget has now, because a longer one would run over its neighbours.
        """
        width = self.size.width
        strips = [
            strip if strip.cell_length == width else strip.adjust_cell_length(width)
            for strip in map(self.render_line, range(crop.y, crop.bottom))
        ]
        for line_filter in self.get_line_filters():
            # A theme of ANSI colours means the terminal's own sixteen, not Textual's idea of them.
            if not isinstance(line_filter, ANSIToTruecolor):
                background = self.background_colors[1]
                strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.x > 0 or crop.width < width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

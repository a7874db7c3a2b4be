"""Two lines under the status line for what broke, until somebody acknowledges it."""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.charts.rows import Row
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.headline import headline
from vlamon.tui.widgets.row_panel import RowPanel


class HeadlinePanel(RowPanel):
    """The newest break of the run."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the headline's lines."""
        if frame.broken is None:
            return []
        return headline(frame.broken, frame.deadline, width, frame.glyphs)

"""From a changed row to the terminal without a detour.

`Widget.refresh` sends three messages through two queues and waits for a 60 Hz timer: for a dozen
widgets that is half of a frame's processor time and up to 16 ms of lag. A screen whose widgets say
which rows changed can hand these to the compositor in the same turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.geometry import Region
from textual.widget import Widget

if TYPE_CHECKING:
    from textual.screen import Screen

    _Base = Screen[None]
else:
    _Base = object


class DirectRows(_Base):
    """Mixin, before Screen in the bases, that collects changed rows and shows them together."""

    _marked: dict[Widget, set[int]] | None = None

    def mark_rows(self, widget: Widget, rows: Iterable[int]) -> None:
        """Show these rows of a widget as soon as whatever runs now has ended."""
        if self._marked is None:
            self._marked = {}
            asyncio.get_running_loop().call_soon(self._show_marked)
        self._marked.setdefault(widget, set()).update(rows)

    def _show_marked(self) -> None:
        marked, self._marked = self._marked or {}, None
        if not self.is_running:
            return
        waiting = self._layout_required or self._repaint_required or self.app._batch_count
        places = {} if waiting else self._compositor.visible_widgets
        regions = []
        for widget, rows in marked.items():
            if widget not in places:
                # Something else is about to be laid out or painted: go with it.
                width = widget.size.width
                widget.refresh(*(Region(0, row, width, 1) for row in rows))
                continue
            region, clip = places[widget]
            for row in rows:
                shown = clip.intersection(Region(region.x, region.y + row, region.width, 1))
                if shown:
                    regions.append(shown)
        if regions:
            self._compositor._dirty_regions.update(regions)
            self._compositor_refresh()

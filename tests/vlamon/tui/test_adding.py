"""A panel is a file and a line of a table, a key a method and a line: each shown by adding one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.vlamon.tui.driving import page, running
from vlamon.charts.rows import Row
from vlamon.tui import panels
from vlamon.tui.bindings import Key
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.navigation import Navigation
from vlamon.tui.notices import Notice
from vlamon.tui.panels import PANELS, PanelKind
from vlamon.tui.screen import MainScreen, bindings
from vlamon.tui.widgets.row_panel import RowPanel, framed


class RowsPanel(RowPanel):
    """What a file of one's own in widgets/ holds."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        body: list[Row] = [((f" {frame.store.rows} rows are held", "foreground"),)]
        return framed((("counted", "title"),), (), body, width, height, frame.glyphs)


async def test_a_panel_is_added_by_a_file_and_a_line(monkeypatch: Any) -> None:
    line = PanelKind("counted", RowsPanel, lower=True)
    monkeypatch.setattr(panels, "PANELS", (*PANELS, line))
    async with running() as (pilot, screen, _):
        for _ in panels.lower_panels():
            await pilot.press("b")
            if screen.placement.lower == "counted":
                break
        assert f"{screen.store.rows} rows are held" in page(pilot)


async def test_a_key_is_added_by_a_line_and_the_method_that_it_names(monkeypatch: Any) -> None:
    def middle(self: Navigation) -> None:
        self._host.say(Notice("the middle of the run"))

    monkeypatch.setattr(Navigation, "go_to_middle", middle, raising=False)
    line = Key("H", "H", "navigation.go_to_middle", "middle", "Go to the middle.", "Move")
    made = bindings((line,))
    async with running() as (pilot, screen, _):
        assert isinstance(screen, MainScreen)
        screen._bindings.bind("H", made[0].action)
        await pilot.press("H")
        assert "the middle of the run" in page(pilot)

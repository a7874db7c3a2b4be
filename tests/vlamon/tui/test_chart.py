"""The chart as a widget: mouse, focus, size, and how little it repaints."""

from __future__ import annotations

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.screen import Screen

from vlamon.charts.viewport import Viewport
from vlamon.records import BatchBlock, Column
from vlamon.store import RunStore
from vlamon.tui.textual_internals import DirectRows
from vlamon.tui.widgets.chart import Chart

SIZE = (100, 20)


class Charts(DirectRows, Screen[None]):
    AUTO_FOCUS = ""

    def __init__(self, store: RunStore) -> None:
        super().__init__()
        self.store = store
        self.viewport = Viewport()
        self.moves = 0

    def compose(self) -> ComposeResult:
        yield Chart(["closs"], "closs", viewport=self.viewport, id="closs")
        yield Chart(["loss_ct"], "loss_ct", viewport=self.viewport, id="loss_ct")

    def on_chart_stale(self, message: Chart.Stale) -> None:
        message.chart.refresh_from(self.store)

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        self.viewport.set_cursor(message.position)
        self.on_chart_moved()

    def on_chart_moved(self) -> None:
        self.moves += 1
        self.draw()

    def draw(self) -> list[bool]:
        return [chart.refresh_from(self.store) for chart in self.query(Chart)]


class Painter(App[None]):
    def __init__(self, store: RunStore) -> None:
        super().__init__()
        self.store = store
        self.charts = Charts(store)

    def get_default_screen(self) -> Screen[None]:
        return self.charts


def run(rows: int = 1000) -> RunStore:
    store = RunStore()
    add(store, rows)
    return store


def add(store: RunStore, rows: int) -> None:
    first = store.rows
    steps = np.arange(first, first + rows)
    closs = 8.5 + 4 * np.exp(-steps / 100) + 0.1 * (steps % 7)
    columns = {"closs": Column(closs), "loss_ct": Column(closs / 60)}
    store.apply(BatchBlock(first, 0, steps, steps / 100, 1.7e9 + steps, columns))


def shown(app: Painter, name: str) -> list[str]:
    chart = app.charts.query_one(f"#{name}", Chart)
    return [chart.render_line(y).text for y in range(chart.size.height)]


async def test_charts_draw_themselves_once_they_have_a_size() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert shown(app, "closs")[0].startswith("╭ closs  8.80 ")
        assert any("⠀" < char <= "⣿" for char in "".join(shown(app, "loss_ct")))


async def test_nothing_new_draws_nothing() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert app.charts.draw() == [False, False]
        add(app.store, 1)
        assert app.charts.draw() == [True, True]


async def test_a_new_batch_repaints_a_few_rows_of_each_chart() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        painted: list[Region] = []
        compositor = app.charts._compositor
        original = compositor.render_partial_update

        def spy() -> object:
            painted.extend(compositor._dirty_regions)
            return original()

        compositor.render_partial_update = spy  # type: ignore[method-assign, assignment]
        add(app.store, 1)
        app.charts.draw()
        await pilot.pause()
        assert painted
        assert all(region.height == 1 for region in painted)
        assert len(painted) <= 6


async def test_unchanged_rows_keep_their_strip() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.charts.query_one("#closs", Chart)
        before = [chart.render_line(y) for y in range(chart.size.height)]
        add(app.store, 1)
        app.charts.draw()
        after = [chart.render_line(y) for y in range(chart.size.height)]
        same = sum(one is other for one, other in zip(before, after, strict=True))
        assert same >= chart.size.height - 3


async def test_a_click_puts_the_cursor_into_every_chart() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.click("#closs", offset=(27, 5))
        await pilot.pause()
        chart = app.charts.query_one("#closs", Chart)
        assert chart.shown is not None
        assert app.charts.viewport.view.cursor == chart.shown.start + 40 * chart.shown.bin
        for name in ("closs", "loss_ct"):
            assert all(line[27] in "│┈" or "⠀" < line[27] <= "⣿" for line in shown(app, name)[1:-1])


async def test_the_wheel_zooms_about_the_mouse_and_a_drag_pans() -> None:
    app = Painter(run(100_000))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.charts.query_one("#closs", Chart)
        assert chart.shown is not None
        before = chart.shown
        pointed = chart.position_at(20)
        assert pointed is not None
        for _ in range(3):
            await pilot._post_mouse_events([_scroll_up()], "#closs", offset=(20, 5))
        await pilot.pause()
        assert before.bin / 8 <= chart.shown.bin < before.bin / 4
        assert chart.shown.column(pointed) is not None
        start = chart.shown.start
        await pilot.mouse_down("#closs", offset=(30, 5))
        await pilot.hover("#closs", offset=(20, 5))
        await pilot.mouse_up("#closs", offset=(20, 5))
        await pilot.pause()
        assert chart.shown.start == start + 20 * chart.shown.bin
        assert app.charts.viewport.view.cursor is None


def _scroll_up() -> type:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_clicks_beside_the_plot_do_nothing() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.click("#closs", offset=(2, 5))
        await pilot.pause()
        assert app.charts.moves == 0


async def test_another_size_is_another_picture() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.resize_terminal(60, 12)
        await pilot.pause()
        lines = shown(app, "closs")
        assert len(lines) == 6
        assert {len(line) for line in lines} == {60}
        assert lines[-1].startswith("╰")


@pytest.mark.parametrize("size", [(60, 12), (140, 30)])
async def test_a_picture_of_another_size_is_cut_to_what_the_chart_has_now(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        monkeypatch.setattr(Charts, "on_chart_stale", lambda *_: None)  # it is not drawn yet
        await pilot.resize_terminal(*size)
        await pilot.pause()
        for chart in app.charts.query(Chart):
            width, height = chart.size
            assert width == size[0]
            for strip in chart.render_lines(Region(0, 0, width, height)):
                assert strip.cell_length == width
                assert sum(segment.cell_length for segment in strip) == width


async def test_the_focused_chart_has_another_frame() -> None:
    app = Painter(run())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.charts.query_one("#closs", Chart)
        before = chart.render_line(0)
        chart.focus()
        await pilot.pause()
        assert chart.render_line(0) != before
        assert chart.render_line(0).text == before.text

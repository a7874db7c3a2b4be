"""Where room is short nothing is cut without a sign, and what is cut can still be told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.events import MouseScrollUp
from textual.widgets import Input

from tests.vlamon.tui.driving import lines, page, running, status_text, until
from tests.vlamon.tui.fake_feed import block, fed, info
from vlamon.charts.rows import cells, cut, shorten_names, text_of
from vlamon.charts.viewport import Extent, Viewport, window
from vlamon.commands.present import mode_for
from vlamon.records import EpochRow, Link
from vlamon.tui.widgets.chart import Chart

LAYERS = tuple(f"some_layer.{n}.attention.weight.grad_norm" for n in range(12))


@pytest.mark.parametrize("width", [16, 24, 38, 60])
def test_names_that_differ_in_their_middle_stay_different(width: int) -> None:
    short = shorten_names((*LAYERS, "closs"), width)
    assert len(set(short.values())) == len(short)
    assert all(len(text) <= width for text in short.values())
    assert short["closs"] == "closs"


def test_a_row_that_is_cut_says_so_and_blanks_are_no_loss() -> None:
    row = (("abc", "closs"), ("defgh", "muted"))
    assert text_of(cut(row, 6)) == "abcde…"
    assert text_of(cut(row, 8)) == "abcdefgh"
    assert text_of(cut((*row, ("   ", "")), 8)) == "abcdefgh"
    assert cells(cut((("中文中文", ""),), 4)) <= 4


@pytest.mark.parametrize("key", ["r", "slash", "colon", "t"])
async def test_dialogs_on_a_small_terminal_end_with_a_sign(key: str) -> None:
    async with running(size=(60, 20)) as (pilot, _, _feed):
        await pilot.press(key)
        await until(pilot, lambda: pilot.app.screen.ready)  # type: ignore[attr-defined]
        await until(pilot, lambda: "…" in page(pilot))


async def test_a_list_that_is_longer_than_the_screen_says_how_much_and_scrolls_to_its_end() -> None:
    async with running(size=(60, 9)) as (pilot, screen, _):
        await pilot.press("slash")
        await until(pilot, lambda: " more " in page(pilot))
        names = set()
        for _ in screen.store.metrics:
            names |= {name for name in screen.store.metrics if name in page(pilot)}
            await pilot.press("down")
        assert names == set(screen.store.metrics)
        assert " more " not in "\n".join(lines(pilot)[:8])


@pytest.mark.parametrize("size", [(120, 40), (60, 20)])
@pytest.mark.parametrize("key", ["m", "colon"])
async def test_what_is_typed_stands_inside_the_frame(key: str, size: tuple[int, int]) -> None:
    async with running(size=size) as (pilot, _, _feed):
        await pilot.press(key)
        await until(pilot, lambda: bool(pilot.app.screen.query(Input)))
        await pilot.press(*"hello")
        await until(pilot, lambda: "hello" in page(pilot))
        found = lines(pilot)
        at = next(n for n, line in enumerate(found) if "hello" in line)
        left = found[at].index("hello")
        assert "│" in found[at][max(0, left - 3) : left]
        assert "╰" in found[at + 1]


async def test_a_log_of_epochs_alone_calls_them_so() -> None:
    rows = [EpochRow(n, "train", {"closs": 9.0 - n / 9}, step=None) for n in range(40)]
    async with running(fed(Link("live"), *rows)) as (pilot, screen, _):
        assert "epoch 39" in status_text(screen)
        assert "step" not in status_text(screen)
        await pilot.press("home")
        await until(pilot, lambda: "inspector" in page(pilot))
        assert "epoch 0 ─" in page(pilot)
        await pilot.press("x")
        assert "time since the start" in status_text(screen)


async def test_what_is_awaited_is_said_once() -> None:
    async with running(fed(Link("waiting", "waiting for /tmp/vla.sock: none yet"))) as (pilot, *_):
        assert "  waiting for /tmp/vla.sock" in page(pilot)
        assert "waiting: waiting" not in page(pilot)


@pytest.mark.parametrize("step", [0, 1, 990, 1022, 1023])
def test_zooming_at_the_cursors_cell_keeps_the_cursor_in_view(step: int) -> None:
    viewport, whole = Viewport(), Extent(0.0, 1023.0)
    viewport.set_cursor(float(step))
    for _ in range(6):
        shown = window(viewport.view, whole, 104)
        viewport.zoom(shown, whole, -1, float(step))
        assert window(viewport.view, whole, 104).column(float(step)) is not None


async def test_the_wheel_over_the_cursor_zooms_about_the_cursor() -> None:
    async with running() as (pilot, screen, _):
        await pilot.click(screen.placement.charts[0], offset=(45, 5))
        row = screen.navigation.cursor_row()
        for _ in range(5):
            chart: Chart = screen.placement.charts[0]
            cursor = screen.navigation.viewport.view.cursor
            assert chart.shown is not None
            assert cursor is not None
            column = chart.shown.column(cursor)
            assert column is not None
            await pilot._post_mouse_events(
                [MouseScrollUp], chart, (7 + column // 2, 5), button=0, times=1
            )
            await pilot.pause()
        assert screen.navigation.cursor_row() == row
        assert screen.placement.charts[0].shown is not None
        assert (
            screen.placement.charts[0].shown.column(screen.navigation.viewport.view.cursor or 0.0)
            is not None
        )


@pytest.mark.parametrize(("term", "mode"), [("dumb", "plain"), ("xterm", "screen")])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    term: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert mode_for(plain=False, json=False) == mode
    assert mode_for(plain=True, json=False) == "plain"


async def test_charts_whose_names_differ_in_their_middle_have_titles_that_differ() -> None:
    plain = block(0, 500)
    names = [
        f"activation_norm/language_model.decoder.{part}.attention_output.weight"
        for part in ("query", "key", "value", "output")
    ]
    columns = {**plain.columns, **dict.fromkeys(names, plain.columns["closs"])}
    run = replace(plain, columns=columns)
    feed = fed(Link("live"), info(), run)
    async with running(feed, pinned=tuple(names)) as (_, screen, _feed):
        for chart in screen.placement.charts:
            assert chart.picture.rows
        titles = [text_of(chart.picture.rows[0]) for chart in screen.placement.charts]
        shown = [title for title in titles if title.startswith("╭ acti")]
        assert len(shown) == 4
        assert len({title.split("  ")[0] for title in shown}) == len(shown)

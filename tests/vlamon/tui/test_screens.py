"""The screen as text, at every size and for every panel, compared with files.

`UPDATE_SCREENS=1 python -m pytest tests/vlamon/tui/test_screens.py` rewrites the files; read the
difference before it is committed. Text is compared, not SVG: it is ours, and the same for any patch
version of Textual.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from tests.cells import cells_of
from tests.vlamon.tui.driving import lines, running, until
from tests.vlamon.tui.fake_feed import FrozenDashboard, block, fed, gpu, info, status, whole_run
from vlamon.records import BatchBlock, Column, Link
from vlamon.tui.colour import contrast
from vlamon.tui.options import Options
from vlamon.tui.screen import MainScreen
from vlamon.tui.themes import READABLE, load_themes

FILES = Path(__file__).parent / "screens"
THEMES = sorted(load_themes(user=Path("/nonexistent")).themes)


def same_as(name: str, found: list[str]) -> None:
    path = FILES / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in found) + "\n"
    if os.environ.get("UPDATE_SCREENS"):
        FILES.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def panel(pilot: Pilot[Any], screen: MainScreen, name: str) -> list[str]:
    """The rows of one panel."""
    place = next(place for place in screen.placement.arrangement.places if place.name == name)
    rows = lines(pilot)[place.y : place.y + place.height]
    return [row[place.x : place.x + place.width] for row in rows]


async def comes_to(pilot: Pilot[Any], name: str, found: Callable[[], list[str]]) -> None:
    """The rules look at the run on a thread, and what they find is painted when its turn comes."""
    end = time.monotonic() + 30
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.3)
    while True:
        try:
            return same_as(name, found())
        except AssertionError:
            if time.monotonic() > end:
                raise
            await pilot.pause(0.1)


@pytest.mark.parametrize(
    "size", [(50, 20), (60, 24), (80, 24), (120, 40), (160, 45), (200, 60), (240, 60)]
)
async def test_the_dashboard_at_every_size(size: tuple[int, int]) -> None:
    async with running(size=size) as (pilot, _, _feed):
        await comes_to(pilot, f"whole-{size[0]}x{size[1]}", lambda: lines(pilot))


@pytest.mark.parametrize("panel", ["slots", "inspector", "diagnoses", "snapshots"])
async def test_every_panel_that_takes_the_lower_place(panel: str) -> None:
    async with running(size=(120, 40)) as (pilot, screen, _):
        screen.placement.lower = panel
        screen.repaint()
        await comes_to(pilot, f"panel-{panel}", lambda: lines(pilot)[31:39])


async def test_an_energy_model_beside_the_terms_of_the_total() -> None:
    plain = block(0, 500)
    present = np.arange(500) % 10 == 0
    pulls = {f"pull_{name}": Column(np.full(500, 0.5), present) for name in ("closs", "loss_ct")}
    columns = {**plain.columns, **pulls, "energy": Column(np.full(500, 2.079))}
    run = BatchBlock(
        0, 0, plain.step, plain.epoch, plain.time, columns, {**plain.weights, "energy": 1.0}
    )
    async with running(fed(Link("live"), info(), run)) as (pilot, screen, _):
        await pilot.press("comma")
        same_as("panel-energy", panel(pilot, screen, "contribution"))


async def test_pull_on_the_trunk_beside_the_value_shares() -> None:
    plain = block(0, 500)
    columns = {
        **plain.columns,
        "pull_closs": Column(plain.columns["closs"].values * 0 + 0.46),
        "pull_loss_ct": Column(plain.columns["closs"].values * 0 + 0.54),
        "pull_z_loss": Column(plain.columns["closs"].values * 0 + 0.001),
        "conflict_closs_loss_ct": Column(plain.columns["closs"].values * 0 - 0.31),
    }
    pulled = BatchBlock(0, 0, plain.step, plain.epoch, plain.time, columns, plain.weights)
    async with running(fed(Link("live"), info(), pulled)) as (pilot, screen, _):
        same_as("panel-pull", panel(pilot, screen, "contribution"))


async def test_eight_accelerators_and_what_throttles_them() -> None:
    feed = fed(Link("live"), info(), block(0, 500), gpu(devices=8), status())
    async with running(feed, size=(160, 50)) as (pilot, screen, _):
        same_as("panel-gpu-8", panel(pilot, screen, "gpu"))
    async with running(feed, size=(160, 45)) as (pilot, screen, _):
        same_as("panel-gpu-line", panel(pilot, screen, "gpu-line"))


async def test_ascii_uses_ascii_alone() -> None:
    async with running(ascii=True) as (pilot, _, _feed):
        found = lines(pilot)
        assert all(line.isascii() for line in found), [x for x in found if not x.isascii()]
        same_as("ascii", found)


async def test_the_console_of_linux_gets_signs_that_its_font_has() -> None:
    environ = {"TERM": "linux", "LANG": "C.UTF-8"}
    app = FrozenDashboard(fed(*whole_run()), Options(), environ=environ)  # type: ignore[arg-type]
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "\n".join(lines(pilot)).isascii()


async def test_every_dialog_in_ascii() -> None:
    for key in ("question_mark", "i", "slash", "t", "r", "m", "colon"):
        async with running(ascii=True) as (pilot, _, _feed):
            await pilot.press(key)
            bad = [line for line in lines(pilot) if not line.isascii()]
            assert not bad, (key, bad)


@pytest.mark.parametrize("theme", THEMES)
async def test_every_cell_is_readable_in_every_theme(theme: str) -> None:
    async with running(theme=theme, size=(200, 60)) as (pilot, _, _feed):
        await pilot.press("n", "N")
        rows = cells_of(pilot.app.screen._compositor.render_strips())
        for y, row in enumerate(rows):
            for x, cell in enumerate(row):
                if cell.char.strip():
                    assert contrast(cell.ink, cell.paper) >= READABLE, (x, y, cell)


async def test_the_text_is_the_same_in_every_theme_that_has_tints() -> None:
    seen = set()
    for theme in sorted({*THEMES} - {"sixteen"}):
        async with running(theme=theme) as (pilot, _, _feed):
            seen.add("\n".join(lines(pilot)))
    assert len(seen) == 1


async def test_no_color_means_none() -> None:
    app = FrozenDashboard(
        fed(*whole_run()),  # type: ignore[arg-type]
        Options(),
        environ={"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"},
    )
    assert app.rendering.palette.theme.name == "sixteen"
    assert app.rendering.palette.colourless
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("colon")
        await until(pilot, lambda: bool(app.screen.query("Input")))
        await pilot.pause()
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                style = segment.style
                assert style is not None
                for colour in (style.color, style.bgcolor):
                    assert colour is not None
                    assert colour.is_default, segment
        field = app.screen.query_one("Input")
        y = field.region.y
        assert any(
            segment.style is not None and segment.style.reverse
            for segment in app.screen._compositor.render_strips()[y]
        )

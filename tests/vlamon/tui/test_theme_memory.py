"""A theme that was chosen is there at the next start, and a disk that refuses it costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vlamon.tui.driving import TERMINAL, running, status_text
from tests.vlamon.tui.fake_feed import FrozenDashboard, fed, whole_run
from vlamon.locations import remembered_theme_file
from vlamon.tui.options import Options
from vlamon.tui.theme_memory import remember_theme, remembered_theme


def first_theme(environ: dict[str, str] = TERMINAL, **options: object) -> str:
    app = FrozenDashboard(fed(*whole_run()), Options(**options), environ=environ)  # type: ignore[arg-type]
    return app.rendering.palette.theme.name


async def test_a_chosen_theme_is_there_at_the_next_start() -> None:
    assert first_theme() == "dusk"
    async with running() as (pilot, _, _feed):
        await pilot.press("t", "down", "enter")
        await pilot.pause()
        chosen = pilot.app.rendering.palette.theme.name  # type: ignore[attr-defined]
    assert chosen != "dusk"
    assert first_theme() == chosen


async def test_a_theme_that_was_only_looked_at_is_not() -> None:
    async with running() as (pilot, _, _feed):
        await pilot.press("t", "down", "down", "escape")
        await pilot.pause()
    assert first_theme() == "dusk"
    assert not remembered_theme_file().exists()


def test_the_command_line_goes_before_what_is_remembered() -> None:
    remember_theme("paper")
    assert first_theme() == "paper"
    assert first_theme(theme="contrast") == "contrast"


def test_a_terminal_of_sixteen_colours_is_not_given_what_it_cannot_show() -> None:
    remember_theme("paper")
    assert first_theme({"TERM": "xterm"}) == "sixteen"
    assert first_theme({**TERMINAL, "NO_COLOR": "1"}) == "sixteen"


@pytest.mark.parametrize("kept", [b"a theme that was deleted\n", b"\xff\xfe", b""])
def test_a_name_that_says_nothing_is_passed_over(kept: bytes) -> None:
    remembered_theme_file().parent.mkdir(parents=True)
    remembered_theme_file().write_bytes(kept)
    assert first_theme() == "dusk"


async def test_what_cannot_be_written_is_said_and_the_theme_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    async with running() as (pilot, screen, _):
        await pilot.press("t", "down", "enter")
        await pilot.pause()
        assert pilot.app.rendering.palette.theme.name != "dusk"  # type: ignore[attr-defined]
        assert "for this time only: Not a directory" in status_text(screen)
    assert remembered_theme() == ""

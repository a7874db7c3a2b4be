"""The private names of Textual: in one file alone, and none of them indispensable."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench._terminal import Terminal
from tests.vlamon.tui.driving import page, running, until
from tests.vlamon.tui.fake_feed import block
from vlamon.tui import textual_internals
from vlamon.tui.textual_internals import PRIVATE, Support, support

ROOT = Path(__file__).parents[3]
NAMES = sorted(name for names in PRIVATE.values() for name in names)


def test_the_installed_textual_has_every_name() -> None:
    assert support() == Support()


def test_a_name_that_no_textual_has_is_missed() -> None:
    assert not textual_internals._exists("textual.app:App._no_such_attribute")
    assert not textual_internals._exists("textual._no_such_module:App.x")


@pytest.mark.parametrize("path", sorted((ROOT / "vlamon" / "tui").rglob("*.py")), ids=str)
def test_no_other_file_touches_private_names_of_others(path: Path) -> None:
    if path.name == "textual_internals.py":
        return
    tree = ast.parse(path.read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if "._" in name]
    own = {"self", "cls", "os"}
    foreign = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in own)
    ]
    assert not foreign
    inherited = {"_driver", "_filters", "_compositor", "_check_bindings", "_display"}
    assert not [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in inherited
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_the_dashboard_runs_without_any_of_them(name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(textual_internals, "SUPPORT", support(absent={name}))
    async with running() as (pilot, screen, feed):
        await until(pilot, lambda: "closs" in page(pilot))
        feed.push(block(48_210, 40, attempt=1))
        await until(pilot, lambda: "48,249" in page(pilot))
        await pilot.press("z", "n")
        assert screen.navigation.event_id
        await pilot.press("question_mark")
        await until(pilot, lambda: "Find metrics" in page(pilot))


async def test_a_frame_hands_over_its_changed_rows_alone_unless_a_dialog_lies_over_them(
    monkeypatch: Any,
) -> None:
    async with running() as (pilot, screen, feed):
        shown: list[Any] = []
        monkeypatch.setattr(pilot.app, "_display", lambda _, update: shown.append(update))
        feed.push(block(48_210, 1, attempt=1))
        await until(pilot, lambda: bool(shown))
        rows = [row for update in shown for row in getattr(update, "rows", ())]
        width, height = pilot.app.size
        assert 0 < len(rows) < height
        assert all(x + row.cell_length <= width for x, _, row in rows)
        whole = screen._compositor.render_strips()
        for x, y, row in rows:
            assert whole[y].crop(x, x + row.cell_length).text == row.strip.text
        await pilot.press("question_mark")
        await until(pilot, lambda: "Find metrics" in page(pilot))
        shown.clear()
        feed.push(block(48_211, 1, attempt=1))
        await pilot.pause(0.3)
        assert not [update for update in shown if hasattr(update, "rows")]


WITHOUT = """
import sys
from vlamon.tui import textual_internals
textual_internals.SUPPORT = textual_internals.support(absent=set(sys.argv[1:]))
from tests.vlamon.tui.fake_feed import FrozenDashboard, fed, whole_run
FrozenDashboard(fed(*whole_run())).run()
"""


@pytest.mark.parametrize("shortcut", sorted(PRIVATE))
def test_a_terminal_shows_the_same_without_a_shortcut(shortcut: str) -> None:
    command = [sys.executable, "-c", WITHOUT, *PRIVATE[shortcut]]
    terminal = Terminal(command, columns=120, rows=40, environ={"PYTHONPATH": str(ROOT)})
    try:
        terminal.pump(30, lambda: terminal.shows("explode") and terminal.has_curve())
        assert terminal.has_curve(), terminal.lines()
        terminal.press("?")
        terminal.pump(30, lambda: terminal.shows("Find metrics"))
        assert terminal.shows("Find metrics")
        terminal.press("\x1b")
        terminal.pump(30, lambda: not terminal.shows("Find metrics"))
        assert not terminal.shows("Find metrics")
        terminal.press("q")
        terminal.pump(10, lambda: os.waitpid(terminal.pid, os.WNOHANG)[0] != 0)
    finally:
        terminal.close()

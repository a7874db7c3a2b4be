"""Writing differences leaves the same screen as writing everything."""

from __future__ import annotations

from typing import Any

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from vlamon.tui.cell_diff import ShownCells, color_system
from vlamon.tui.textual_internals import DiffUpdate

WIDTH, HEIGHT = 24, 3
STYLES = [
    Style.parse(text)
    for text in (
        "#ff0000 on #000010",
        "#00ff00 on #000010",
        "bold #ff0000 on #000010",
        "reverse",
        "",
    )
]
CONSOLE = Console(color_system="truecolor", force_terminal=True)

texts = st.text(st.sampled_from("ab ⣿⠁─│▲中"), min_size=0, max_size=WIDTH)
pieces = st.lists(st.tuples(texts, st.sampled_from(STYLES)), min_size=1, max_size=5)
frames = st.lists(
    st.lists(
        st.tuples(st.integers(0, HEIGHT - 1), st.sampled_from((0, 8, 16)), pieces), min_size=1
    ),
    min_size=1,
    max_size=6,
)


def strip(parts: list[tuple[str, Style]], width: int) -> Strip:
    return Strip([Segment(text, style) for text, style in parts]).adjust_cell_length(
        width, STYLES[0]
    )


def chops(changes: list[tuple[int, int, list[tuple[str, Style]]]]) -> ChopsUpdate:
    lines: list[dict[int, Strip | None]] = [{0: None, 8: None, 16: None} for _ in range(HEIGHT)]
    for y, x, parts in changes:
        lines[y][x] = strip(parts, 8)
    spans = sorted({(y, x, x + 8) for y, x, _ in changes})
    return ChopsUpdate(lines, spans, [[8, 16, WIDTH]] * HEIGHT)


def screen_after(output: list[str]) -> list[list[tuple[Any, ...]]]:
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    for text in output:
        stream.feed(text)
    return [
        [
            (c.data, c.fg, c.bg, c.bold, c.reverse)
            for c in (screen.buffer[y][x] for x in range(WIDTH))
        ]
        for y in range(HEIGHT)
    ]


@settings(max_examples=150, deadline=None)
@given(frames)
def test_differences_leave_the_screen_that_a_full_repaint_leaves(
    found: list[list[tuple[int, int, list[tuple[str, Style]]]]],
) -> None:
    shown = ShownCells()
    output: list[str] = []
    whole: dict[tuple[int, int], Strip] = {
        (y, x): strip([(" ", STYLES[0])], 8) for y in range(HEIGHT) for x in (0, 8, 16)
    }
    start = LayoutUpdate(
        [[whole[y, x] for x in (0, 8, 16)] for y in range(HEIGHT)], Region(0, 0, WIDTH, HEIGHT)
    )
    output.append(DiffUpdate(shown, start).render_segments(CONSOLE))
    for changes in found:
        update = chops(changes)
        for y, x, parts in changes:
            whole[y, x] = strip(parts, 8)
        output.append(DiffUpdate(shown, update).render_segments(CONSOLE))
    lines = [[whole[y, x] for x in (0, 8, 16)] for y in range(HEIGHT)]
    fresh = LayoutUpdate(lines, Region(0, 0, WIDTH, HEIGHT))
    expected = DiffUpdate(ShownCells(), fresh).render_segments(CONSOLE)
    assert screen_after(output) == screen_after([expected])


def test_an_unchanged_line_writes_nothing() -> None:
    shown = ShownCells()
    line = [(0, 0, [("closs ⣿⣿", STYLES[0])])]
    DiffUpdate(shown, chops(line)).render_segments(CONSOLE)
    assert DiffUpdate(shown, chops(line)).render_segments(CONSOLE) == ""


def test_one_new_dot_writes_one_cell() -> None:
    shown = ShownCells()
    DiffUpdate(shown, chops([(0, 0, [("⣿⣿⣿     ", STYLES[0])])])).render_segments(CONSOLE)
    output = DiffUpdate(shown, chops([(0, 0, [("⣿⣿⣿⡀    ", STYLES[0])])])).render_segments(CONSOLE)
    assert output.count("⣿") == 0
    assert output.count("⡀") == 1
    assert "\x1b[1;4H" in output


def test_a_line_that_something_else_covered_is_written_again() -> None:
    shown = ShownCells()
    below = strip([("closs 8.5", STYLES[0])], 8)
    lines: list[dict[int, Strip | None]] = [{0: below}]
    update = ChopsUpdate(lines, [(0, 0, 8)], [[8]])
    DiffUpdate(shown, update).render_segments(CONSOLE)
    over = ChopsUpdate([{2: strip([("dialog", STYLES[1])], 4)}], [(0, 2, 6)], [[6]])
    DiffUpdate(shown, over).render_segments(CONSOLE)
    assert "oss" in DiffUpdate(shown, update).render_segments(CONSOLE)


def test_a_full_update_trusts_nothing() -> None:
    shown = ShownCells()
    lines = [[strip([("same", STYLES[0])], 8)]]
    full = LayoutUpdate(lines, Region(0, 0, 8, 1))
    first = DiffUpdate(shown, full).render_segments(CONSOLE)
    assert first
    assert DiffUpdate(shown, full).render_segments(CONSOLE) == first


def test_sixteen_colours_are_kept() -> None:
    console = Console(color_system="standard", force_terminal=True)
    assert color_system(console) == ColorSystem.STANDARD
    red = Style.parse("red on black")
    output = DiffUpdate(ShownCells(), chops([(0, 0, [("x", red)])])).render_segments(console)
    assert "\x1b[31;40m" in output

"""A terminal's cells as a picture: what a person sees, without a terminal and without a browser.

Braille, blocks and box lines are drawn by hand, as good terminals do; all else comes from the font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from vlamon.tui.colour import XTERM

WIDE, HIGH = 9, 18
"""Size of a cell in pixels."""

_NORMAL = list(XTERM.values())
PYTE_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
XTERM_THEME = TerminalTheme((0, 0, 0), (229, 229, 229), _NORMAL[:8], _NORMAL[8:])


@dataclass(frozen=True, slots=True)
class Cell:
    """One character with its colours."""

    char: str
    ink: tuple[int, int, int]
    paper: tuple[int, int, int]
    bold: bool


def cells_of(strips: Sequence[Any]) -> list[list[Cell]]:
    """Return the cells of painted rows, as `Compositor.render_strips` returns them."""
    return [
        [cell for segment in strip for cell in _cells(segment.text, segment.style or Style())]
        for strip in strips
    ]


def _cells(text: str, style: Style) -> list[Cell]:
    ink, paper = _rgb(style.color, True), _rgb(style.bgcolor, False)
    if style.reverse:
        ink, paper = paper, ink
    made = []
    for char in text:
        made.append(Cell(char, ink, paper, bool(style.bold)))
        made += [Cell("", ink, paper, False)] * (cell_len(char) - 1)
    return made


def _rgb(colour: Color | None, ink: bool) -> tuple[int, int, int]:
    if colour is None:
        return (229, 229, 229) if ink else (0, 0, 0)
    found = colour.get_truecolor(XTERM_THEME, foreground=ink)
    return found.red, found.green, found.blue


def cell_of(char: Any) -> Cell:
    """The cell of a character on the screen of pyte, the terminal emulator."""
    ink, paper = _named(char.fg, (229, 229, 229)), _named(char.bg, (0, 0, 0))
    if char.reverse:
        ink, paper = paper, ink
    return Cell(char.data, ink, paper, bool(char.bold))


def _named(colour: str, default: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour as pyte writes it: six hexadecimal digits or a name."""
    if colour == "default":
        return default
    if colour in PYTE_NAMES:
        return _NORMAL[PYTE_NAMES.index(colour)]
    return int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:], 16)


def save_png(rows: Sequence[Sequence[Cell]], path: Path) -> None:
    """Write cells as a picture with a palette, so that it stays small."""
    image_of(rows).quantize(256, method=2).save(path, optimize=True)


def image_of(rows: Sequence[Sequence[Cell]]) -> Any:
    """Cells drawn as a Pillow image."""
    from PIL import Image, ImageDraw

    width = max(len(row) for row in rows)
    image = Image.new("RGB", (width * WIDE, len(rows) * HIGH))
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            left, top = x * WIDE, y * HIGH
            draw.rectangle((left, top, left + WIDE - 1, top + HIGH - 1), fill=cell.paper)
            _draw(draw, cell, left, top)
    return image


def _draw(draw: Any, cell: Cell, left: int, top: int) -> None:
    code = ord(cell.char) if len(cell.char) == 1 else 32
    if 0x2800 <= code <= 0x28FF:
        _braille(draw, code - 0x2800, cell.ink, left, top)
    elif cell.char in "▏▎▍▌▋▊▉█":
        share = "▏▎▍▌▋▊▉█".index(cell.char) + 1
        draw.rectangle((left, top, left + WIDE * share // 8 - 1, top + HIGH - 1), fill=cell.ink)
    elif cell.char in "▁▂▃▄▅▆▇":
        share = "▁▂▃▄▅▆▇".index(cell.char) + 1
        box = (left, top + HIGH - HIGH * share // 8, left + WIDE - 1, top + HIGH - 1)
        draw.rectangle(box, fill=cell.ink)
    elif cell.char == "━":
        middle = top + HIGH // 2
        draw.rectangle((left, middle - 2, left + WIDE - 1, middle + 1), fill=cell.ink)
    elif cell.char in "─│╭╮╰╯":
        _box(draw, cell.char, cell.ink, left, top)
    elif cell.char.strip():
        draw.text((left, top + 1), cell.char, fill=cell.ink, font=_font(cell.bold))


def _braille(draw: Any, bits: int, ink: tuple[int, int, int], left: int, top: int) -> None:
    places = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
    for bit, (column, line) in enumerate(places):
        if bits >> bit & 1:
            x, y = left + 1 + column * 4, top + 1 + line * 4 + line // 2
            draw.rectangle((x, y, x + 2, y + 2), fill=ink)


def _box(draw: Any, char: str, ink: tuple[int, int, int], left: int, top: int) -> None:
    right, bottom = left + WIDE - 1, top + HIGH - 1
    x, y = left + WIDE // 2, top + HIGH // 2
    if char in "─╮╯":
        draw.line((left, y, x, y), fill=ink)
    if char in "─╭╰":
        draw.line((x, y, right, y), fill=ink)
    if char in "│╯╰":
        draw.line((x, top, x, y), fill=ink)
    if char in "│╭╮":
        draw.line((x, y, x, bottom), fill=ink)


@lru_cache
def _font(bold: bool) -> Any:
    from matplotlib import get_data_path
    from PIL import ImageFont

    name = "DejaVuSansMono-Bold.ttf" if bold else "DejaVuSansMono.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), 14)

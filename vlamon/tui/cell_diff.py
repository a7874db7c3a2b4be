"""Only cells that differ are written: small frames keep a screen calm over SSH and in tmux.

Textual repaints a changed region from its widget's left edge. Here each strip of an update is
compared with what the terminal shows already, and only the runs of cells that differ are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

_NEAR = 4
"""Cells that do not differ but lie between two that do and cost less than a cursor movement."""
_PLAIN = Style.null()
_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}


@lru_cache(maxsize=2048)
def _codes(style: Style, system: ColorSystem) -> tuple[str, str, str]:
    """Return a style's SGR codes: attributes, foreground, background."""
    attributes = _sgr(style.without_color.render("x", color_system=system))
    foreground = background = ""
    if style.color is not None:
        foreground = ";".join(style.color.downgrade(system).get_ansi_codes())
    if style.bgcolor is not None:
        codes = style.bgcolor.downgrade(system).get_ansi_codes(foreground=False)
        background = ";".join(codes)
    return attributes, foreground, background


def _sgr(rendered: str) -> str:
    """Return the codes of the sequence that rendered text begins with, empty for none."""
    return rendered[2 : rendered.index("m")] if rendered.startswith("\x1b[") else ""


def color_system(console: Console) -> ColorSystem:
    """Return the colours that a console's terminal has."""
    return _SYSTEMS.get(console.color_system or "", ColorSystem.TRUECOLOR)


class Pen:
    """Writes text in styles and sends of each change of style only what changes."""

    def __init__(self, system: ColorSystem) -> None:
        self.parts: list[str] = []
        self._system = system
        self._now = ("", "", "")

    def move(self, x: int, y: int) -> None:
        self.parts.append(f"\x1b[{y + 1};{x + 1}H")

    def skip(self, cells: int) -> None:
        self.parts.append(f"\x1b[{cells}C" if cells > 1 else "\x1b[C")

    def write(self, text: str, style: Style) -> None:
        wanted = _codes(style, self._system)
        if wanted != self._now:
            self.parts.append(self._change(wanted))
            self._now = wanted
        self.parts.append(text)

    def _change(self, wanted: tuple[str, str, str]) -> str:
        attributes, foreground, background = wanted
        now = self._now
        kept = attributes == now[0] and not (now[1] and not foreground)
        if kept and not (now[2] and not background):
            codes = [
                code for code, old in ((foreground, now[1]), (background, now[2])) if code != old
            ]
        else:
            codes = ["0", *(code for code in wanted if code)]
        return f"\x1b[{';'.join(codes)}m"

    def raw(self, rendered: str) -> None:
        """Write what was rendered elsewhere, which begins and ends without a style."""
        if self._now != ("", "", ""):
            self.parts.append("\x1b[0m")
            self._now = ("", "", "")
        self.parts.append(rendered)

    def end(self) -> str:
        if self._now != ("", "", ""):
            self.parts.append("\x1b[0m")
        return "".join(self.parts)


class StyledPart(Protocol):
    """A row, or a part of one: a `StyledRow` or a `Strip`."""

    @property
    def cell_length(self) -> int: ...
    def __iter__(self) -> Iterator[Segment]: ...
    def render(self, console: Console) -> str: ...


class ShownCells:
    """What the terminal shows, line by line, as far as it was written here."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[list[str], list[Style]]] = {}
        self._written: dict[int, dict[int, StyledPart]] = {}

    def forget(self) -> None:
        """Know nothing any more: what comes next is written whole."""
        self._lines.clear()
        self._written.clear()

    def write_part(self, pen: Pen, x: int, y: int, part: StyledPart, console: Console) -> None:
        """Write the cells of a part of a line that differ from what is shown at its place."""
        parts = self._written.setdefault(y, {})
        old = parts.get(x)
        if old is part:
            return
        end = x + part.cell_length
        for other in [at for at, one in parts.items() if at < end and at + one.cell_length > x]:
            del parts[other]
        parts[x] = part
        chars, styles = self._line(y, end)
        at, segments = _differing(old, part)
        at += x
        cells = _cells(segments)
        if cells is None:
            chars[x:end] = [""] * (end - x)
            pen.move(x, y)
            pen.raw(part.render(console))
            return
        last = at + len(cells[0])
        if chars[at:last] != cells[0] or styles[at:last] != cells[1]:
            self._write_runs(pen, at, y, *cells, chars, styles)
            chars[at:last], styles[at:last] = cells

    def _write_runs(
        self,
        pen: Pen,
        x: int,
        y: int,
        chars: Sequence[str],
        styles: Sequence[Style],
        old_chars: Sequence[str],
        old_styles: Sequence[Style],
    ) -> None:
        at = -1
        run_end = -1
        for n in range(len(chars)):
            if chars[n] == old_chars[x + n] and (
                styles[n] is old_styles[x + n] or styles[n] == old_styles[x + n]
            ):
                continue
            if at < 0:
                pen.move(x + n, y)
                at = n
            elif n - run_end > _NEAR:
                self._write_cells(pen, chars, styles, at, run_end)
                pen.skip(n - run_end)
                at = n
            run_end = n + 1
        if at >= 0:
            self._write_cells(pen, chars, styles, at, run_end)

    @staticmethod
    def _write_cells(
        pen: Pen, chars: Sequence[str], styles: Sequence[Style], start: int, end: int
    ) -> None:
        first = start
        for n in range(start + 1, end + 1):
            if n == end or styles[n] is not styles[first]:
                pen.write("".join(chars[first:n]), styles[first])
                first = n

    def _line(self, y: int, width: int) -> tuple[list[str], list[Style]]:
        line = self._lines.get(y)
        if line is None:
            line = self._lines[y] = ([], [])
        missing = width - len(line[0])
        if missing > 0:
            line[0].extend([""] * missing)
            line[1].extend([_PLAIN] * missing)
        return line


def _differing(old: StyledPart | None, part: StyledPart) -> tuple[int, Sequence[Segment]]:
    """Return the segments of a part without those that the one before it at the same place began
    and ended with, too, and the cells before them."""
    segments = list(part)
    if old is None or old.cell_length != part.cell_length:
        return 0, segments
    before = list(old)
    most = min(len(before), len(segments))
    first, at = 0, 0
    while first < most and _alike(before[first], segments[first]):
        at += _width(segments[first].text)
        first += 1
    last = 0
    while last < most - first and _alike(before[-1 - last], segments[-1 - last]):
        last += 1
    return at, segments[first : len(segments) - last]


def _width(text: str) -> int:
    """Return the cells that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _alike(one: Segment, other: Segment) -> bool:
    return one.text == other.text and one.style is other.style


def _cells(segments: Iterable[Segment]) -> tuple[list[str], list[Style]] | None:
    """Return characters and styles cell by cell; None if some are not one cell wide."""
    texts: list[str] = []
    styles: list[Style] = []
    for segment in segments:
        text, style = segment.text, segment.style or _PLAIN
        if not text.isprintable() or _width(text) != len(text) or style.link:
            return None
        texts.append(text)
        styles += [style] * len(text)
    return list("".join(texts)), styles

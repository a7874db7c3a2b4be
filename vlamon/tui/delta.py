"""Only cells that differ are written: small frames keep a screen calm over SSH and in tmux.

Textual repaints a changed region from its widget's left edge. Here each line of an update is held
against what the terminal shows already, and the runs of cells that differ are all that is sent.
A full update (start, resize, another screen, coming back from a shell) writes everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

if TYPE_CHECKING:
    from rich.console import Console

_NEAR = 4
"""Cells that do not differ but lie between two that do and cost less than a cursor movement."""
_PLAIN = Style.null()


@lru_cache(maxsize=2048)
def _codes(style: Style, system: ColorSystem) -> tuple[str, str, str]:
    """Give a style's SGR codes: attributes, foreground, background."""
    bare = style.without_color
    attributes = bare._make_ansi_codes(system)
    foreground = background = ""
    if style.color is not None:
        foreground = ";".join(style.color.downgrade(system).get_ansi_codes())
    if style.bgcolor is not None:
        codes = style.bgcolor.downgrade(system).get_ansi_codes(foreground=False)
        background = ";".join(codes)
    return attributes, foreground, background


class _Pen:
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


class ShownCells:
    """What the terminal shows, line by line, as far as it was written here."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[list[str], list[Style]]] = {}
        self._strips: dict[int, dict[int, Strip]] = {}

    def forget(self) -> None:
        """Know nothing any more: what comes next is written whole."""
        self._lines.clear()
        self._strips.clear()

    def write_strip(self, pen: _Pen, x: int, y: int, strip: Strip, console: Console) -> None:
        """Write the cells of a strip that differ from what is shown at its place."""
        strips = self._strips.setdefault(y, {})
        if strips.get(x) is strip:
            return
        end = x + strip.cell_length
        for other in [at for at, one in strips.items() if at < end and at + one.cell_length > x]:
            del strips[other]
        strips[x] = strip
        chars, styles = self._line(y, end)
        cells = _cells(strip)
        if cells is None:
            chars[x:end] = [""] * (end - x)
            pen.move(x, y)
            pen.raw(strip.render(console))
        elif chars[x:end] != cells[0] or styles[x:end] != cells[1]:
            self._write_runs(pen, x, y, *cells, chars, styles)
            chars[x:end], styles[x:end] = cells

    def _write_runs(
        self,
        pen: _Pen,
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
        pen: _Pen, chars: Sequence[str], styles: Sequence[Style], start: int, end: int
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


def _cells(strip: Strip) -> tuple[list[str], list[Style]] | None:
    """Give a strip's characters and styles cell by cell; None if some are not one cell wide."""
    texts: list[str] = []
    styles: list[Style] = []
    for segment in strip:
        text, style = segment.text, segment.style or _PLAIN
        if not text.isprintable() or cell_len(text) != len(text) or style.link:
            return None
        texts.append(text)
        styles += [style] * len(text)
    return list("".join(texts)), styles


class _Delta(CompositorUpdate):
    """An update that writes only what differs from what is shown."""

    def __init__(self, shown: ShownCells, update: ChopsUpdate | LayoutUpdate) -> None:
        self._shown = shown
        self._update = update

    def render_segments(self, console: Console) -> str:
        """Give the terminal sequences, and remember what they leave on the screen."""
        pen = _Pen(console._color_system or ColorSystem.TRUECOLOR)
        update = self._update
        if isinstance(update, LayoutUpdate):
            self._shown.forget()
            for y, line in enumerate(update.strips, update.region.y):
                self._write_line(pen, update.region.x, y, line, console)
        else:
            for y, x1, x2 in update.spans:
                ends = update.chop_ends[y]
                for end, (x, strip) in zip(ends, update.chops[y].items(), strict=False):
                    if strip is not None and x < x2 and end > x1:
                        self._shown.write_strip(pen, x, y, strip, console)
        return pen.end()

    def _write_line(
        self, pen: _Pen, x: int, y: int, line: Iterable[Strip | None], console: Console
    ) -> None:
        for strip in line:
            if strip is not None:
                self._shown.write_strip(pen, x, y, strip, console)
                x += strip.cell_length


class DeltaDisplay:
    """Mixin for an App, before it in the bases: its display writes differences only."""

    _shown_cells: ShownCells | None = None

    def _display(self, screen: Any, renderable: Any) -> None:
        """Write an update; Textual calls this for every frame."""
        if isinstance(renderable, (ChopsUpdate, LayoutUpdate)):
            if self._shown_cells is None:
                self._shown_cells = ShownCells()
            renderable = _Delta(self._shown_cells, renderable)
        super()._display(screen, renderable)  # type: ignore[misc]

"""The only file that touches Textual's private names: each has a public fallback.

What the public interface cannot do, or does at several times the cost, is done here on Textual's
insides: writing only the cells that differ, handing changed rows to the compositor without a detour
through two queues and a timer, acting on a key before the next one is read. `SUPPORT` says which of
these the installed Textual allows; it is looked up once, at import. Where one is missing the screen
is slower or plainer; it never freezes and never crashes.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.dom import NoScreen
from textual.filter import ANSIToTruecolor, LineFilter, Monochrome, NoColor
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget

from vlamon.tui.cell_diff import Pen, ShownCells, StyledPart, color_system

if TYPE_CHECKING:
    from rich.console import Console
    from textual.strip import Strip

    from vlamon.tui.styled_row import StyledRow

    _AppBase = App[int]
    _ScreenBase = Screen[None]
    _WidgetBase = Widget
    _UpdateBase = object
else:
    _AppBase = _ScreenBase = _WidgetBase = object


def _class(module: str, name: str) -> type[Any]:
    """Return a class of a private module; one without instances where it is missing."""
    try:
        found: type[Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return type(name, (), {})
    return found


_CHOPS = _class("textual._compositor", "ChopsUpdate")
_LAYOUT = _class("textual._compositor", "LayoutUpdate")
if not TYPE_CHECKING:
    _UpdateBase = _class("textual._compositor", "CompositorUpdate")

PRIVATE: Mapping[str, tuple[str, ...]] = {
    "diff": (
        "textual.app:App._display",
        "textual._compositor:CompositorUpdate.render_segments",
        "textual._compositor:ChopsUpdate.spans",
        "textual._compositor:ChopsUpdate.chops",
        "textual._compositor:ChopsUpdate.chop_ends",
        "textual._compositor:LayoutUpdate.strips",
        "textual._compositor:LayoutUpdate.region",
    ),
    "rows": (
        "textual.app:App._batch_count",
        "textual.screen:Screen._layout_required",
        "textual.screen:Screen._repaint_required",
        "textual.screen:Screen._compositor",
        "textual.screen:Screen._compositor_refresh",
        "textual._compositor:Compositor.visible_widgets",
        "textual._compositor:Compositor._dirty_regions",
    ),
    "keys": ("textual.app:App._check_bindings",),
    "driver": ("textual.app:App._driver",),
    "filters": ("textual.app:App._filters",),
}
"""What each shortcut needs of Textual, as `module:class.attribute`."""


@dataclass(frozen=True, slots=True)
class Support:
    """Which shortcuts the installed Textual allows."""

    diff: bool = True
    """Only cells that differ are written; otherwise Textual's whole regions."""
    rows: bool = True
    """Changed rows reach the terminal in the same turn of the event loop; otherwise on Textual's
    next timer."""
    keys: bool = True
    """A key acts before the next one is read; otherwise letters typed faster than a dialog opens
    may act as keys."""
    driver: bool = True
    """The terminal's title and notifications are written; otherwise not."""
    filters: bool = True
    """NO_COLOR keeps the terminal's own colours; otherwise Textual decides."""


def support(absent: Collection[str] = ()) -> Support:
    """Look up what the installed Textual has, apart from names that are `absent`."""
    return Support(
        **{
            shortcut: all(name not in absent and _exists(name) for name in names)
            for shortcut, names in PRIVATE.items()
        }
    )


def _exists(name: str) -> bool:
    """Say whether a class has an attribute, or sets it in its constructor."""
    module, _, path = name.partition(":")
    kind, _, attribute = path.partition(".")
    owner = _class(module, kind)
    if hasattr(owner, attribute):
        return True
    constructors = (vars(base).get("__init__") for base in owner.__mro__)
    codes = (getattr(made, "__code__", None) for made in constructors)
    return any(attribute in code.co_names for code in codes if code is not None)


SUPPORT = support()


class RowsUpdate(_UpdateBase):
    """Whole rows of widgets, past the compositor: it renders every widget of the screen between the
    first changed row and the last, ten times as many rows as there are to show."""

    def __init__(self, rows: Sequence[tuple[int, int, StyledPart]]) -> None:
        self.rows = rows
        """Column, line and content of each."""


class DiffUpdate(_UpdateBase):
    """Stands in for an update of Textual's and renders only what differs from what is shown."""

    def __init__(self, shown: ShownCells, update: Any) -> None:
        self._shown = shown
        self._update = update

    def render_segments(self, console: Console) -> str:
        """Return the terminal sequences, and remember what they leave on the screen."""
        pen = Pen(color_system(console))
        update = self._update
        if isinstance(update, RowsUpdate):
            for x, y, row in update.rows:
                self._shown.write_part(pen, x, y, row, console)
        elif isinstance(update, _CHOPS):
            for y, x1, x2 in update.spans:
                ends = update.chop_ends[y]
                for end, (x, strip) in zip(ends, update.chops[y].items(), strict=False):
                    if strip is not None and x < x2 and end > x1:
                        self._shown.write_part(pen, x, y, strip, console)
        else:
            # A full update (start, resize, another screen, coming back from a shell).
            self._shown.forget()
            for y, line in enumerate(update.strips, update.region.y):
                x = update.region.x
                for strip in line:
                    self._shown.write_part(pen, x, y, strip, console)
                    x += strip.cell_length
        return pen.end()


class DiffDisplay(_AppBase):
    """Mixin for an App, before it in the bases: its display writes differences only."""

    _shown_cells: ShownCells | None = None

    def _display(self, screen: Any, renderable: Any) -> None:
        """Write an update; Textual calls this for every frame."""
        if SUPPORT.diff and isinstance(renderable, (_CHOPS, _LAYOUT, RowsUpdate)):
            if self._shown_cells is None:
                self._shown_cells = ShownCells()
            renderable = DiffUpdate(self._shown_cells, renderable)
        super()._display(screen, renderable)


class DirectRows(_ScreenBase):
    """Mixin, before Screen in the bases, that collects changed rows and shows them together.

    `Widget.refresh` sends three messages through two queues and waits for a 60 Hz timer: for a
    dozen widgets that is half of a frame's processor time and up to 16 ms of lag.
    """

    _marked: dict[Widget, set[int]] | None = None

    def mark_rows(self, widget: Widget, rows: Iterable[int]) -> None:
        """Show these rows of a widget as soon as whatever runs now has ended."""
        if not SUPPORT.rows:
            _refresh(widget, rows)
            return
        if self._marked is None:
            self._marked = {}
            asyncio.get_running_loop().call_soon(self._show_marked)
        self._marked.setdefault(widget, set()).update(rows)

    def _show_marked(self) -> None:
        marked, self._marked = self._marked or {}, None
        if not self.is_running:
            return
        waiting = self._layout_required or self._repaint_required or self.app._batch_count
        places = {} if waiting else self._compositor.visible_widgets
        regions = []
        if places and SUPPORT.diff and self._shows_rows_alone(places):
            self._show_rows(marked, places)
            return
        for widget, rows in marked.items():
            if widget not in places:
                # Something else is about to be laid out or painted: go with it.
                _refresh(widget, rows)
                continue
            region, clip = places[widget]
            for row in rows:
                shown = clip.intersection(Region(region.x, region.y + row, region.width, 1))
                if shown:
                    regions.append(shown)
        if regions:
            self._compositor._dirty_regions.update(regions)
            self._compositor_refresh()

    def _shows_rows_alone(self, places: Collection[Widget]) -> bool:
        """Say whether nothing lies over this screen's panels, which never overlap, and nothing else
        waits to be painted."""
        return (
            self is self.app.screen
            and isinstance(self.app, DiffDisplay)
            and not self.app.is_inline
            and not self._compositor._dirty_regions
            and all(isinstance(widget, (KeptLines, Screen)) for widget in places)
        )

    def _show_rows(
        self,
        marked: Mapping[Widget, Collection[int]],
        places: Mapping[Widget, tuple[Region, Region]],
    ) -> None:
        """Write rows as their widgets give them."""
        found = []
        for widget, rows in marked.items():
            region, clip = places.get(widget, (Region(), Region()))
            if not isinstance(widget, KeptLines) or not clip.contains_region(region):
                _refresh(widget, rows)
                continue
            inside = [row for row in sorted(rows) if row < region.height]
            parts = widget.kept_rows(inside, region.width)
            found += [
                (region.x, region.y + row, part) for row, part in zip(inside, parts, strict=True)
            ]
        if found:
            self.app._display(self, RowsUpdate(found))  # type: ignore[arg-type]


def _refresh(widget: Widget, rows: Iterable[int]) -> None:
    width = widget.size.width
    widget.refresh(*(Region(0, row, width, 1) for row in rows))


class KeptLines(_WidgetBase):
    """Mixin, before Widget in the bases, for widgets that give whole, styled rows.

    Textual's cache of styled lines works out borders, padding and background again for each widget
    of every frame, a third of a frame's time here, for widgets that have none of them.
    """

    def styled_row(self, y: int) -> StyledRow:
        """Give a row, the same object until it changes."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """Give a row for Textual."""
        return self.styled_row(y).strip

    def refresh_rows(self, rows: Sequence[int]) -> None:
        """Have rows painted again, on the short way where the screen offers one."""
        try:
            screen = self.screen
        except NoScreen:
            return  # it is shown whole when it has one
        if isinstance(screen, DirectRows):
            screen.mark_rows(self, rows)
        else:
            _refresh(self, rows)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the rows of a region, for Textual's compositor."""
        width = self.size.width
        strips = self.kept_lines(range(crop.y, crop.bottom), width)
        if crop.x > 0 or crop.width < width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def kept_lines(self, rows: Sequence[int], width: int) -> list[Strip]:
        """Return rows as `render_line` keeps them.

        Between a resize and the next drawing they have the width of before: they are cut to what
        the widget has now, because a longer one would run over its neighbours.
        """
        strips = [
            strip if strip.cell_length == width else strip.adjust_cell_length(width)
            for strip in map(self.render_line, rows)
        ]
        for line_filter in self._row_filters():
            background = self.background_colors[1]
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        return strips

    def kept_rows(self, rows: Sequence[int], width: int) -> Sequence[StyledPart]:
        """Give rows past the compositor, as `styled_row` keeps them where nothing changes them."""
        found = [self.styled_row(row) for row in rows]
        if self._row_filters() or any(row.cell_length != width for row in found):
            return self.kept_lines(rows, width)
        return found

    def _row_filters(self) -> list[LineFilter]:
        """Give those that apply: a theme of ANSI colours means the terminal's own sixteen, not
        Textual's idea of them."""
        filters = self.get_line_filters()
        return [one for one in filters if not isinstance(one, ANSIToTruecolor)]


async def act_on_key(app: App[Any], key: str) -> bool:
    """Run the action that a key is bound to, now; False where there is none or no way to tell."""
    if not SUPPORT.keys:
        return False
    return await app._check_bindings(key, priority=True) or await app._check_bindings(key)


def write_to_terminal(app: App[Any], sequence: str) -> None:
    """Write a control sequence past the screen; nothing where there is no terminal."""
    driver = app._driver if SUPPORT.driver else None
    if driver is not None and not app.is_headless:
        driver.write(sequence)


def keep_own_colours(app: App[Any], colourless: bool) -> None:
    """Leave every cell the terminal's own colours, or none.

    Textual decides that before it knows the theme, and would turn our sixteen colours into greys,
    which for names of colours without a value are black on black.
    """
    app.no_color = colourless
    if not SUPPORT.filters:
        return
    app._filters = [kept for kept in app._filters if not isinstance(kept, (Monochrome, NoColor))]
    if colourless:
        app._filters.append(NoColor())

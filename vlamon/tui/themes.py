"""Themes: one TOML file each, a colour a role, checked before anything is painted with it.

Shipped ones lie in `themes/`; a user's own in `$XDG_CONFIG_HOME/vlamon/themes` add to them or take
their place by name, and may name only the colours that they change. A wrong file never stops the
dashboard: what is wrong is a list of sentences, the rest is used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlamon.charts.metric_roles import SERIES
from vlamon.locations import shipped_themes_directory, user_themes_directory
from vlamon.tui.colour import contrast, mixed, nearest_of_256, rgb

if TYPE_CHECKING:
    from rich.style import Style
    from textual.theme import Theme as TextualTheme

BACKGROUNDS = ("background", "panel", "selection")
"""Roles that others are written on: the screen, dialogs, the chosen row and the cursor."""

ROLES = (
    "foreground",
    "border",
    "title",
    "muted",
    "accent",
    "key",
    "closs",
    "loss_ct",
    "z_loss",
    "l1",
    "gpu",
    *SERIES,
    "ok",
    "warn",
    "explode",
    "note",
    "guess",
    "checkpoint",
    "rollback",
    "abandoned",
    "cursor",
)
"""Roles that are written; docs/themes.md says where each is used."""

READABLE = 4.5
"""Least contrast of a role against what it is written on (WCAG AA)."""

TINTS = tuple(share / 100 for share in range(22, 5, -2))
"""Shares of a metric's colour in the ground behind its line, which is the band of its values: the
largest one is used on which every role can be read."""
DIMS = tuple(share / 100 for share in range(40, 101, 6))
"""Shares of a metric's colour in its single batches behind a smoothed line: the smallest one is
used that can be read."""

SIXTEEN = "sixteen"
DARK = "dusk"
LIGHT = "paper"


@dataclass(frozen=True, slots=True)
class Theme:
    """A complete set of colours by role."""

    name: str
    """What the user calls it."""
    title: str
    """One line for the picker."""
    dark: bool
    """Whether the background is dark."""
    colours: Mapping[str, str]
    """Every role and background to `#rrggbb` or `ansi_<name>`."""

    @property
    def ansi(self) -> bool:
        """Whether it is made of the terminal's own sixteen colours."""
        return all(colour.startswith("ansi_") for colour in self.colours.values())


@dataclass(frozen=True, slots=True)
class ThemeSet:
    """Every theme that can be chosen, and what was wrong with the files that were read."""

    themes: Mapping[str, Theme]
    """By name, shipped ones first."""
    complaints: tuple[str, ...]
    """One sentence a wrong colour or file, naming file and key."""


def load_themes(shipped: Path | None = None, user: Path | None = None) -> ThemeSet:
    """Read all themes: the shipped ones, then the user's over them."""
    themes: dict[str, Theme] = {}
    complaints: list[str] = []
    for directory in (shipped or shipped_themes_directory(), user or user_themes_directory()):
        for path in sorted(directory.glob("*.toml")) if directory.is_dir() else ():
            theme, found = read_theme(path, themes)
            complaints += found
            if theme is not None:
                themes[theme.name] = theme
    return ThemeSet(themes, tuple(complaints))


def read_theme(path: Path, known: Mapping[str, Theme]) -> tuple[Theme | None, list[str]]:
    """Read one file; colours that it lacks or gets wrong come from a known theme like it."""
    where = path.name
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        return None, [f"{where}: not read: {problem}"]
    complaints: list[str] = []
    name = document.get("name", path.stem)
    if not isinstance(name, str) or not name.isprintable() or not name:
        return None, [f"{where}: name must be a text of one line"]
    dark = document.get("dark", True)
    if not isinstance(dark, bool):
        complaints.append(f"{where}: dark must be true or false; taken as true")
        dark = True
    own, found = _checked_colours(where, document.get("colours", {}))
    complaints += found
    base = _base(known, dark, sixteen=_all_ansi(own))
    missing = [role for role in (*BACKGROUNDS, *ROLES) if role not in own and role not in base]
    if missing:
        return None, [*complaints, f"{where}: no colour for {', '.join(missing)}"]
    theme = Theme(name, str(document.get("title", "")) or where, dark, {**base, **own})
    return theme, complaints + [f"{where}: {text}" for text in hard_to_read(theme)]


def hard_to_read(theme: Theme) -> list[str]:
    """Name every role whose contrast against screen, dialogs or cursor is too small."""
    found = []
    for role in ROLES:
        for ground in BACKGROUNDS:
            ink, paper = rgb(theme.colours[role]), rgb(theme.colours[ground])
            if ink is None or paper is None:
                continue
            ratio = contrast(ink, paper)
            if ratio < READABLE:
                found.append(
                    f"colours.{role} is hard to read on {ground}: "
                    f"contrast {ratio:.1f}, at least {READABLE} is wanted"
                )
    return found


def _all_ansi(colours: Mapping[str, str]) -> bool:
    return bool(colours) and all(colour.startswith("ansi_") for colour in colours.values())


def _base(known: Mapping[str, Theme], dark: bool, sixteen: bool) -> Mapping[str, str]:
    """Return the colours that a partial theme starts from: the shipped one of its kind."""
    base = known.get(SIXTEEN if sixteen else DARK if dark else LIGHT)
    return base.colours if base else {}


def _checked_colours(where: str, table: Any) -> tuple[dict[str, str], list[str]]:
    if not isinstance(table, dict):
        return {}, [f"{where}: colours must be a table of role = colour"]
    good: dict[str, str] = {}
    complaints = []
    for role, colour in table.items():
        if role not in ROLES and role not in BACKGROUNDS:
            complaints.append(f"{where}: colours.{role} is no role that the dashboard has")
        elif not isinstance(colour, str) or rgb(colour) is None:
            complaints.append(
                f"{where}: colours.{role} = {colour!r} is no colour; "
                "write #rrggbb or ansi_<name>, such as ansi_bright_red"
            )
        else:
            good[role] = colour
    return good, complaints


class Palette:
    """A theme ready to paint with: a role's text to a Rich style, made once each."""

    def __init__(self, theme: Theme, colourless: bool = False, *, true_colour: bool = True) -> None:
        self.theme = theme
        self.colourless = colourless
        self.true_colour = true_colour
        """Whether the terminal shows any colour, or the nearest of 256."""
        self.tinted = not (theme.ansi or colourless)
        """Whether there are background colours between those of the theme."""
        self.style = lru_cache(maxsize=512)(self._style)

    def _style(self, role: str) -> Style:
        """Return the style of `role`, of `role attribute …`, or of `role on ground`.

        Attributes are `bold`, `underline`, `reverse`; `chosen` marks the selected row in a way that
        is seen without colours too. `tint:role` is a ground near the background in a role's hue,
        and `dim:role` a fainter ink.
        """
        from rich.style import Style

        words = role.split()
        ground = "background"
        if "on" in words:
            at = words.index("on")
            ground = words[at + 1]
            words = words[:at] + words[at + 2 :]
        name = words.pop(0) if words and _bare(words[0]) in ROLES else "foreground"
        attributes = set(words)
        reverse = "reverse" in attributes
        if "chosen" in attributes:
            if self.theme.ansi or self.colourless:
                reverse = True
            else:
                name, ground = "foreground", "selection"
        elif self.colourless and ground == "selection":
            reverse = True
        loud = name in ("explode", "warn") and (self.theme.ansi or self.colourless)
        faint = self.colourless and name.startswith("dim:")
        return Style(
            color=_rich_colour(self._ink(name)),
            bgcolor=_rich_colour(self._ground(ground)),
            bold="bold" in attributes or loud or None,
            dim=faint or None,
            underline="underline" in attributes or None,
            reverse=reverse or None,
        )

    def _ink(self, name: str) -> str:
        if not name.startswith("dim:"):
            return self.theme.colours[name]
        if self.theme.ansi or self.colourless:
            return self.theme.colours["muted"]
        ink, paper = self.theme.colours[_bare(name)], self.theme.colours["background"]
        faint = (mixed(ink, paper, share) for share in DIMS)
        return next((one for one in faint if readable(one, paper)), ink)

    def _ground(self, name: str) -> str:
        if not name.startswith("tint:"):
            return self.theme.colours[name]
        if not self.tinted:
            return self.theme.colours["background"]
        hue, paper = self.theme.colours[_bare(name)], self.theme.colours["background"]
        grounds = [mixed(hue, paper, share) for share in TINTS]
        if not self.true_colour:
            # The terminal's own choice would be by channel: a dark red for a dark orange.
            grounds = [nearest_of_256(ground) for ground in grounds]
        inks = [self.theme.colours[role] for role in ROLES]
        inks = [ink for ink in inks if readable(ink, paper)]
        fit = (one for one in grounds if all(readable(ink, one) for ink in inks))
        return next(fit, grounds[-1])


def readable(ink: str, paper: str) -> bool:
    """Say whether a colour is readable on another."""
    one, other = rgb(ink), rgb(paper)
    return one is None or other is None or contrast(one, other) >= READABLE


def _bare(name: str) -> str:
    """Return the role behind `tint:role` or `dim:role`."""
    return name.partition(":")[2] or name


def _rich_colour(colour: str) -> str:
    return colour[5:] if colour.startswith("ansi_") else colour


def textual_theme(theme: Theme, colourless: bool = False) -> TextualTheme:
    """Map a theme to one of Textual's, for dialogs, inputs and the palette."""
    from textual.theme import Theme as TextualTheme

    colours = theme.colours
    return TextualTheme(
        name=f"vlamon-{theme.name}",
        primary=colours["accent"],
        secondary=colours["closs"],
        warning=colours["warn"],
        error=colours["explode"],
        success=colours["ok"],
        accent=colours["accent"],
        foreground=colours["foreground"],
        background=colours["background"],
        surface=colours["panel"],
        panel=colours["panel"],
        dark=theme.dark,
        ansi=theme.ansi,
        variables={
            **(_ansi_variables(colours) if theme.ansi else {}),
            **(_COLOURLESS if colourless else {}),
        },
    )


def _ansi_variables(colours: Mapping[str, str]) -> dict[str, str]:
    """Return what Textual's own widgets need to know of a theme without mixed colours."""
    paper, ink = colours["background"], colours["foreground"]
    return {
        "ansi-background": paper,
        "ansi-foreground": ink,
        "border-blurred": paper,
        "block-cursor-foreground": paper,
        "block-cursor-background": ink,
        "input-cursor-background": ink,
        "input-cursor-foreground": paper,
        "input-cursor-text-style": "none",
        "input-selection-background": ink,
        "input-selection-foreground": paper,
        "screen-selection-background": ink,
        "screen-selection-foreground": paper,
    }


_COLOURLESS = {"input-cursor-text-style": "reverse", "block-cursor-text-style": "reverse"}
"""Where Textual's own widgets have no colours, what they point at is reversed."""


def sixteen_colours(environ: Mapping[str, str]) -> bool:
    """Say whether a terminal promises no more than sixteen colours (OpenSSH forwards only TERM)."""
    if true_colours(environ):
        return False
    term = environ.get("TERM", "").strip().lower()
    modern = ("256color", "kitty", "ghostty", "alacritty", "wezterm", "direct")
    return not any(word in term for word in modern)


def true_colours(environ: Mapping[str, str]) -> bool:
    """Say whether a terminal promises more than 256 colours."""
    return environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit")


def no_colours(environ: Mapping[str, str]) -> bool:
    """Say whether the user asked for no colours at all (no-color.org: set and not empty)."""
    return bool(environ.get("NO_COLOR"))

"""The theme picker: every line shows its theme on the real dashboard while one moves over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.rows import Row, shorten
from vlamon.tui.dialogs.choice import Choice, Choosing, Item

if TYPE_CHECKING:
    from vlamon.tui.host import Host


def theme_dialog(host: Host) -> Choice:
    """Offer all themes; what was wrong with the user's own stands below."""
    shell = host.shell
    themes = shell.theme_set.themes

    def items(_: str) -> Sequence[Item]:
        return [
            Item(name, ((f" {name:<12}", "title"), (theme.title, "muted")))
            for name, theme in themes.items()
        ]

    def below() -> Sequence[Row]:
        complaints = shell.theme_set.complaints
        return [((shorten(f" {text}", 80), "warn"),) for text in complaints[:6]]

    choosing = Choosing(
        "theme",
        items,
        "Enter keeps, Esc cancels",
        below=below,
        on_highlight=shell.choose_theme,
    )
    return Choice(host, choosing, at=shell.rendering.palette.theme.name)

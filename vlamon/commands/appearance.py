"""The options that every command which shows a run has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from vlamon.tui.options import Options


def appearance(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --plain, --json and the dashboard's settings, which arrive as one `Options`."""

    @wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        options = Options(
            theme=_known_theme(given.pop("theme")),
            ascii=given.pop("ascii_only"),
            low_bandwidth=given.pop("low_bandwidth"),
            read_only=given.pop("read_only"),
            auto_rollback=given.pop("auto_rollback", False),
            gpu=not given.pop("no_gpu"),
            mouse=not given.pop("no_mouse"),
            title=not given.pop("no_title"),
            notify=not given.pop("no_notify"),
            bell=given.pop("bell"),
            every=given.pop("every"),
        )
        return function(*args, options=options, **given)

    for option in reversed(OPTIONS):
        called = option(called)
    return called


def _known_theme(name: str | None) -> str | None:
    """Refuse a theme that does not exist before the screen is taken over."""
    if name is None:
        return None
    from vlamon.tui.themes import load_themes

    found = load_themes()
    if name not in found.themes:
        said = "".join(f" ({complaint})" for complaint in found.complaints)
        raise click.UsageError(f"no theme {name!r}; there are {', '.join(found.themes)}{said}")
    return name


OPTIONS = (
    click.option("--plain", is_flag=True, help="Lines of text; the default without a terminal."),
    click.option("--json", is_flag=True, help="JSON Lines, see docs/json.md."),
    click.option(
        "--every",
        metavar="SECONDS",
        type=click.FloatRange(min=0.0),
        default=0.0,
        help="Plain lines: at most one batch in so many seconds.",
    ),
    click.option("--theme", metavar="NAME", help="Colours: a shipped theme or one of your own."),
    click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII alone."),
    click.option("--low-bandwidth", is_flag=True, help="For slow links: few colours and frames."),
    click.option("--read-only", is_flag=True, help="Hide everything that gives orders."),
    click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal."),
    click.option("--no-title", is_flag=True, help="Leave the terminal's title alone."),
    click.option("--no-notify", is_flag=True, help="Send no desktop notifications."),
    click.option("--bell", is_flag=True, help="Ring the terminal's bell on alerts."),
    click.option("--no-gpu", is_flag=True, help="Leave the panel of accelerators out."),
)

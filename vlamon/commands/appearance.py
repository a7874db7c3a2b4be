"""The options that every command which shows a run has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import click
from click.core import ParameterSource

from vlamon.commands.assignments import THRESHOLD, actions, keys
from vlamon.safe_text import line
from vlamon.tui.options import Options
from vlamon.user_settings import BY_NAME

PASSED_ON = (
    "theme",
    "ascii",
    "low_bandwidth",
    "read_only",
    "mouse",
    "title",
    "notify",
    "bell",
    "axis",
    "smoothing",
    "panel",
    "pinned",
    "hidden",
    "every",
    "keys",
)
"""Parameters that are fields of `Options` as they are."""


def appearance(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --plain, --json and the dashboard's settings, which arrive as one `Options`."""

    def called(ctx: click.Context, /, *args: Any, **given: Any) -> Any:
        shown = {name: given.pop(name) for name in PASSED_ON}
        shown["theme"] = _known_theme(ctx, shown["theme"])
        options = Options(
            **shown,
            log=given.pop("log_y"),
            gpu=not given.pop("no_gpu"),
            rules=given.pop("thresholds"),
            auto_rollback=given.pop("auto_rollback", False),
        )
        return function(*args, options=options, **given)

    decorated: Callable[..., Any] = update_wrapper(click.pass_context(called), function)
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def _known_theme(ctx: click.Context, name: str | None) -> str | None:
    """Refuse a theme that does not exist before the screen is taken over.

    One that a settings file names gets only a warning: a file never keeps a run from being watched.
    """
    if name is None:
        return None
    from vlamon.tui.themes import load_themes

    found = load_themes()
    if name in found.themes:
        return name
    said = "".join(f" ({complaint})" for complaint in found.complaints)
    sentence = f"no theme {name!r}; there are {', '.join(found.themes)}{said}"
    if ctx.get_parameter_source("theme") is ParameterSource.DEFAULT_MAP:
        click.echo(line(f"vlamon: {sentence} (see `vlamon config`)"), err=True)
        return None
    raise click.UsageError(sentence)


def _themes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Themes that begin like what was typed, for the shell's completion."""
    from vlamon.tui.themes import load_themes

    return [name for name in load_themes().themes if name.startswith(incomplete)]


def switch(name: str, default: bool, help: str) -> Callable[[Callable[..., Any]], Any]:
    """A flag with its opposite, so that the command line overrules a settings file both ways."""
    return click.option(f"--{name}/--no-{name}", default=default, help=help)


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
    click.option(
        "--theme",
        metavar="NAME",
        shell_complete=_themes,
        help="Colours: a shipped theme or one of your own.",
    ),
    click.option(
        "--axis",
        type=click.Choice(["step", "epoch", "time", "since"]),
        default="step",
        help="X axis to start with.",
    ),
    click.option(
        "--smoothing",
        type=click.Choice(["off", "auto", "strong"]),
        default="auto",
        help="Smoothing of the lines to start with.",
    ),
    click.option(
        "--panel",
        type=click.Choice(BY_NAME["panel"].choices),
        default="auto",
        help="Panel below the charts to start with.",
    ),
    click.option("--pin", "pinned", metavar="NAME", multiple=True, help="Show this metric first."),
    click.option("--hide", "hidden", metavar="NAME", multiple=True, help="Hide this metric."),
    THRESHOLD,
    click.option(
        "--key",
        "keys",
        metavar="ACTION=KEY",
        callback=keys,
        shell_complete=actions,
        multiple=True,
        help="Give an action of the dashboard another key, such as quit=Q.",
    ),
    switch("log-y", False, "Start with logarithmic y axes."),
    switch("ascii", False, "Draw with ASCII alone."),
    switch("low-bandwidth", False, "For slow links: few colours and frames."),
    switch("read-only", False, "Hide everything that gives commands."),
    switch("mouse", True, "Ask the terminal for mouse events."),
    switch("title", True, "Write the run's pulse into the terminal's title."),
    switch("notify", True, "Send desktop notifications on alerts."),
    switch("bell", False, "Ring the terminal's bell on alerts."),
    click.option("--no-gpu", is_flag=True, help="Leave the panel of accelerators out."),
)

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
            theme=given.pop("theme"),
            ascii=given.pop("ascii_only"),
            low_bandwidth=given.pop("low_bandwidth"),
            read_only=given.pop("read_only"),
            auto_rollback=given.pop("auto_rollback", False),
            gpu=not given.pop("no_gpu"),
        )
        return function(*args, options=options, **given)

    for option in reversed(OPTIONS):
        called = option(called)
    return called


OPTIONS = (
    click.option("--plain", is_flag=True, help="Lines of text; the default without a terminal."),
    click.option("--json", is_flag=True, help="JSON Lines, see docs/json.md."),
    click.option("--theme", metavar="NAME", help="Colours: a shipped theme or one of your own."),
    click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII alone."),
    click.option("--low-bandwidth", is_flag=True, help="For slow links: few colours and frames."),
    click.option("--read-only", is_flag=True, help="Hide everything that gives orders."),
    click.option("--no-gpu", is_flag=True, help="Leave the panel of accelerators out."),
)

"""`vlamon serve`: the dashboard in a browser, for machines that ssh does not reach."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import click

from vlamon.commands.listen import Address, Listen, is_loopback, listening, netloc
from vlamon.errors import VlamonError
from vlamon.sources import SourceError

VIEWS = ("watch", "tail", "replay")
"""Commands with a dashboard."""


class NoTextualServe(VlamonError):
    """The server is an extra."""


@click.command("serve", context_settings={"ignore_unknown_options": True})
@click.option(
    "--listen",
    type=Address(8484, loopback_only=False),
    default="127.0.0.1:8484",
    show_default=True,
    help="Port 0 takes a free one.",
)
@click.option(
    "--allow-commands",
    is_flag=True,
    help="Let viewers send commands to the training; without it they only watch.",
)
@click.option(
    "--public-url", metavar="URL", default="", help="Address of a proxy in front of the server."
)
@click.option(
    "--viewers",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Dashboards that may be open at once: each is a process.",
)
@click.argument("shown", nargs=-1, type=click.UNPROCESSED, metavar="[watch|tail|replay] [ARGS]...")
def command(
    listen: Listen, allow_commands: bool, public_url: str, viewers: int, shown: tuple[str, ...]
) -> int:
    """Show the dashboard in a browser.

    What stands behind the options is what `vlamon watch`, `tail` or `replay` would be given:

      vlamon serve

      vlamon serve watch --socket /tmp/vla.sock --theme paper

      vlamon serve tail logs/train.txt

    The address that is printed holds a token, which changes with each start.
    """
    argv = dashboard(shown, allow_commands=allow_commands)
    if public_url and urlsplit(public_url).scheme not in ("http", "https"):
        raise click.UsageError(f"--public-url {public_url!r} is not a URL such as https://hub/vla")
    try:
        from vlamon.web.server import ServePlan, run
    except ImportError as error:
        raise NoTextualServe(
            f"vlamon serve needs textual-serve ({error}): pip install 'vlamon[web]'"
        ) from error
    from vlamon.web.access import AccessRules, new_token, own_names

    loopback = is_loopback(listen[0])
    names = frozenset() if loopback else own_names()
    access = AccessRules(new_token(), loopback, public_url, names)
    with listening(listen) as socket:
        host = netloc(listen[0], socket.getsockname()[1])
        may = "viewers may send commands" if allow_commands else "read-only"
        if not loopback:
            may += "; the traffic is not encrypted: anyone who reads it has the token"
        click.echo(f"vlamon: {shlex.join(argv[3:])}: {may}; Ctrl-C ends it.", err=True)
        click.echo(access.page_url(host))
        sys.stdout.flush()
        return run(ServePlan(argv, f"vlamon {shlex.join(shown)}".rstrip(), access, viewers), socket)


def dashboard(shown: tuple[str, ...], *, allow_commands: bool) -> list[str]:
    """The command that shows one dashboard, checked before anything is served."""
    named = bool(shown) and shown[0] in VIEWS
    name, rest = (shown[0], shown[1:]) if named else (_view_of(shown), shown)
    viewed: click.Command = import_module(f"vlamon.commands.{name}").command
    given = viewed.make_context(f"vlamon {name}", list(rest)).params
    for lines in ("plain", "json", "once"):
        if given.get(lines):
            raise click.UsageError(f"--{lines} prints lines, and a browser is shown the dashboard")
    if "-" in (given.get("files") or ()):
        raise click.UsageError("a pipe cannot be served: write the log to a file")
    for journal in given.get("journals") or filter(None, [given.get("journal")]):
        _check_journal(journal)
    if not allow_commands:
        if given.get("auto_rollback") or "--no-read-only" in rest:
            raise click.UsageError("viewers may send commands only with --allow-commands")
        rest = ("--read-only", *rest)
    # -P: a numbers.py in the working directory is none of ours.
    return [sys.executable, "-P", "-m", "vlamon", name, *rest]


def _check_journal(given: str) -> None:
    from vlamon.commands.watch import journal_path, runs_in

    for path in runs_in(given):
        if not Path(path).is_socket():
            journal_path(path)


def _view_of(shown: tuple[str, ...]) -> str:
    """The command for what was named alone: `tail` for a log or a directory of logs."""
    for path in shown:
        if os.path.isfile(path) or os.path.isdir(path):
            try:
                _check_journal(path)
            except SourceError:
                return "tail"
    return "watch"

"""`python -m vlamon.guard replay DIR --rebuild MODULE:FUNCTION`: measure a kept explosion again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from vlamon.guard.checkpoint.writer import DurableError
from vlamon.guard.forensics import Builder, hint, load_kept, reproduce
from vlamon.safe_text import line


@click.group()
def main() -> None:
    """Tools around the guard's files."""


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--rebuild",
    metavar="MODULE:FUNCTION",
    help="Returns (model, probe) for the recorded config. Runs as you, so name only your own code.",
)
@click.option(
    "--import-from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the module is, if it is not installed. The working directory is not searched.",
)
def replay(directory: Path, rebuild: str | None, folder: Path | None) -> None:
    """Reproduce the explosion that DIRECTORY (a run directory) keeps.

    Exit code 0 if the batch explodes again alike, 1 if it does not, 2 if it cannot be loaded.
    """
    try:
        loaded = load_kept(directory)
        if rebuild is None:
            raise DurableError(_which(hint(loaded)))
        rows = reproduce(loaded, _function(rebuild, folder))
    except DurableError as error:
        click.echo(line(str(error)), err=True)
        sys.exit(2)
    meta = loaded.meta
    reason = f"step {meta['step']}, attempt {meta['attempt']}: {meta['reason']}"
    click.echo(line(f"explosion at {reason}"))
    width = max((len(row.metric) for row in rows), default=6)
    click.echo(f"{'metric':<{width}}  {'recorded':>12}  {'measured':>12}")
    for row in rows:
        mark = "" if row.same else "  differs"
        name = line(row.metric)
        click.echo(f"{name:<{width}}  {row.recorded:>12.6g}  {row.measured:>12.6g}{mark}")
    deciding = [row for row in rows if row.metric == meta["metric"]] or rows
    same = bool(deciding) and all(row.same for row in deciding)
    click.echo("reproduced" if same else "not reproduced: the fault was not in weights and batch")
    sys.exit(0 if same else 1)


def _which(named: str) -> str:
    """What to do about a missing `--rebuild`."""
    recorded = f"; its training named {named}" if named else ""
    return (
        "--rebuild MODULE:FUNCTION is needed: a function of yours that returns (model, probe)"
        f"{recorded}"
    )


def _function(place: str, folder: Path | None) -> Builder:
    """The caller's function, from what is installed or from `folder`."""
    if folder is not None:
        sys.path.insert(0, str(folder.resolve()))
    module, _, name = place.partition(":")
    try:
        found: Builder = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DurableError(f"{place} cannot be imported: {error}") from error
    return found


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, which may be the one that is looked at
    main()

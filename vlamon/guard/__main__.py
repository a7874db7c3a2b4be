"""`python -m vlamon.guard replay DIR`: measure a kept explosion again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vlamon.guard.checkpoint.writer import DurableError
from vlamon.guard.forensics import reproduce


@click.group()
def main() -> None:
    """Tools around the guard's files."""


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def replay(directory: Path) -> None:
    """Reproduce the explosion that DIRECTORY (a run directory) keeps.

    Exit code 0 if the batch explodes again alike, 1 if it does not, 2 if it cannot be loaded.
    """
    try:
        meta, rows = reproduce(directory)
    except DurableError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(f"explosion at step {meta['step']}, attempt {meta['attempt']}: {meta['reason']}")
    width = max((len(row.metric) for row in rows), default=6)
    click.echo(f"{'metric':<{width}}  {'recorded':>12}  {'measured':>12}")
    for row in rows:
        mark = "" if row.same else "  differs"
        click.echo(f"{row.metric:<{width}}  {row.recorded:>12.6g}  {row.measured:>12.6g}{mark}")
    deciding = [row for row in rows if row.metric == meta["metric"]] or rows
    same = bool(deciding) and all(row.same for row in deciding)
    click.echo("reproduced" if same else "not reproduced: the fault was not in weights and batch")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()

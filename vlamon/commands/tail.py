"""`vlamon tail FILE…`: watch a training through its log files."""

from __future__ import annotations

import click

from vlamon.commands.appearance import appearance
from vlamon.commands.present import mode_for, present
from vlamon.tui.options import Options


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--once", is_flag=True, help="Read what is there and end; do not follow.")
@click.option("--format", "format_name", metavar="NAME", help="Force a log format.")
@appearance
def command(
    files: tuple[str, ...],
    once: bool,
    format_name: str | None,
    plain: bool,
    json: bool,
    options: Options,
) -> int:
    """Watch a training through its log files; several files are shown as one run.

    A file may not exist yet, may be rotated or truncated; `-` is stdin; gzip is unpacked.
    """
    from vlamon.sources.together import Together, opened

    sources = [opened(path, follow=not once, format_name=format_name) for path in files]
    source = sources[0] if len(sources) == 1 else Together(sources)
    mode = mode_for(plain=plain, json=json)
    return present(source, "plain" if once and mode == "screen" else mode, options)

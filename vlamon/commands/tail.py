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
@click.option(
    "--gpu/--no-gpu",
    default=None,
    help="Sample this machine's GPUs and the process that writes the log (on for a screen).",
)
@appearance
def command(
    files: tuple[str, ...],
    once: bool,
    format_name: str | None,
    gpu: bool | None,
    plain: bool,
    json: bool,
    options: Options,
) -> int:
    """Watch a training through its log files; several files are shown as one run.

    A file may not exist yet, may be rotated or truncated; `-` is stdin; gzip is unpacked.
    """
    from vlamon.sources.together import Together, opened

    mode = mode_for(plain=plain, json=json)
    if once and mode == "screen":
        mode = "plain"
    sources = [
        opened(path, follow=not once, format_name=format_name, newest_first=mode == "screen")
        for path in files
    ]
    source = sources[0] if len(sources) == 1 else Together(sources)
    if gpu or (gpu is None and mode == "screen"):
        from vlamon.sources.beside import Beside

        source = Beside(source, files)
    return present(source, mode, options)

"""`vlamon tail FILE…`: watch a training through its log files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from vlamon.commands.appearance import appearance
from vlamon.commands.baseline import baseline, baseline_source
from vlamon.commands.last_run import remember
from vlamon.commands.present import mode_for, present
from vlamon.safe_text import line
from vlamon.sources import Source
from vlamon.tui.options import Options

if TYPE_CHECKING:
    from vlamon.sources.formats import UnknownLines


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--once", is_flag=True, help="Read what is there and end; do not follow.")
@click.option("--format", "format_name", metavar="NAME", help="Force a log format.")
@click.option("--unknown", is_flag=True, help="At the end, show lines that were not understood.")
@click.option(
    "--gpu",
    is_flag=True,
    help="Sample this machine's GPUs and the log's writer without a screen too.",
)
@baseline
@appearance
def command(
    files: tuple[str, ...],
    once: bool,
    format_name: str | None,
    unknown: bool,
    gpu: bool,
    baseline: str | None,
    plain: bool,
    json: bool,
    options: Options,
) -> int:
    """Watch a training through its log files; several files are shown as one run.

    A directory stands for the logs of the newest run in it, whichever framework wrote them; which
    were taken is said. A file may not exist yet, may be rotated or truncated; `-` is stdin; gzip
    is unpacked.
    """
    from vlamon.sources.alerts import JudgedLog
    from vlamon.sources.multi_file import MergedSource, opened
    from vlamon.sources.runs import each_once, log_files

    mode = mode_for(plain=plain, json=json)
    if once and mode == "screen":
        mode = "plain"
    under = baseline_source(baseline, mode, options.rules)
    found = [(given, log_files(given, follow=not once)) for given in files]
    for given, logs in found:
        if logs.why:
            click.echo(line(f"vlamon: {logs.sentence(given)}"), err=True)
    files = tuple(each_once(path for _, logs in found for path in logs.paths))
    sources = [
        opened(path, follow=not once, format_name=format_name, newest_first=mode == "screen")
        for path in files
    ]
    together = MergedSource(sources)
    source: Source = JudgedLog(sources[0] if len(sources) == 1 else together, options.rules)
    if options.gpu and (gpu or mode == "screen"):
        from vlamon.sources.local_gpu import LocalGpu

        source = LocalGpu(source, files)
    remember("tail", files)
    # Nothing takes commands behind a log: their keys would only be in the way.
    code = present(
        source,
        mode,
        replace(options, read_only=True),
        baseline=under,
        names=(", ".join(files), baseline or ""),
    )
    for problem in together.problems:
        click.echo(line(f"vlamon: left out: {problem.lines[0]}"), err=True)
    for path, log in zip(files, sources, strict=True):
        _tell_unknown(path, log, show=unknown)
    return code


def _tell_unknown(path: str, source: Source, *, show: bool) -> None:
    """Lines that were not understood are counted, and shown where they are asked for."""
    found: UnknownLines | None = getattr(source, "unknown", None)
    if found is None or not found.count:
        return
    hint = "" if show else "; --unknown shows the first of them"
    message = f"vlamon: {path}: lines not understood: {found.count}{hint}"
    click.echo(line(message), err=True)
    for number, sample in found.samples if show else ():
        click.echo(line(f"{path}:{number}: {sample}"), err=True)

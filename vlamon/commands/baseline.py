"""`--baseline`: a second run under the charts of the one that is watched."""

from __future__ import annotations

import os

import click

from vlamon.commands.present import Mode
from vlamon.detect.rules import SpikeRules
from vlamon.sources import Source, SourceError

baseline = click.option(
    "--baseline",
    metavar="RUN",
    type=click.Path(),
    help="A run under every chart, with the difference of the means: journal, logs or socket.",
)


def baseline_source(
    given: str | None, mode: Mode, rules: SpikeRules | None = None
) -> Source | None:
    """Open the run of `--baseline`, None without one."""
    if given is None:
        return None
    if mode != "screen":
        raise click.UsageError("--baseline is drawn under charts, which --plain and --json lack")
    from vlamon.commands.watch import is_socket, source_of
    from vlamon.sources.alerts import JudgedLog
    from vlamon.sources.bytestream import JOURNAL, starts_with
    from vlamon.sources.monitored import Monitored
    from vlamon.sources.multi_file import MergedSource, opened
    from vlamon.sources.runs import run_files

    if is_socket(given):
        return Monitored(source_of(given, None, None), rules)
    paths = run_files(given).paths
    if not all(map(os.path.exists, paths)) or not paths:
        raise SourceError(
            f"{given} is no run: --baseline names a journal, a log or a run's directory"
        )
    if len(paths) == 1 and starts_with(paths[0], JOURNAL):
        return Monitored(source_of(paths[0], None, None), rules)
    logs = [opened(path, follow=True, format_name=None, newest_first=True) for path in paths]
    return JudgedLog(logs[0] if len(logs) == 1 else MergedSource(logs), rules)

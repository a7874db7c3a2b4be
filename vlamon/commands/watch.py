"""`vlamon watch`: a running training, or a journal opened whole."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import click

from vlamon.commands.appearance import appearance
from vlamon.commands.baseline import baseline, baseline_source
from vlamon.commands.last_run import remember
from vlamon.commands.present import Mode, mode_for, present
from vlamon.errors import nearest_file
from vlamon.safe_text import line
from vlamon.sources import Source, SourceError
from vlamon.sources.bytestream import JOURNAL, starts_with
from vlamon.tui.options import Options

MOST_RUNS = 24
"""Newest runs of a directory that are opened: each is held whole, a million batches of five metrics
in some 50 MB."""


@click.command()
@click.argument("journals", nargs=-1, metavar="[JOURNAL]...", type=click.Path())
@click.option(
    "--socket",
    "sockets",
    multiple=True,
    metavar="PATH",
    help="The training's socket; waited for where it is not. Can be repeated.",
)
@click.option(
    "--ssh",
    "hosts",
    multiple=True,
    metavar="HOST:SOCKET",
    help="A socket on another machine, through ssh. Can be repeated.",
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="ID",
    help="The training of a cluster's job, on whatever node. Can be repeated.",
)
@click.option("--auto-rollback", is_flag=True, help="Request a rollback when the loss explodes.")
@baseline
@appearance
def command(
    journals: tuple[str, ...],
    sockets: tuple[str, ...],
    hosts: tuple[str, ...],
    jobs: tuple[str, ...],
    baseline: str | None,
    plain: bool,
    json: bool,
    options: Options,
) -> int:
    """Watch a running training: its whole history at once, then live.

    Without --socket it is looked for in $VLAMON_SOCKET, $XDG_RUNTIME_DIR/vlamon/*.sock and
    /tmp/vla*.sock, and waited for where there is none yet. JOURNAL opens a run.vlaj (or the
    directory it lies in) whole, and follows it while a training writes it. Several runs, whether
    found, named in any way, or in a directory, open as a list; the key R comes back to it.
    """
    runs = [path for given in journals for path in runs_in(given)]
    if options.auto_rollback and options.read_only:
        raise click.UsageError("--auto-rollback gives commands, and --read-only forbids them")
    mode: Mode = mode_for(plain=plain, json=json)
    if mode == "screen" and not (runs or sockets or hosts or jobs or options.auto_rollback):
        sockets = serving_sockets()
    many = len(runs) + len(sockets) + len(hosts) + len(jobs) > 1
    if many and mode != "screen":
        raise click.UsageError("--plain and --json show one run; name one")
    if many and options.auto_rollback:
        raise click.UsageError("--auto-rollback acts on one run; name one")
    if runs and not (sockets or hosts or jobs or any(map(is_socket, runs))):
        options = replace(options, read_only=True)  # nothing takes commands behind a journal
    under = baseline_source(baseline, mode, options.rules)
    from vlamon.sources.monitored import Monitored
    from vlamon.sources.older_rows import NEWEST

    newest = NEWEST if mode == "screen" else 0
    found = [source_of(run, None, None) for run in runs]
    found += [source_of(None, path, None) for path in sockets]
    found += [source_of(None, None, host, newest=newest) for host in hosts]
    found += [source_of(None, None, None, job, newest) for job in jobs]
    found = found or [source_of(None, None, None)]
    source, *others = (Monitored(one, options.rules) for one in found)
    if len(runs) == 1 and not many:
        remember("watch", runs)
    names = [*map(_called, runs), *sockets, *hosts, *jobs]
    if under is not None:
        names = [*(names or [""]), str(baseline)]
    return present(source, mode, options, others, under, names)


def serving_sockets() -> tuple[str, ...]:
    """The sockets of the trainings that serve in the usual places; none where one is named."""
    from vlamon.sources.discovery import serving

    if os.environ.get("VLAMON_SOCKET"):
        return ()
    return tuple(found.path for found in serving())


def runs_in(given: str) -> list[str]:
    """The journals of a directory of runs, newest first; what was named where it is none."""
    if not os.path.isdir(given) or os.path.exists(os.path.join(given, "run.vlaj")):
        return [given]
    found = [entry.path for entry in os.scandir(given) if entry.is_dir()]
    runs = [path for path in found if os.path.exists(os.path.join(path, "run.vlaj"))]
    newest = sorted(runs, key=lambda path: -os.path.getmtime(os.path.join(path, "run.vlaj")))
    if len(newest) > MOST_RUNS:
        click.echo(
            line(f"vlamon: the newest {MOST_RUNS} of {len(newest)} runs in {given}"), err=True
        )
    return newest[:MOST_RUNS] or [given]


def _called(run: str) -> str:
    """How the list calls a run that was named by its journal or its directory."""
    folder, name = os.path.split(os.path.normpath(run))
    return os.path.basename(folder) if name == "run.vlaj" and folder else name


def source_of(
    journal: str | None,
    socket: str | None,
    ssh: str | None,
    job: str | None = None,
    newest: int = 0,
) -> Source:
    """The source that these arguments of `watch` name; from afar the `newest` rows come first."""
    if job is not None:
        from vlamon.sources.jobs import job_source

        return job_source(job, newest)
    if ssh is not None:
        from vlamon.sources.ssh import ssh_source

        host, _, path = ssh.partition(":")
        return ssh_source(host, path or None, newest=newest)
    if journal is not None and not is_socket(journal):
        from vlamon.sources.journal import JournalSource

        return JournalSource(journal_path(journal))
    from vlamon.sources.discovery import AwaitedEndpoint, NoTrainer, chosen_socket
    from vlamon.sources.socket import socket_source
    from vlamon.sources.stream import StreamSource

    try:
        return socket_source(chosen_socket(socket or journal))
    except NoTrainer:
        return StreamSource(AwaitedEndpoint())


def journal_path(given: str) -> str:
    """The journal itself, where a run's directory was named."""
    path = os.path.join(given, "run.vlaj") if os.path.isdir(given) else given
    if not os.path.exists(path) and os.path.isdir(given):
        raise SourceError(
            f"{given} holds no run.vlaj, and no directory with one; logs are opened with "
            f"`vlamon tail {given}`."
        )
    if not os.path.exists(path):
        raise SourceError(
            f"{path} does not exist{nearest_file(path)}; a live training is watched with --socket."
        )
    if os.path.getsize(path) and not starts_with(path, JOURNAL):
        raise SourceError(f"{path} is not a journal; a log is opened with `vlamon tail {path}`.")
    return path


def is_socket(path: str) -> bool:
    """Say whether a path is a socket."""
    # As discovery.is_socket, whose module a journal's first curve need not wait for.
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False

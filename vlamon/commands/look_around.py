"""`vlamon` alone: what is here to be watched, and the command that does it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import socket
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from vlamon.charts.numbers import age
from vlamon.commands.last_run import recall
from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon.protocol.registry import RunEntry

HERE = "In this directory"
MOST = 5
"""Offers of one kind."""
LATELY = 2
"""Runs that are over."""
LOOKED_AT = 300
"""Entries of a directory that are looked at: some hold a million samples."""
SNIFFED = 12
"""Files that are opened to see whether they are logs."""
ENDINGS = (".jsonl", ".log", ".txt", ".out", ".csv")
RUN_LOGS = ("run.vlaj", "log_train.txt", "output.log", "metrics.csv")
"""Files that make a directory a run's."""
RUN_FOLDERS = ("runs", "outputs", "logs", "output", "experiments")
"""Directories whose own directories are runs."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to do."""

    group: str
    """Where it was found."""
    text: str
    """What it is."""
    arguments: tuple[str, ...]
    """What `vlamon` would be called with."""


def look_around(root: click.Group) -> int:
    """List what there is; on a terminal, do what is chosen. Returns the exit code."""
    found = list(offers())
    for shown in listed(found):
        click.echo(line(shown))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return 0
    numbers = [str(number) for number in range(1, len(found) + 1)]
    answer = click.prompt(
        "Number, or q to quit", default="1", type=click.Choice([*numbers, "q"]), show_choices=False
    )
    if answer == "q":
        return 0
    chosen = list(found[int(answer) - 1].arguments)
    code = root.main(chosen, prog_name="vlamon", standalone_mode=False)
    return code if isinstance(code, int) else 0


def listed(found: Sequence[Offer]) -> Iterator[str]:
    """The offers by group, numbered, each with its command."""
    yield "vlamon shows what a training does, and acts on it, from a terminal."
    group = ""
    width = max(len(offer.text) for offer in found)
    for number, offer in enumerate(found, 1):
        if offer.group != group:
            group = offer.group
            yield ""
            yield group
        command = shlex.join(["vlamon", *offer.arguments])
        yield f"  {number}  {line(offer.text):<{width}}  {command}"
    yield ""
    yield "A log elsewhere: vlamon tail FILE. A training of yours: vlamon run -- python train.py"
    yield "All commands: vlamon --help. Problems on this machine: vlamon doctor."


def offers() -> Iterator[Offer]:
    """Trainings that run, logs in this directory, runs that are over, and the demo."""
    from vlamon.sources.known_runs import known_runs

    host, now = socket.gethostname(), time.time()
    found = known_runs()
    yield from _running(found, host, now)
    alive = [entry.journal for entry in found if entry.journal and entry.running(host, now)]
    here = [one for one in _here(os.curdir, now) if not _holds(one.arguments[1], alive)]
    yield from here
    offered = {os.path.abspath(offer.arguments[-1]) for offer in here}
    yield from (one for one in _over(found, host, now) if not _within(one.arguments, offered))
    last = recall()
    if last and not _within(last, offered) and (last[0] != "tail" or _is_log(last[1])):
        yield Offer("Opened last", os.path.basename(last[1].rstrip("/")), tuple(last))
    text = "a small training that explodes and recovers"
    if importlib.util.find_spec("torch") is None:
        text += " (needs torch)"
    yield Offer("To try it", text, ("demo",))


def _running(found: Sequence[RunEntry], host: str, now: float) -> Iterator[Offer]:
    from vlamon.sources.jobs import place_of

    running = [entry for entry in found if entry.running(host, now)]
    for entry in running[:MOST]:
        text = entry.name
        if entry.state and entry.step is not None:
            text += f", {entry.state} at step {entry.step:,}"
        if entry.host != host:
            text += f" on {entry.host}"
        arguments = place_of(entry, host, now).arguments
        if arguments:
            yield Offer("Running", text, ("watch", *arguments))


def _over(found: Sequence[RunEntry], host: str, now: float) -> Iterator[Offer]:
    """The newest runs that are over and whose journals are still there."""
    from vlamon.sources.jobs import place_of

    over = [entry for entry in found if not entry.running(host, now)]
    offers = [
        _offer("Over", entry.name, ("watch", *place.arguments), entry.updated, now)
        for entry in sorted(over, key=lambda entry: entry.updated, reverse=True)
        if (place := place_of(entry, host, now)).arguments
    ]
    yield from offers[:LATELY]


def _here(directory: str, now: float) -> Iterator[Offer]:
    """Runs and logs in a directory, and runs in the directories directly below, newest first."""
    found: list[tuple[float, Offer]] = []
    for place in _places(directory):
        logs = [name for name in RUN_LOGS if os.path.isfile(os.path.join(place, name))]
        if logs:
            journal = logs[0] == "run.vlaj"
            command = ("watch" if journal else "tail", os.path.normpath(place))
            changed = max(_changed(os.path.join(place, name)) for name in logs)
            text = os.path.basename(os.path.abspath(place)) if journal else ", ".join(logs)
            found.append((changed, _offer(HERE, text, command, changed, now)))
    # A run's own directory is one offer; its other logs belong to it.
    named = [] if _is_run(directory) else list(_named_like_logs(directory))
    for path in sorted(named, key=_changed, reverse=True)[:SNIFFED]:
        if _is_log(path):
            name = os.path.normpath(path)
            found.append((_changed(path), _offer(HERE, name, ("tail", name), _changed(path), now)))
    found.sort(key=lambda each: each[0], reverse=True)
    yield from (offer for _, offer in found[:MOST])


def _is_run(directory: str) -> bool:
    return any(os.path.isfile(os.path.join(directory, name)) for name in RUN_LOGS)


def _named_like_logs(directory: str) -> Iterator[str]:
    """Files here, and in the usual directories of logs below, that are no run's own."""
    yield from _entries(directory)
    for place in _entries(directory, folders=True):
        if os.path.basename(place) in RUN_FOLDERS and not _is_run(place):
            yield from _entries(place)


def _holds(place: str, journals: Sequence[str]) -> bool:
    """Whether what is here is a run that is offered as a running one."""
    return any(os.path.dirname(path) == os.path.abspath(place) for path in journals)


def _within(arguments: Sequence[str], offered: Collection[str]) -> bool:
    """Whether a command opens what is offered already, or a file of such a directory."""
    return any(os.path.dirname(path) in offered or path in offered for path in arguments[1:])


def _offer(group: str, text: str, arguments: tuple[str, ...], changed: float, now: float) -> Offer:
    when = age(now - changed)
    return Offer(group, f"{text} ({when if when == 'now' else f'{when} ago'})", arguments)


def _places(directory: str) -> Iterator[str]:
    """The directory, those in it, and those in the usual directories of runs."""
    yield directory
    for place in _entries(directory, folders=True):
        yield place
        if os.path.basename(place) in RUN_FOLDERS:
            yield from _entries(place, folders=True)


def _entries(directory: str, *, folders: bool = False) -> list[str]:
    """Directories, or files that may be logs by their names."""
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry, _ in zip(entries, range(LOOKED_AT), strict=False):
            if entry.name.startswith("."):
                continue
            if entry.is_dir() if folders else entry.name.endswith(ENDINGS) and entry.is_file():
                found.append(entry.path)
    return found


def _is_log(path: str) -> bool:
    from pathlib import Path

    from vlamon.sources.run_directory import recognised

    # The logs of a run's directory are taken as `tail` takes them.
    return os.path.isdir(path) or recognised(Path(path), sure=True) is not None


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0

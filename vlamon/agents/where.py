"""Finds the run that is meant, and where it can be read: live, from its files, or both."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.sources import SourceError
from vlamon.sources.discovery import chosen_socket, is_socket
from vlamon.sources.jobs import RunLocation, place_of, place_of_job
from vlamon.sources.runs import run_files

NAMING = (
    "name a directory, a journal, a log, a socket, HOST:SOCKET, a job, or a run of `vlamon runs`"
)


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """The places of one run."""

    files: tuple[str, ...] = ()
    """Its journal, or its logs; the whole history."""
    socket: str | None = None
    """Where it serves on this machine, if it runs."""
    ssh: str | None = None
    """`HOST:SOCKET`, if it runs on another one."""

    @property
    def live(self) -> bool:
        """Whether the training itself can be asked."""
        return self.socket is not None or self.ssh is not None


def find_run(given: str) -> RunPlaces:
    """The run that is meant; empty for the one that runs. Raises SourceError or NoTrainer."""
    host, now = socket.gethostname(), time.time()
    listed = registry.entries(registry.directory())
    if "\0" in given:
        raise SourceError(f"{given!r} holds a NUL, so it names nothing: {NAMING}.")
    if not given:
        return _of_socket(chosen_socket(None), listed)
    if is_socket(given):
        return _of_socket(given, listed)
    if os.path.exists(given) or "," in given:
        return RunPlaces(files=_regular(run_files(given).paths))
    named = [entry for entry in listed if given in (entry.name, entry.boot)]
    if named:
        named.sort(key=lambda entry: (entry.running(host, now), entry.started), reverse=True)
        return _of_entry(named[0], host, now)
    if re.fullmatch(r"\d+(_\d+)?", given):
        return _of_place(place_of_job(given))
    if re.fullmatch(r"[^/:]+:/.+", given):
        return RunPlaces(ssh=given)
    raise SourceError(f"no run is called {given!r}: {NAMING}.")


def _regular(paths: Sequence[str]) -> tuple[str, ...]:
    """These paths; a device or a pipe would hold an agent's question up for ever."""
    for path in paths:
        if os.path.exists(path) and not os.path.isfile(path):
            raise SourceError(f"{path} is not a regular file: {NAMING}.")
    return tuple(paths)


def _of_socket(path: str, listed: Sequence[RunEntry]) -> RunPlaces:
    same = [entry for entry in listed if entry.socket == path and not entry.ended]
    journal = same[0].journal if same else ""
    return RunPlaces(files=(journal,) if os.path.exists(journal) else (), socket=path)


def _of_entry(entry: RunEntry, host: str, now: float) -> RunPlaces:
    place = _of_place(place_of(entry, host, now))
    files = (entry.journal,) if entry.journal and os.path.exists(entry.journal) else place.files
    if not files and not place.live:
        raise SourceError(f"{entry.name} is over, and its journal {entry.journal or ''} is gone.")
    return RunPlaces(files, place.socket, place.ssh)


def _of_place(place: RunLocation) -> RunPlaces:
    files = (place.journal,) if place.journal else ()
    return RunPlaces(files, place.socket or None, place.ssh or None)

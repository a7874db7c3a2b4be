"""The runs that this machine knows of: those of the list, and trainings that serve here besides."""

from __future__ import annotations

import time
from dataclasses import replace

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.sources import discovery
from vlamon.sources.discovery import ProbedSocket


def known_runs() -> list[RunEntry]:
    """Every run, the newest first; one that answers here with the state and step of now."""
    listed = registry.entries(registry.directory())
    here = {found.path: found for found in discovery.serving() if found.info is not None}
    boots = {entry.boot for entry in listed}
    unlisted = [_entry(found) for found in here.values() if _boot(found) not in boots]
    return [*unlisted, *(_with_status(entry, here.get(entry.socket)) for entry in listed)]


def _boot(found: ProbedSocket) -> str:
    return found.info.boot if found.info is not None else ""


def _with_status(entry: RunEntry, found: ProbedSocket | None) -> RunEntry:
    """The entry with what its training says now: it writes its file once a minute."""
    if found is None or found.status is None or _boot(found) != entry.boot:
        return entry
    status = found.status
    return replace(entry, state=status.state, step=status.step, updated=time.time())


def _entry(found: ProbedSocket) -> RunEntry:
    info, status = found.info, found.status
    assert info is not None
    return RunEntry(
        boot=info.boot,
        name=info.name,
        host=info.host,
        pid=info.pid,
        started=info.started,
        updated=time.time(),
        socket=found.path,
        state="" if status is None else status.state,
        step=None if status is None else status.step,
        total_steps=info.total_steps,
    )

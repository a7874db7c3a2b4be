"""Describes a training to its monitors, and continues the history of its earlier boots."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vlamon import processes
from vlamon.emitter.blocklog import BlockLog, NoteLog
from vlamon.emitter.history import History
from vlamon.emitter.journal_index import JournalIndex
from vlamon.emitter.journal_writer import Journal
from vlamon.protocol.address import BoundSocket
from vlamon.protocol.registry import RunEntry, job_of_environment
from vlamon.protocol.sanitize import text
from vlamon.ranks import Ranks
from vlamon.records import MetricSpec, RunInfo

_ARGV = 4000
"""Characters of the command line in the greeting."""

Folder = str | os.PathLike[str]


def continued(past: JournalIndex, info: RunInfo, attempt: int) -> History:
    """The history that earlier boots left, for this one to go on with."""
    notes = NoteLog()
    for at, message in past.notes:
        if message.get("kind") == "end":
            # A monitor that joins now must not take an earlier boot's end for this one's.
            message = message | {"kind": "note"}
        notes.append(message, at)
    known = {spec.name for spec in info.metrics}
    earlier = tuple(spec for name, spec in past.metrics.items() if name not in known)
    info = replace(info, run_id=past.run_id or info.run_id, metrics=info.metrics + earlier)
    return History(info, BlockLog(past.next_seq), notes, attempt)


def describe(
    boot: str,
    place: str | None,
    run: str,
    run_dir: Folder | None,
    weights: Mapping[str, float],
    ranks: Ranks,
) -> RunInfo:
    """Describe this run, from the arguments and the process."""
    folder = None if run_dir is None else _resolved(Path(run_dir))
    where = str(folder) if folder is not None else place or ""
    name = run or (folder.name if folder is not None else "") or script_name()
    key = f"{socket.gethostname()}\0{where}\0{name}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry, as in many containers
        user = str(os.getuid())
    return RunInfo(
        run_id=hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16],
        name=text(name),
        boot=boot,
        host=socket.gethostname(),
        pid=os.getpid(),
        user=user,
        started=time.time(),
        argv=_argv(),
        world_size=ranks.world_size,
        rank=ranks.rank,
        metrics=tuple(MetricSpec(name, "trained", weight) for name, weight in weights.items()),
    )


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # the working directory was removed; links in a circle
        return path


def entry_of(info: RunInfo, bound: BoundSocket | None, journal: Journal | None) -> RunEntry:
    """The run as the user's list of runs has it."""
    job, array_job = job_of_environment()
    return RunEntry(
        boot=info.boot,
        name=info.name,
        host=info.host,
        pid=info.pid,
        started=info.started,
        socket="" if bound is None else bound.path,
        journal="" if journal is None else os.path.abspath(journal.path),
        job=job,
        array_job=array_job,
        total_steps=info.total_steps,
        birth=processes.birth(info.pid),
    )


def script_name() -> str:
    """The name of a run that was given none: `train` of train.py, `trainer` of -m trainer."""
    script = Path(sys.argv[0] if sys.argv else "")
    stem = script.parent.name if script.stem == "__main__" else script.stem
    return stem if stem not in ("", "-c", "-m", "-") else "training"


def _argv() -> tuple[str, ...]:
    """The command line, as far as a greeting should be long."""
    kept: list[str] = []
    room = _ARGV
    for part in map(text, sys.orig_argv):
        room -= len(part)
        if room < 0:
            return (*kept, "…")
        kept.append(part)
    return tuple(kept)

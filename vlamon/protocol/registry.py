"""The list of a user's runs: a small JSON file a run, in a home that a cluster's nodes share.

`$VLAMON_HOME/runs`, else `runs` in the XDG state directory; an empty `$VLAMON_HOME` keeps no list.
The training writes its own file, so nothing is ever locked; a reader trusts only files of its user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlamon import processes
from vlamon.locations import state_directory

LOST = 180.0
"""Seconds without an update after which a run of another node is not taken to be running."""
REFRESH = 60.0
"""Seconds between two updates of a running training."""
KEEP = 30 * 86400.0
"""Seconds that the file of a run is kept after its last update."""
_MAX_BYTES = 16 << 10
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One boot of a run, as its training describes it."""

    boot: str
    """Names the file."""
    name: str = ""
    """What a person calls the run."""
    host: str = ""
    """Host name of the training process."""
    pid: int = 0
    """Process id of the training process."""
    started: float = 0.0
    """Start, seconds since the epoch."""
    updated: float = 0.0
    """Last update, seconds since the epoch."""
    ended: float = 0.0
    """End, seconds since the epoch; 0 while it runs."""
    socket: str = ""
    """Where it is served; empty where it is not."""
    journal: str = ""
    """Where its journal is; empty where none is kept."""
    job: str = ""
    """The cluster's job."""
    array_job: str = ""
    """`123_4` for a task of an array job."""
    state: str = ""
    """What it does."""
    step: int | None = None
    """Last finished step."""
    total_steps: int | None = None
    """Planned number of steps, where known."""
    birth: int = 0
    """When the process began, by `processes.birth`: its number may be another's by now."""

    def running(self, host: str, now: float) -> bool:
        """Whether it still runs, as far as can be seen from `host`."""
        if self.ended:
            return False
        if self.host == host:
            known = processes.birth(self.pid) if self.birth else 0
            return processes.exists(self.pid) and known in (0, self.birth)
        return now - self.updated < LOST


def directory() -> str | None:
    """Where the files are; None where no list is kept."""
    home = os.environ.get("VLAMON_HOME")
    if home is not None:
        return os.path.join(home, "runs") if os.path.isabs(home) else None
    return os.path.join(state_directory(), "runs")


def job_of_environment(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The job that this process belongs to, and its name as a task of an array."""
    job = next((environ[name] for name in _JOBS if environ.get(name)), "")
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return job, f"{array}_{task}" if job and array and task else ""


def write(entry: RunEntry, place: str) -> None:
    """Put the file in place whole. Raises OSError."""
    os.makedirs(place, mode=0o700, exist_ok=True)
    path = _path(place, entry.boot)
    written = f"{path}.{os.getpid()}"
    data = json.dumps(dataclasses.asdict(entry)).encode("utf-8", "replace")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
        os.replace(written, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(written)
        raise


def entries(place: str | None) -> list[RunEntry]:
    """Every run in the list, the newest first; what is not a run's file of ours is passed over."""
    found = []
    for path in _files(place):
        entry = _read(path)
        if entry is not None:
            found.append(entry)
    return sorted(found, key=lambda entry: entry.started, reverse=True)


def clear(place: str | None, now: float | None = None) -> None:
    """Remove the files of runs that are long over."""
    now = time.time() if now is None else now
    for path in _files(place):
        try:
            if now - os.lstat(path).st_mtime > KEEP:
                os.unlink(path)
        except OSError:
            continue  # another process cleared it


def _files(place: str | None) -> list[str]:
    try:
        names = [] if place is None else os.listdir(place)
    except OSError:
        return []
    return [os.path.join(place or "", name) for name in names if name.endswith(".json")]


def _path(place: str, boot: str) -> str:
    return os.path.join(place, f"{boot}.json")


def _read(path: str) -> RunEntry | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
                return None
            fields = json.loads(os.read(descriptor, _MAX_BYTES))
        finally:
            os.close(descriptor)
        return _entry(fields)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _entry(fields: Any) -> RunEntry | None:
    """The entry in a file, every field checked: another version may have written it."""
    if not isinstance(fields, dict) or not isinstance(fields.get("boot"), str):
        return None
    kept: dict[str, Any] = {}
    for item in dataclasses.fields(RunEntry):
        value = fields.get(item.name)
        kind = type(item.default)
        if item.name in ("step", "total_steps"):
            fits = type(value) is int
        elif kind is float:
            fits = type(value) in (int, float)
        else:
            fits = type(value) is (str if item.name == "boot" else kind)
        if fits:
            kept[item.name] = value
    return RunEntry(**kept)

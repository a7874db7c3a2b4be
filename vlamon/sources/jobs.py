"""The training of a cluster's job: found in the list of runs, else by asking Slurm for its node."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import time
from dataclasses import dataclass

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.sources import Source, SourceError, srun
from vlamon.sources.discovery import NoTrainer
from vlamon.sources.socket import socket_source
from vlamon.sources.ssh import ssh_source
from vlamon.sources.stream import StreamSource

_JOB = re.compile(r"[0-9]+(_[0-9]+)?")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
"""What a host may be called by others: a user's ssh configuration may hand it to a shell (`%h`)."""
_STATES = {"PENDING": "has not started", "CONFIGURING": "is starting", "COMPLETING": "is ending"}
ANSWER = 20.0
"""Seconds for `squeue`: a busy controller takes that long."""


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where a run can be opened: one of the three."""

    socket: str = ""
    """A socket of this machine."""
    ssh: str = ""
    """`HOST:SOCKET` of another one."""
    journal: str = ""
    """A journal that this machine sees."""

    @property
    def arguments(self) -> list[str]:
        """The arguments of `vlamon watch`."""
        if self.socket:
            return ["--socket", self.socket]
        return ["--ssh", self.ssh] if self.ssh else [self.journal] if self.journal else []


def place_of(entry: RunEntry, host: str, now: float) -> RunLocation:
    """Where a run of the list is opened from `host`."""
    if entry.running(host, now) and entry.socket:
        if entry.host == host:
            return RunLocation(socket=entry.socket)
        if _HOST.fullmatch(entry.host):
            return RunLocation(ssh=f"{entry.host}:{entry.socket}")
    there = entry.journal if entry.journal and os.path.exists(entry.journal) else ""
    return RunLocation(journal=there)


def place_of_job(job: str) -> RunLocation:
    """Where the training of a job is opened. Raises SourceError with what is known of the job."""
    if not _JOB.fullmatch(job):
        raise SourceError(
            f"{job!r} is not a job: write 123456, or 123456_7 for a task of an array."
        )
    host, now = socket.gethostname(), time.time()
    listed = [e for e in registry.entries(registry.directory()) if job in (e.job, e.array_job)]
    listed.sort(key=lambda entry: entry.running(host, now), reverse=True)  # then newest first
    for entry in listed:
        place = place_of(entry, host, now)
        if place.arguments:
            return place
    number, node = _ask_slurm(job)
    path = f"/tmp/vla-job{number}.sock"
    if node.partition(".")[0] == host.partition(".")[0]:
        return RunLocation(socket=path)
    return RunLocation(ssh=f"{node}:{path}")


def served_by(job: str, rows: bool = True) -> StreamSource:
    """The live source of a job's training. Raises NoTrainer where it is over."""
    place = place_of_job(job)
    if place.journal:
        raise NoTrainer(
            f"the training of job {job} does not run now: vlamon watch {shlex.quote(place.journal)}"
        )
    return _live(job, place, rows)


def job_source(job: str, newest: int = 0) -> Source:
    """The source of a job's training; from another node the `newest` rows come first."""
    place = place_of_job(job)
    if place.journal:
        from vlamon.sources.journal import JournalSource

        return JournalSource(place.journal)
    return _live(job, place, rows=True, newest=newest)


def _live(job: str, place: RunLocation, rows: bool, newest: int = 0) -> StreamSource:
    if place.socket:
        return socket_source(place.socket, rows)
    host, _, path = place.ssh.partition(":")
    if srun.chosen():
        return srun.srun_source(job, host, path, rows, newest)
    return ssh_source(host, path, rows, newest)


def _ask_slurm(job: str) -> tuple[str, str]:
    """The job's own number and the node of its first task."""
    asked = ["squeue", "--noheader", "--jobs", job, "--format", "%A|%T|%B"]
    try:
        done = subprocess.run(
            asked, capture_output=True, encoding="utf-8", errors="replace", timeout=ANSWER
        )
    except FileNotFoundError:
        raise SourceError(
            f"job {job} is not in the list of runs, and there is no squeue to ask: "
            "use --ssh HOST:SOCKET."
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"squeue did not answer for job {job}: {error}") from error
    lines = [line.split("|") for line in done.stdout.split() if line.count("|") == 2]
    if not lines:
        why = done.stderr.strip().splitlines()[-1:] or ["it is not queued any more"]
        raise SourceError(f"Slurm does not know job {job}: {why[0]}")
    if len(lines) > 1:
        raise SourceError(f"job {job} is an array of {len(lines)} tasks; name one, as {job}_0.")
    number, state, node = lines[0]
    if not _JOB.fullmatch(number) or not (_HOST.fullmatch(node) or state != "RUNNING"):
        raise SourceError(f"squeue's answer for job {job} is none: {lines[0]!r:.200}")
    if state != "RUNNING":
        raise SourceError(f"job {job} {_STATES.get(state, f'is {state.lower()}')}.")
    return number, node

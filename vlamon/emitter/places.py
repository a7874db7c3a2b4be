"""Chooses and claims the places of a run's socket and journal, also where one is taken.

A monitor is a convenience: a place that cannot be had must not end a training. So one beside it is
taken, and the reason is reported on stderr and as an event, unless the script asks to be stopped.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from vlamon.emitter.journal_index import JournalIndex
from vlamon.emitter.journal_writer import Journal
from vlamon.emitter.run_info import script_name
from vlamon.protocol.address import AddressError, BoundSocket
from vlamon.protocol.journal import NAME, JournalError
from vlamon.ranks import Ranks

AUTO = "auto"
"""The path that lets `socket_path` choose."""
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")


@dataclass(frozen=True, slots=True)
class Claimed:
    """Socket and journal as far as they could be claimed."""

    socket: BoundSocket | None
    journal: Journal | None
    problems: tuple[str, ...] = ()
    """Why something is not where it was asked for, one clause each."""

    @property
    def past(self) -> JournalIndex:
        """What earlier boots left in the journal."""
        return JournalIndex() if self.journal is None else self.journal.past


def socket_path(path: str | None, run: str, ranks: Ranks) -> str | None:
    """The path to serve at; None where this rank serves none.

    `auto` is $VLAMON_SOCKET, else a name after the cluster's job, else one after the run in
    $XDG_RUNTIME_DIR/vlamon or /tmp, where monitors look. `{rank}` makes every rank serve; otherwise
    only rank 0 does.
    """
    if path == AUTO:
        path = os.environ.get("VLAMON_SOCKET") or _found_place(run)
    return _of_rank(path, ranks)


def run_directory(run_dir: str | None, path: str | None, ranks: Ranks) -> str | None:
    """The directory of this rank's journal; None where it keeps none."""
    if run_dir is not None and "{rank}" not in run_dir and ranks.rank and "{rank}" in (path or ""):
        return os.path.join(run_dir, f"rank-{ranks.rank}")
    return _of_rank(run_dir, ranks)


def _of_rank(place: str | None, ranks: Ranks) -> str | None:
    if place is None or "{rank}" in place:
        return None if place is None else place.replace("{rank}", str(ranks.rank))
    return None if ranks.rank else place


def _found_place(run: str) -> str:
    for name in _JOBS:
        job = re.sub(r"[^A-Za-z0-9]+", "-", os.environ.get(name, ""))[:40]
        if job:
            return f"/tmp/vla-job{job}.sock"
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", run or script_name())[:60] or "training"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.access(runtime, os.W_OK):
        return os.path.join(runtime, "vlamon", f"{called}.sock")
    return f"/tmp/vla-{os.geteuid()}-{called}.sock"


def claim(place: str | None, run_dir: str | None, share: bool, strict: bool) -> Claimed:
    """Socket and journal. `strict` raises AddressError or JournalError, and claims neither then."""
    problems: list[str] = []
    bound = _claim_socket(place, share, strict, problems)
    try:
        journal = _claim_journal(run_dir, strict, problems)
    except BaseException:
        if bound is not None:
            bound.close()
        raise
    return Claimed(bound, journal, tuple(problems))


def say(text: str) -> None:
    """One line on stderr, as far as there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"vlamon: {text}.", file=sys.stderr, flush=True)


def _claim_socket(
    place: str | None, share: bool, strict: bool, problems: list[str]
) -> BoundSocket | None:
    if place is None:
        return None
    try:
        return _bound(place, share)
    except AddressError as error:
        if strict:
            raise
        first = error
    stem, suffix = os.path.splitext(place)
    try:
        bound = _bound(f"{stem}-{os.getpid()}{suffix}", share)
    except AddressError:
        problems.append(f"{first.reason}: no monitor can connect")
        return None
    problems.append(f"{first.reason}: this training is served at {bound.path}")
    return bound


def _claim_journal(run_dir: str | None, strict: bool, problems: list[str]) -> Journal | None:
    if run_dir is None:
        return None
    try:
        return _journal(Path(run_dir) / NAME)
    except JournalError as error:
        if strict:
            raise
        first = error
    other = Path(run_dir) / f"{Path(NAME).stem}-{os.getpid()}{Path(NAME).suffix}"
    try:
        journal = _journal(other)
    except JournalError:
        problems.append(f"{first.reason}: no journal is kept")
        return None
    problems.append(f"{first.reason}: the journal is {other}")
    return journal


def _bound(path: str, share: bool) -> BoundSocket:
    """A socket there. Raises AddressError, whatever the system refuses on the way."""
    try:
        return BoundSocket(path, share)
    except OSError as error:
        raise AddressError(f"cannot serve {path}: {error.strerror or error}") from error


def _journal(path: Path) -> Journal:
    """A journal there. Raises JournalError likewise."""
    try:
        return Journal(path)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error.strerror or error}") from error

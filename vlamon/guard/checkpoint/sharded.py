"""Every rank writes its own part of a checkpoint; rank 0 puts it in force when all are on disk.

The ranks agree through the directory alone: a part is there when its `.json` is, which gets its
name after both files are synced. No reduction is waited for, so a rank that dies holds up nobody
but rank 0's writer, and that only until nobody has written a byte for a while.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlamon.guard.checkpoint import parts
from vlamon.guard.checkpoint.disk import DurableError, sync_directory, write_bytes, write_tensors
from vlamon.guard.checkpoint.parts import Row, part_name
from vlamon.guard.checkpoint.writer import Durable, Written
from vlamon.guard.state.tree import split, to_json

GRACE = 10.0
"""Seconds without a byte after which a writer gives up when its training has ended."""
POLL = 0.05
"""Seconds between two looks at what the others have written."""


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's share of one checkpoint."""

    rank: int
    ranks: int
    session: str
    """The same on all ranks, and another one for every checkpoint."""
    stall: float
    """Seconds without a byte from any rank after which rank 0 gives up."""


def write_share(
    durable: Durable,
    share: Share,
    step: int,
    state: Any,
    rows: Sequence[Row],
    meta: Mapping[str, Any],
) -> Written | None:
    """Write this rank's part; on rank 0 also wait for the others and put the checkpoint in force.

    `rows` describe the tensors of `state`, in order; `state` must not change until this returns.
    """
    begun = time.monotonic()
    hidden = durable.root / f".writing-{step:09d}-{share.session}"
    durable.owned.add(hidden.name)
    try:
        os.makedirs(hidden, exist_ok=True)
        files = _write_part(hidden, share.rank, step, state, rows, meta)
        if share.rank != 0:
            return None
        files |= _await_others(hidden, share)
        manifest = {"format": parts.FORMAT, "ranks": share.ranks, "files": files}
        return durable.seal(hidden, step, manifest, begun)
    except (OSError, DurableError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        _withdraw(hidden, share.rank, why)
        raise durable.failed(step, why) from error
    except BaseException as error:
        _withdraw(hidden, share.rank, str(error))
        raise
    finally:
        durable.owned.discard(hidden.name)


def _write_part(
    hidden: Path,
    rank: int,
    step: int,
    state: Any,
    rows: Sequence[Row],
    meta: Mapping[str, Any],
) -> dict[str, Any]:
    skeleton, copies = split(state)
    written = [copy for copy, row in zip(copies, rows, strict=True) if row.at is not None]
    name = part_name(rank)
    binary = write_tensors(hidden / f"{name}.bin", written)
    head = {
        "format": parts.FORMAT,
        "step": step,
        "rank": rank,
        "time": time.time(),
        "meta": to_json(dict(meta), "meta"),
        "file": binary,
        "tensors": [row.told() for row in rows],
        "state": to_json(skeleton),
    }
    waiting = hidden / f".{name}.json"
    said = write_bytes(waiting, json.dumps(head).encode())
    os.rename(waiting, hidden / f"{name}.json")
    sync_directory(hidden)
    return {f"{name}.bin": binary, f"{name}.json": said}


def _await_others(hidden: Path, share: Share) -> dict[str, Any]:
    files: dict[str, Any] = {}
    missing = set(range(1, share.ranks))
    size, grown = -1, time.monotonic()
    while True:
        for rank in sorted(missing):
            part = _part(hidden, rank)
            if part:
                files |= part
                missing.discard(rank)
        if not missing:
            return files
        now = time.monotonic()
        if (written := _size(hidden)) != size:
            size, grown = written, now
        alive = threading.main_thread().is_alive()
        patience = share.stall if alive else min(GRACE, share.stall)
        if now - grown > patience:
            who = ", ".join(map(str, sorted(missing)))
            raise DurableError(
                f"nothing came from rank {who} for {patience:g} s; every rank must be alive and "
                "see this directory"
            )
        time.sleep(POLL)


def _part(hidden: Path, rank: int) -> dict[str, Any]:
    """The manifest's entries for a rank's files; empty while they are not all there."""
    name = part_name(rank)
    if (failed := hidden / f"{name}.failed").exists():
        raise DurableError(f"rank {rank}: {failed.read_text()}")
    try:
        text = (hidden / f"{name}.json").read_bytes()
        binary = json.loads(text)["file"]
        if (hidden / f"{name}.bin").stat().st_size != binary["bytes"]:
            return {}
    except FileNotFoundError:
        return {}
    said = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return {f"{name}.bin": binary, f"{name}.json": said}


def _size(hidden: Path) -> int:
    """Bytes that all ranks have written; a file that gets its name just now counts next time."""
    size = 0
    for entry in os.scandir(hidden):
        with contextlib.suppress(FileNotFoundError):
            size += entry.stat().st_size
    return size


def _withdraw(hidden: Path, rank: int, why: str) -> None:
    """Rank 0 takes the whole away; another one its part, and leaves word why."""
    if rank == 0:
        shutil.rmtree(hidden, ignore_errors=True)
        return
    name = part_name(rank)
    for ending in (".bin", ".json"):
        (hidden / f"{name}{ending}").unlink(missing_ok=True)
    (hidden / f".{name}.json").unlink(missing_ok=True)
    try:
        word = hidden / f".{name}.failed"
        write_bytes(word, why.encode())
        os.rename(word, hidden / f"{name}.failed")
    except OSError:
        return  # not even that: rank 0 gives up by its clock

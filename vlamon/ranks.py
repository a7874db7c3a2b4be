"""Finds the rank of this process under any launcher, for the emitter and the guard.

An initialised torch.distributed outranks every variable. Then come torchrun (Accelerate and
DeepSpeed set the same variables), Lightning's own launcher, Open MPI, MVAPICH, PMI, and Slurm last:
an mpirun in a batch script hands the script's own SLURM_PROCID=0 to every rank. torch is looked
at only where the script has imported it already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranks:
    """The place of a process among those of its training."""

    rank: int = 0
    """Number among all processes."""
    world_size: int = 1
    """How many processes there are."""
    local_rank: int = 0
    """Number among the processes of this node."""


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The variables that a launcher sets."""

    rank: tuple[str, ...]
    size: tuple[str, ...]
    local: tuple[str, ...]
    alone: bool = True
    """Whether the variables count where they describe one process: a Slurm job that starts torchrun
    has them, too."""


_LAUNCHERS = (
    _Launcher(("RANK",), ("WORLD_SIZE",), ("LOCAL_RANK",)),
    _Launcher(
        ("OMPI_COMM_WORLD_RANK",), ("OMPI_COMM_WORLD_SIZE",), ("OMPI_COMM_WORLD_LOCAL_RANK",)
    ),
    _Launcher(("MV2_COMM_WORLD_RANK",), ("MV2_COMM_WORLD_SIZE",), ("MV2_COMM_WORLD_LOCAL_RANK",)),
    _Launcher(("PMI_RANK",), ("PMI_SIZE",), ("MPI_LOCALRANKID", "SLURM_LOCALID")),
    _Launcher(
        ("SLURM_PROCID",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), ("SLURM_LOCALID",), alone=False
    ),
)


def ranks(environ: Mapping[str, str] | None = None) -> Ranks:
    """This process's place; rank 0 of 1 where nothing says otherwise."""
    environ = os.environ if environ is None else environ
    found = _of_torch(environ)
    if found is not None:
        return found
    for launcher in _LAUNCHERS:
        rank, size = _first(environ, launcher.rank), _first(environ, launcher.size)
        if rank is None or (not launcher.alone and (size is None or size < 2)):
            if launcher.rank == ("RANK",) and (found := _of_lightning(environ)) is not None:
                return found
            continue
        local = _first(environ, launcher.local)
        return Ranks(rank, max(size or 1, rank + 1), rank if local is None else local)
    return Ranks()


def _of_torch(environ: Mapping[str, str]) -> Ranks | None:
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    try:
        if distributed is None or not distributed.is_available():
            return None
        if not distributed.is_initialized():
            return None
        rank, size = int(distributed.get_rank()), int(distributed.get_world_size())
    except (AttributeError, RuntimeError, ValueError):  # half imported, or taken down meanwhile
        return None
    local = _first(environ, ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"))
    return Ranks(rank, size, rank if local is None else local)


def _of_lightning(environ: Mapping[str, str]) -> Ranks | None:
    """Lightning's launcher sets LOCAL_RANK, NODE_RANK and WORLD_SIZE for its children, not RANK."""
    local, size = _first(environ, ("LOCAL_RANK",)), _first(environ, ("WORLD_SIZE",))
    if local is None or size is None:
        return None
    node = _first(environ, ("NODE_RANK", "GROUP_RANK")) or 0
    on_a_node = _first(environ, ("LOCAL_WORLD_SIZE",)) or max(1, size // (node + 1))
    return Ranks(min(node * on_a_node + local, size - 1) if node else local, size, local)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        try:
            number = int(environ[name])
        except (KeyError, ValueError):
            continue
        if number >= 0:
            return number
    return None

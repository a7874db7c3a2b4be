"""Every launcher's processes know their place."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from vlamon.ranks import Ranks, ranks


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, Ranks()),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Ranks(3, 8, 1)),
        ({"RANK": "x", "WORLD_SIZE": "", "LOCAL_RANK": "-1"}, Ranks()),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, Ranks(1, 2, 1)),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "4", "NODE_RANK": "1"}, Ranks(3, 4, 1)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}, Ranks(1, 2, 1)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}, Ranks(1, 2, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Ranks()),
        ({"SLURM_PROCID": "1"}, Ranks()),
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "RANK": "9", "WORLD_SIZE": "16",
             "LOCAL_RANK": "1"},
            Ranks(9, 16, 1),
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8",
             "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Ranks(5, 8, 1),
        ),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, Ranks(2, 4, 2)),
        ({"PMI_RANK": "6", "PMI_SIZE": "8", "MPI_LOCALRANKID": "2"}, Ranks(6, 8, 2)),
        ({"PMIX_RANK": "6", "PMIX_SIZE": "8"}, Ranks()),
    ],
)  # fmt: skip
def test_a_launcher_is_recognised(environ: dict[str, str], place: Ranks) -> None:
    assert ranks(environ) == place


BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
"""What the script of `sbatch --ntasks=16` has, and hands to all that it starts."""
TORCHRUN = {
    "RANK": "11", "WORLD_SIZE": "16", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8", "GROUP_RANK": "1",
    "ROLE_RANK": "11", "ROLE_WORLD_SIZE": "16", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
STARTED_BY = {
    "torchrun": TORCHRUN,
    "srun torchrun": BATCH | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"} | TORCHRUN,
    "accelerate launch": TORCHRUN | {"ACCELERATE_MIXED_PRECISION": "bf16"},
    "deepspeed": {
        "RANK": "11", "WORLD_SIZE": "16", "LOCAL_RANK": "3", "LOCAL_SIZE": "8", "CROSS_RANK": "1",
        "CROSS_SIZE": "2",
    },
    "mpirun of Open MPI": {
        "OMPI_COMM_WORLD_RANK": "11", "OMPI_COMM_WORLD_SIZE": "16",
        "OMPI_COMM_WORLD_LOCAL_RANK": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
        "OMPI_COMM_WORLD_NODE_RANK": "3", "PMIX_RANK": "11",
    },
    "mpiexec of MPICH": {
        "PMI_RANK": "11", "PMI_SIZE": "16", "MPI_LOCALRANKID": "3", "MPI_LOCALNRANKS": "8",
    },
    "mpirun_rsh of MVAPICH": {
        "MV2_COMM_WORLD_RANK": "11", "MV2_COMM_WORLD_SIZE": "16", "MV2_COMM_WORLD_LOCAL_RANK": "3",
    },
    "srun": BATCH | {"SLURM_PROCID": "11", "SLURM_LOCALID": "3", "SLURM_STEP_NUM_TASKS": "16"},
    "srun --mpi=pmi2": BATCH | {
        "SLURM_PROCID": "11", "SLURM_LOCALID": "3", "SLURM_STEP_NUM_TASKS": "16", "PMI_RANK": "11",
        "PMI_SIZE": "16",
    },
}  # fmt: skip
"""What each gives to rank 11 of 16, the fourth on the second of two nodes."""


@pytest.mark.parametrize("launcher", STARTED_BY)
def test_rank_11_of_16_knows_itself_under_each_launcher(launcher: str) -> None:
    assert ranks(STARTED_BY[launcher]) == Ranks(11, 16, 3)


@pytest.mark.parametrize("launcher", [name for name in STARTED_BY if "srun" not in name])
def test_a_batch_script_s_own_rank_is_not_that_of_what_it_launches(launcher: str) -> None:
    assert ranks(BATCH | STARTED_BY[launcher]) == Ranks(11, 16, 3)


def test_an_initialised_process_group_outranks_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: 2,
        get_world_size=lambda: 4,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(distributed=group))
    assert ranks({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) == Ranks(2, 4, 0)

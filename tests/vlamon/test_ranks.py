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
    ],
)  # fmt: skip
def test_a_launcher_is_recognised(environ: dict[str, str], place: Ranks) -> None:
    assert ranks(environ) == place


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

"""Two ranks train one energy model, also when only one of them has policy rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from trainer.objectives.design import mean_over_ranks
from trainer.objectives.energy_task import average_gradients


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def loss(model: nn.Module, rank: int) -> torch.Tensor:
    result: torch.Tensor = model(torch.full((4, 3), 1.0 + rank)).square().mean()
    return result


def rank_main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2)
    model = build()
    report = {}
    for case, contributes in (("both", (True, True)), ("one", (True, False))):
        model.zero_grad()
        if contributes[rank]:
            torch.autograd.backward(loss(model, rank))
        assert average_gradients(model, has_loss=contributes[rank])
        report[case] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    report["none"] = average_gradients(model, has_loss=False)  # type: ignore[assignment]
    mine = {"closs": 2.0, "loss_ct": 0.4} if rank == 0 else {"closs": 4.0}
    report["norms"] = mean_over_ranks(mine, ["closs", "loss_ct", "z_loss"])  # type: ignore[assignment]
    torch.save(report, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # all is said; gloo's threads may abort a process that is taken down


@pytest.mark.slow
def test_gradients_are_averaged_over_the_ranks_that_had_a_loss(tmp_path: Path) -> None:
    mp.spawn(rank_main, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    model = build()
    each = [torch.autograd.grad(loss(model, rank), list(model.parameters())) for rank in range(2)]
    for index in range(2):
        mean = (each[0][index] + each[1][index]) / 2
        torch.testing.assert_close(first["both"][index], mean)
        torch.testing.assert_close(first["one"][index], each[0][index])
        assert torch.equal(first["both"][index], second["both"][index])
        assert torch.equal(first["one"][index], second["one"][index])
    assert first["none"] is second["none"] is False
    assert first["norms"] == second["norms"] == {"closs": 3.0, "loss_ct": 0.4}

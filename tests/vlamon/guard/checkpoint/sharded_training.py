"""A rank of small sharded trainings, as `test_sharded` starts it: `python -m … ROOT PLANS`.

PLANS is a JSON list, run one after the other: in which `dir`, to how many steps (`total`), which
`orders` come at which step, and what is to go wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor

from tests.vlamon.guard.planned import run_plan
from tests.vlamon.guard.toy import Emitter, Sampler
from vlamon.guard import Guard, GuardSettings

WRITE = os.write
NAMES = ("0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias")


class Training:
    """An MLP with dropout and a BatchNorm, whose buffers differ by rank; no size divides."""

    def __init__(self, run_dir: Path, plan: dict[str, Any]) -> None:
        self.rank, self.plan = dist.get_rank(), plan
        torch.manual_seed(plan.get("seed", 0))
        self.model: nn.Module = nn.Sequential(
            nn.Linear(8, 33), nn.BatchNorm1d(33), nn.GELU(), nn.Dropout(0.1), nn.Linear(33, 1)
        )
        if plan.get("shard") == "fsdp1":
            options = {"use_orig_params": plan.get("use_orig_params", True)}
            self.model = FullyShardedDataParallel(
                self.model, device_id=torch.device("cpu"), **options
            )
        elif plan.get("shard", True):
            shape = tuple(plan.get("mesh", [dist.get_world_size()]))
            names = ("copies", "shards")[-len(shape) :]
            fully_shard(self.model, mesh=init_device_mesh("cpu", shape, mesh_dim_names=names))
        self.optimizer: torch.optim.Optimizer
        if plan.get("zero"):
            parameters = self.model.parameters()
            self.optimizer = ZeroRedundancyOptimizer(parameters, torch.optim.AdamW, lr=3e-3)
        else:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 1000)
        self.sampler = Sampler()
        self.emitter = Emitter()
        self.target = torch.randn(8, 1, generator=torch.Generator().manual_seed(99))
        torch.manual_seed(100 * plan.get("seed", 0) + self.rank)
        self.guard = Guard(
            self.model,
            self.optimizer,
            schedulers=[self.scheduler],
            sampler=self.sampler,
            emitter=self.emitter,  # type: ignore[arg-type]
            run_dir=run_dir,
            settings=GuardSettings(
                **{"every": 5, "slots": 4, "patience": 1, "stall": 60.0, **plan.get("settings", {})}
            ),
            weights={"closs": 1.0},
        )

    def train_step(self, step: int) -> None:
        breaks_on = self.plan.get("breaks_on", 1)
        if step == self.plan.get("breaks_at", -1) and self.rank == breaks_on:
            break_writing(self.plan["how"])
        ids = self.sampler.draw()
        generator = torch.Generator().manual_seed(2 * ids[0] + self.rank)
        x = torch.randn(4, 8, generator=generator)
        y = x @ self.target + 2.0 + 0.3 * torch.randn(4, 1, generator=generator)
        loss: torch.Tensor = ((self.model(x) - y) ** 2).mean() + 1.0
        loss.backward()  # type: ignore[no-untyped-call]
        if step == self.plan.get("poison", -1):
            poison(self.model, self.rank)
        if self.guard.check(step, closs=loss):
            self.optimizer.step()
            self.scheduler.step()
        self.optimizer.zero_grad()


def state_of(training: Training, trail: list[int]) -> dict[str, Any]:
    """What a test compares: what the ranks share, and what is this rank's own."""
    options = StateDictOptions(full_state_dict=True)
    named = get_model_state_dict(training.model, options=options)
    parameters = [named[name] for name in NAMES]
    if training.plan.get("shard") == "fsdp1":
        state = get_optimizer_state_dict(training.model, training.optimizer, options=options)
        moments = [state["state"].get(name, {}) for name in NAMES]
    else:
        own: Any = getattr(training.optimizer, "optim", training.optimizer)
        moments = list(own.state_dict()["state"].values())
    tensors = [*parameters, *(each[key] for each in moments for key in sorted(each))]
    return {
        "trail": trail,
        "shared": [digest(tensor) for tensor in tensors],
        "own": [*map(digest, training.model.buffers()), torch.rand(1).item()],
        "steps": int(training.scheduler.last_epoch),
        "finite": all(whole(p).isfinite().all().item() for p in training.model.parameters()),
        "cursor": training.sampler.cursor,
        "sharded": all(isinstance(p, DTensor) for p in training.model.parameters()),
        "events": [(kind, at, data.get("text")) for kind, at, data in training.emitter.events],
    }


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(whole(tensor).contiguous().numpy().tobytes()).hexdigest()


def poison(model: nn.Module, rank: int) -> None:
    """A gradient that is not finite, in rank 1's shard alone."""
    gradient: Any = next(model.parameters()).grad
    if rank == 1:
        gradient.to_local().fill_(float("nan"))


def break_writing(how: str) -> None:
    """From now on this rank's disk is slow or full, or it dies in the middle of its tensors."""

    def broken(handle: int, data: Any) -> int:
        if not os.readlink(f"/proc/self/fd/{handle}").endswith(".distcp"):
            return WRITE(handle, data)
        if how == "slow":
            time.sleep(0.3)
            return WRITE(handle, data)
        if how == "full once":
            os.write = WRITE
        if how.startswith("full"):
            raise OSError(28, "No space left on device")
        WRITE(handle, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    os.write = broken


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def read_by_dcp(training: Training, path: Path) -> list[str]:
    """The parameters and first moments as torch's own planner puts them on this mesh."""
    model = {
        name: torch.zeros_like(parameter) for name, parameter in training.model.named_parameters()
    }
    moments = {
        name: {"exp_avg": torch.zeros_like(parameter)}
        for name, parameter in training.model.named_parameters()
    }
    dcp_load({"model": model, "optimizer.0": {"state": moments}}, checkpoint_id=path)
    first = [moment["exp_avg"] for moment in moments.values()]
    return [digest(tensor) for tensor in (*model.values(), *first)]


def run(root: Path, plan: dict[str, Any]) -> dict[str, Any]:
    run_dir = root / plan["dir"]
    if dist.get_rank() == 0 and "corrupt" in plan:
        flip_a_bit(run_dir / "checkpoints" / plan["corrupt"])
    dist.barrier()
    training = Training(run_dir, plan)
    try:
        said = state_of(training, run_plan(training, training.guard))
        if "dcp" in plan:
            said["dcp"] = read_by_dcp(training, run_dir / "checkpoints" / plan["dcp"])
        return said
    except RuntimeError as error:
        if plan.get("how") != "dies":
            raise
        training.guard.close()
        events = [(kind, at, data.get("text")) for kind, at, data in training.emitter.events]
        return {"lost": str(error), "events": events}
    finally:
        os.write = WRITE


def main() -> None:
    root, plans = Path(sys.argv[1]), json.loads(sys.argv[2])
    place = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
    dist.init_process_group("gloo", init_method=os.environ["MEETING"], **place)
    results = {}
    for plan in plans:
        results[plan["name"]] = run(root, plan)
    print("RESULT" + json.dumps(results), flush=True)
    with contextlib.suppress(RuntimeError):  # a peer that is gone
        dist.barrier()
    # All is said. gloo's threads may abort the process when they are taken down in some order.
    os._exit(0)


if __name__ == "__main__":
    main()

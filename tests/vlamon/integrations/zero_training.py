"""A rank of small trainings under DeepSpeed's ZeRO: `python -m … ROOT PLANS`.

PLANS is a JSON list, run one after the other: which `stage`, in which `dir`, to how many steps
(`total`), which `orders` come at which step, and what is to go wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import nn

from tests.vlamon.guard.planned import run_plan
from tests.vlamon.guard.toy import Emitter, Sampler
from vlamon.guard import DurableError, Guard, GuardSettings

sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]


def config(plan: dict[str, Any]) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": plan.get("accumulate", 1),
        "steps_per_print": 10**9,
        "gradient_clipping": 1.0,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        plan.get("dtype", "fp32"): {"enabled": True},
        # Some parameters stay whole between two steps, others do not.
        "zero_optimization": {"stage": plan["stage"], "stage3_param_persistence_threshold": 40},
    }


class Means(nn.Module):
    """Hands on what it sees and sums its means, which differ by rank."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(33))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sums += x.detach().mean(0).to(self.sums)
        return x


class Training:
    """An MLP with dropout, a frozen layer and a buffer."""

    def __init__(self, run_dir: Path, plan: dict[str, Any]) -> None:
        self.rank, self.plan = dist.get_rank(), plan
        torch.manual_seed(plan.get("seed", 0))
        model = nn.Sequential(
            nn.Linear(8, 33), Means(), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(33, 33).requires_grad_(False), nn.Linear(33, 1),
        )  # fmt: skip
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=3e-3)
        self.engine, self.optimizer, _, self.scheduler = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            lr_scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000),
            config=config(plan),
        )
        self.sampler, self.emitter = Sampler(), Emitter()
        self.target = torch.randn(8, 1, generator=torch.Generator().manual_seed(99))
        torch.manual_seed(100 * plan.get("seed", 0) + self.rank)
        self.losses: dict[int, float] = {}
        self.guard: Guard | None = None
        if plan.get("guard", True):
            settings = {"every": 5, "slots": 4, "patience": 1, "stall": 60.0}
            self.guard = Guard(
                self.engine,
                self.optimizer,
                sampler=self.sampler,
                emitter=self.emitter,  # type: ignore[arg-type]
                run_dir=run_dir,
                settings=GuardSettings(**{**settings, **plan.get("settings", {})}),
                weights={"closs": 1.0},
            )

    def micro_step(self, step: int) -> torch.Tensor:
        ids, struck = self.sampler.draw(), self.rank == self.plan.get("on", 0)
        generator = torch.Generator().manual_seed(2 * ids[0] + self.rank)
        x = torch.randn(4, 8, generator=generator)
        y = x @ self.target + 2.0 + 0.3 * torch.randn(4, 1, generator=generator)
        if struck and ids[0] // 4 in self.plan.get("bad", ()):
            y = y + 300.0
        dtype = torch.bfloat16 if self.plan.get("dtype") == "bf16" else torch.float32
        out = self.engine(x.to(dtype)).float()
        loss: torch.Tensor = ((out - y) ** 2).mean() + 1.0
        if struck and step in self.plan.get("nan", ()):
            loss = loss * float("nan")
        self.engine.backward(loss)
        return loss.detach()

    def train_step(self, step: int) -> None:
        losses = []
        for micro in range(self.plan.get("accumulate", 1)):
            losses.append(self.micro_step(step))
            boundary = micro == self.plan.get("accumulate", 1) - 1
            if boundary and self.guard is not None:
                self.guard.check(step, closs=torch.stack(losses).mean())
            self.engine.step()
        self.losses[step] = float(torch.stack(losses).mean())

    def run(self) -> None:
        if self.guard is None:
            for step in range(self.plan["total"]):
                self.train_step(step)
            return
        run_plan(self, self.guard)


def state_of(training: Training) -> dict[str, Any]:
    """What a test compares."""
    engine, zero = training.engine, training.optimizer
    base = zero.optimizer
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        weights = [digest(parameter) for parameter in engine.module.parameters()]
    moments = [
        digest(value) if isinstance(value, torch.Tensor) else value
        for state in base.state.values()
        for _, value in sorted(state.items())
    ]
    return {
        "weights": weights,
        "own": [*moments, *map(digest, engine.module.buffers()), torch.rand(1).item()],
        "counters": [engine.global_steps, engine.micro_steps, engine.global_samples],
        "skipped": engine.skipped_steps,
        "lr": engine.get_lr(),
        "cursor": training.sampler.cursor,
        "losses": list(training.losses.items()),
        "scale": float(zero.loss_scale),
        "held": held(training),
        "events": [(kind, at, data) for kind, at, data in training.emitter.events],
        "gradients left": sum(p.grad is not None for p in engine.module.parameters()),
    }


def held(training: Training) -> int:
    """Elements of a snapshot."""
    if training.guard is None:
        return 0
    slots = training.guard.snapshots.ring.held()
    return sum(tensor.numel() for tensor in slots[-1].tensors) if slots else 0


def digest(tensor: torch.Tensor) -> str:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()[:16]


def run(root: Path, plan: dict[str, Any]) -> dict[str, Any]:
    training = Training(root / plan["dir"], plan)
    try:
        training.run()
    except DurableError as error:
        return {"refused": str(error)}
    return state_of(training)


def main() -> None:
    root, plans = Path(sys.argv[1]), json.loads(sys.argv[2])
    place = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
    dist.init_process_group("gloo", init_method=os.environ["MEETING"], **place)
    results = {plan["name"]: run(root, plan) for plan in plans}
    print("RESULT" + json.dumps(results, default=str), flush=True)
    with contextlib.suppress(RuntimeError):
        dist.barrier()
    os._exit(0)  # all is said; gloo's threads may abort a process that is taken down


if __name__ == "__main__":
    main()

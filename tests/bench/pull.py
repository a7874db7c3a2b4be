"""What the pull costs: one measurement against one training step of the tiny size.

    python -m tests.bench.pull

Steps with and without a measurement alternate in one process, so a neighbour's noise hits both.
"""

from __future__ import annotations

import statistics
import time

import torch

from tests.trainer.rows import policy_sample, world_sample
from trainer.model.batch import Batch, collate
from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.objectives import Objectives
from trainer.objectives.pull import DEFAULT_EVERY, measure_pull

ROUNDS = 12


def main() -> None:
    """Prints the table."""
    torch.manual_seed(0)
    model = VLA(SIZES["tiny"])
    objectives = Objectives()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    batches = {
        "policy": collate([policy_sample(i, side=8, words=12) for i in range(8)]),
        "mixed": collate(
            [policy_sample(i, side=8, words=12) for i in range(6)]
            + [world_sample(i, side=8) for i in range(2)]
        ),
    }

    def step(batch: Batch, measured: bool) -> float:
        began = time.perf_counter()
        outputs = model(batch, trace=measured)
        losses = objectives(outputs)
        if measured:
            measure_pull(model, outputs, objectives)
        torch.autograd.backward(losses.total)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    print("| batch (tiny) | step | step with pull | extra, share of a step | at every", end=" ")
    print(f"{DEFAULT_EVERY} steps |\n|---|---|---|---|---|")
    for name, batch in batches.items():
        times: dict[bool, list[float]] = {False: [], True: []}
        for round_ in range(ROUNDS + 2):
            for measured in (False, True):
                seconds = step(batch, measured)
                if round_ >= 2:
                    times[measured].append(seconds)
        plain, pulled = (statistics.median(times[measured]) for measured in (False, True))
        extra = pulled / plain - 1
        print(
            f"| {name} | {plain * 1e3:.0f} ms | {pulled * 1e3:.0f} ms | {extra:.0%} |"
            f" {extra / DEFAULT_EVERY:.2%} |"
        )


if __name__ == "__main__":
    main()

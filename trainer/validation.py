"""Held-out episodes at an epoch's end: the training's own metrics, without dropout."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from trainer.data.dataset import TabletopData
from trainer.data.sampler import Sampler
from trainer.evaluation_mode import evaluating
from trainer.logs import in_reference_order
from trainer.model.batch import Batch, collate
from trainer.optimisation import Optimisation

_ORDER_SEED = 20


def held_out(data: TabletopData, samples: int, batch: int) -> Iterator[Batch]:
    """The same samples at every epoch: policy and world rows in the training's proportion."""
    sampler = Sampler(data.frames, batch=1, world_share=data.config.world_share, seed=_ORDER_SEED)
    names = [sampler.name(cursor) for cursor in range(min(samples, len(data.frames)))]
    # Rows of a kind together: a batch is padded to its longest row.
    names.sort(key=lambda name: (name % 2, name))
    for start in range(0, len(names), batch):
        yield collate([data.sample(name) for name in names[start : start + batch]])


@torch.no_grad()
def validate(
    optimisation: Optimisation, data: TabletopData, samples: int, batch: int, device: torch.device
) -> dict[str, float]:
    """Means over the held-out batches, each metric over the samples of batches that have it."""
    sums: dict[str, tuple[float, float]] = {}
    with evaluating(optimisation.model):
        for rows in held_out(data, samples, batch):
            values = in_reference_order(optimisation.losses(rows.to(device)))
            for name, value in values.items():
                total, count = sums.get(name, (0.0, 0.0))
                sums[name] = (total + float(value) * rows.rows, count + rows.rows)
    return {name: float(np.float64(total) / count) for name, (total, count) in sums.items()}

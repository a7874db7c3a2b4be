"""Small real trainings for tests: the micro preset, cut down to fractions of a second a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.config import TrainConfig, load
from trainer.loop import train
from trainer.run import Options, Run
from trainer.setup import prepare

SMALL = (
    "data.episodes=48",
    "data.validation_episodes=4",
    "loop.batch=2",
    "loop.steps_per_epoch=20",
    "loop.validation_samples=4",
    "optim.warmup_steps=2",
)


def config(*overrides: str) -> TrainConfig:
    """The micro preset with less of everything."""
    return load("micro", [*SMALL, *overrides])


def trained(run_dir: Path, steps: int, *overrides: str, **options: Any) -> Run:
    """A training that went to its end in this process; its emitter is closed."""
    settings = config(f"loop.steps={steps}", *overrides)
    run = prepare(settings, Options(run_dir=run_dir, device="cpu", **options))
    with run:
        run.outcome = train(run)
    return run


def weights(run: Run) -> list[torch.Tensor]:
    """Every number that the optimizer has changed."""
    return [parameter.detach().clone() for parameter in run.model.parameters()]


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    """Whether two lists of tensors agree bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

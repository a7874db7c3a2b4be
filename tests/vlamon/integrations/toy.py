"""A model with the components of a VLA's loss, small enough to train in a test."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset


class Rows(Dataset[dict[str, torch.Tensor]]):
    """Regression rows that a seed names."""

    def __init__(self, count: int = 240) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(count, 8, generator=generator)
        self.y = self.x.sum(1, keepdim=True) + 0.1 * torch.randn(count, 1, generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class Policy(nn.Module):
    """Returns a loss and its components, and remembers each for the test."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.seen: list[dict[str, float]] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        error = self.trunk(x) - labels
        parts = {"closs": error.square().mean(), "loss_ct": error.abs().mean()}
        loss = parts["closs"] + 10 * parts["loss_ct"]
        if self.training:
            self.seen.append({name: float(value.detach()) for name, value in parts.items()})
            self.seen[-1]["loss"] = float(loss.detach())
        return {"loss": loss, **parts, "logits": error}


def means(seen: list[dict[str, float]], name: str, micro: int) -> list[float]:
    """The mean of each optimizer step's micro-batches."""
    values = [row[name] for row in seen]
    return [sum(values[i : i + micro]) / micro for i in range(0, len(values), micro)]


def digest(model: nn.Module) -> list[bytes]:
    """The weights to the last bit."""
    return [tensor.detach().numpy().tobytes() for tensor in model.state_dict().values()]

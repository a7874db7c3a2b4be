"""Keeps the schedule of a training where it is while all else goes back.

A loop that owns its counter never trains a step number twice. Its schedule must not either: a
scheduler that went back would end the training with a rate that was never planned for its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from vlamon.guard.state.tree import duplicate

SCHEDULER = "scheduler."
"""What the names of a guard's schedulers begin with."""


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """The schedulers' states and what they write: rates, and every other option of a group."""

    schedulers: Mapping[str, Any]
    options: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> SchedulerState:
        """As it is now."""
        schedulers = {n: p.state_dict() for n, p in parts.items() if n.startswith(SCHEDULER)}
        options = {
            name: [{k: v for k, v in g.items() if k != "params"} for g in part.param_groups]
            for name, part in parts.items()
            if isinstance(part, Optimizer)
        }
        return cls(duplicate(schedulers), duplicate(options))

    @torch.no_grad()
    def put_back(self, parts: Mapping[str, Any]) -> None:
        """Put it in force on the same parts."""
        for name, state in self.schedulers.items():
            parts[name].load_state_dict(duplicate(state))
        for name, groups in self.options.items():
            for group, saved in zip(parts[name].param_groups, groups, strict=True):
                for key, value in saved.items():
                    if isinstance(value, torch.Tensor) and isinstance(group[key], torch.Tensor):
                        group[key].copy_(value)  # in place: a captured graph knows this tensor
                    else:
                        group[key] = value

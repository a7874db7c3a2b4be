"""A small but real training to guard: an MLP, AdamW, dropout, a schedule and a counting sampler."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlamon.guard import Guard, GuardSettings, ProbeResult

QUICK = {"every": 5, "slots": 4, "patience": 1}
SPIKE = 160
"""Step whose batch is broken in most tests."""


class Sampler:
    """Sample ids in order; `draw` gives the next four."""

    def __init__(self, batch: int = 4) -> None:
        self.batch = batch
        self.cursor = 0

    def draw(self) -> list[int]:
        first, self.cursor = self.cursor, self.cursor + self.batch
        return list(range(first, self.cursor))

    def state_dict(self) -> dict[str, int]:
        return {"cursor": self.cursor}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.cursor = state["cursor"]


@dataclass
class Order:
    """A command as the emitter hands it out."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    result: dict[str, Any] | None = None
    error: str = ""

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        self.result = dict(result or {})

    def refuse(self, reason: str) -> None:
        self.error = reason


class Emitter:
    """Stands in for vlamon.Emitter: remembers events, hands out orders at chosen moments."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, dict[str, Any]]] = []
        self.statuses: list[dict[str, Any]] = []
        self.attempt = 0
        self.weights: dict[str, float] = {}
        self.orders: list[Order] = []
        self.answers: dict[str, list[Order]] = {}
        """Orders that the operator gives when an event of a kind comes."""
        self._ids = itertools.count()

    def event(self, kind: str, step: int | None = None, **data: Any) -> str:
        self.events.append((kind, -1 if step is None else step, data))
        if self.answers.get(kind):
            self.orders.append(self.answers[kind].pop(0))
        return f"e{next(self._ids)}"

    def status(self, **fields: Any) -> None:
        self.statuses.append(fields)

    def set_attempt(self, attempt: int) -> None:
        self.attempt = attempt

    def at_end(self, **data: Any) -> None:
        self.last_words = data

    def commands(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def kinds(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        return [(step, data) for name, step, data in self.events if name == kind]


class Toy:
    """A training with faults to switch on: `faults` maps a sample's cursor to what it does."""

    def __init__(
        self,
        run_dir: Path | None = None,
        seed: int = 0,
        faults: Mapping[int, Callable[[Toy, torch.Tensor], torch.Tensor]] | None = None,
        once: Mapping[int, Callable[[Toy, torch.Tensor], torch.Tensor]] | None = None,
        sampler: Any = None,
        checked: bool = False,
        **settings: Any,
    ) -> None:
        torch.manual_seed(seed)
        self.seed, self.checked = seed, checked
        self.model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 1000)
        self.sampler = sampler or Sampler()
        self.emitter = Emitter()
        self.faults, self.once = dict(faults or {}), dict(once or {})
        self.losses: dict[int, float] = {}
        self.trained: list[int] = []
        self.target = torch.randn(8, 1, generator=torch.Generator().manual_seed(99))
        self.guard = Guard(
            self.model,
            self.optimizer,
            schedulers=[self.scheduler],
            sampler=self.sampler,
            emitter=self.emitter,  # type: ignore[arg-type]
            run_dir=run_dir,
            settings=GuardSettings(**{**QUICK, **settings}),
            weights={"closs": 1.0},
            probe=self.probe,
            replay=lambda step: {"closs": float(self.train_step()[1])},
        )

    def data(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(ids[0])
        x = torch.randn(4, 8, generator=generator)
        y = x @ self.target + 2.0 + 0.3 * torch.randn(4, 1, generator=generator)
        return x, y

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, y = batch
        return ((self.model(x) - y) ** 2).mean() + 1.0

    def train_step(self, step: int | None = None) -> tuple[Any, torch.Tensor]:
        """Draw, forward, backward, update; whatever a fault at this cursor does included.

        With a step the guard is asked before the update.
        """
        cursor = getattr(self.sampler, "cursor", None)
        ids = self.sampler.draw()
        x, y = self.data(ids)
        if cursor in self.faults:
            y = self.faults[cursor](self, y)
        if cursor in self.once:
            y = self.once.pop(cursor)(self, y)
        loss = self.loss((x, y))
        loss.backward()
        if torch.isfinite(loss) if step is None else self.guard.check(step, closs=loss):
            self.optimizer.step()
            self.scheduler.step()
        self.optimizer.zero_grad()
        return (ids, x, y), loss.detach()

    def probe(self, batch: Any) -> ProbeResult:
        ids, x, y = batch
        with torch.no_grad():
            each = (self.model(x) - y).pow(2).mean(dim=1) + 1.0
        return ProbeResult(
            values={"closs": float(each.mean())},
            per_sample=each.tolist(),
            samples=[{"id": i, "source": f"file{i}"} for i in ids],
        )

    def run(
        self, total: int, at: Mapping[int, list[Order]] | None = None, resume: bool = True
    ) -> int:
        """Train to a step; orders are given when the step in `at` is reached for the first time."""
        waiting = dict(at or {})
        torch.manual_seed(self.seed)
        step = self.guard.start(resume)
        while step < total and not self.guard.stopped:
            batch, loss = self.train_step(step if self.checked else None)
            self.losses[step] = float(loss)
            self.trained.append(step)
            self.emitter.orders += waiting.pop(step, [])
            told = {} if self.checked else {"closs": loss}
            step = self.guard.after_step(step, batch=batch, samples=batch[0], **told)
        self.guard.close()
        return step

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]


def far_off(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """Targets that no model of the toy can reach: a fault of the data."""
    return y + 200.0


def once_written(checkpoint: Path) -> Callable[[Toy, torch.Tensor], torch.Tensor]:
    """Batches that come when a checkpoint is on disk: a busy disk must not decide a test."""

    def wait(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        end = time.monotonic() + 60
        while not checkpoint.is_dir():
            assert time.monotonic() < end, f"{checkpoint} was never written"
            time.sleep(0.005)
        return y

    return wait


def identical(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

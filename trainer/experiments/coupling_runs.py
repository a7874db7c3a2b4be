"""One training of the toy policy and its energy model under one coupling, one seed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.experiments.toy import MODEL, ToyTask
from trainer.model.batch import Batch
from trainer.model.energy import EnergyConfig
from trainer.model.vla import VLA
from trainer.objectives import Objectives
from trainer.objectives.coupling import Coupling
from trainer.objectives.energy_task import KINDS, EnergyTask
from vlamon.detect.spikes import SpikeDetector

UPDATES = 280
"""Updates of policy and energy model alike in every run; `alternate` takes twice the steps."""
WARM_UP = 100
"""Energy updates that are left out of the variance: all runs fall steeply there."""
JOLTS = (140, 180, 220)
"""Policy updates at which the head's learning rate is multiplied, the same in every run."""
JOLT_FACTOR = 20.0
LEARNING_RATE = 2e-3
AFTER_JOLT = 10
"""Energy updates after a jolt within which its echo is looked for."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Measures of one run."""

    energy: str
    """Which energy model and loss, as in `objectives.energy`."""
    coupling: str
    seed: int
    energy_variance: float
    """Variance of the energy loss after the warm-up, jolts included."""
    energy_noise: float
    """Variance of its differences from one update to the next, halved: no trend, no level."""
    jolt_echo: float
    """Mean over the jolts of the highest energy loss within 10 updates, minus the median of the 10
    before."""
    energy_explosions: int
    """Energy updates at which our own detector reported an explosion."""
    policy_explosions: int
    """The same for loss_ct."""
    final_l1: float
    """Held-out L1 per dimension at the end."""
    ranking: float
    """Held-out share of layer actions that get a higher energy than the true chunk."""
    energy_level: float
    """Mean energy loss after the warm-up."""
    seconds: float
    """Wall time of the run."""
    policy_updates: int
    energy_updates: int


def run(coupling: str, seed: int, energy: str = "reference") -> RunResult:
    """Trains with everything but the coupling and the energy model fixed by the seed."""
    torch.manual_seed(seed)
    policy = VLA(MODEL)
    energy_model = KINDS[energy].model(MODEL.hidden, EnergyConfig(width=32, heads=4))
    task = EnergyTask(
        policy, energy_model, Coupling.named(coupling), kind=energy, learning_rate=1e-3
    )
    data = ToyTask(seed)
    objectives = Objectives({"closs": 0.0, "z_loss": 0.0, "loss_ct": 1.0, "energy": 1.0})
    optimizer = head_and_trunk(policy)

    began = time.perf_counter()
    energies: list[float] = []
    losses: list[float] = []
    jolted_at: list[int] = []
    batches = data.batches()
    step = 0
    while len(losses) < UPDATES or len(energies) < UPDATES:
        batch = next(batches)
        shown: float | None = None
        if task.policy_turn(step) and len(losses) < UPDATES:
            outputs = policy(batch, keep_layers=task.keep_layers, project=False)
            loss = objectives(task.before_update(outputs, step))
            total = task.factors()[0] * loss.total
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total)
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            jolt = len(losses) in JOLTS
            if jolt:
                jolted_at.append(len(energies))
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (JOLT_FACTOR if jolt else 1.0)
            optimizer.step()
            task.policy_updated()
            shown = float(loss.values["loss_ct"].detach())
            losses.append(shown)
        if len(energies) < UPDATES:
            metrics = task.update(batch, step)
            value = float(metrics["energy"]) if "energy" in metrics else None
            task.observe(shown, value)
            if value is not None:
                energies.append(value)
        step += 1
    seconds = time.perf_counter() - began
    l1, ranking = evaluate(policy, task, data.held_out)
    return RunResult(
        energy=energy,
        coupling=coupling,
        seed=seed,
        **_steadiness(energies, jolted_at),
        energy_explosions=_explosions(energies),
        policy_explosions=_explosions(losses),
        final_l1=l1,
        ranking=ranking,
        seconds=seconds,
        policy_updates=len(losses),
        energy_updates=len(energies),
    )


def _steadiness(energies: list[float], jolted_at: list[int]) -> dict[str, float]:
    steady = np.asarray(energies[WARM_UP:])
    return {
        "energy_level": float(steady.mean()),
        "energy_variance": float(steady.var(ddof=1)),
        "energy_noise": float(np.diff(steady).var(ddof=1) / 2),
        "jolt_echo": float(np.mean([_echo(energies, at) for at in jolted_at])),
    }


def head_and_trunk(policy: VLA) -> torch.optim.Optimizer:
    """The optimizer of what is trained, the head as its first group: that is jolted."""
    head = list(policy.action_head.parameters())
    trunk = [p for p in policy.model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": head}, *([{"params": trunk}] if trunk else [])]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))


@torch.no_grad()
def evaluate(policy: VLA, task: EnergyTask, batch: Batch) -> tuple[float, float]:
    """Held-out L1 of the head, and how often the energy ranks truth below the live negatives.

    The negatives are always the live head's, whatever the run trained on: one measure for all.
    """
    policy.eval()
    task.model.eval()
    outputs = policy(batch, keep_layers=True, project=False)
    losses = Objectives({"closs": 0.0, "z_loss": 0.0})(outputs)
    layout = batch.layout
    negatives = task.layer_actions(outputs, policy.action_head)
    candidates = torch.cat((layout.actions.unsqueeze(1), negatives), dim=1)
    states = outputs.hidden[:, : layout.longest_prefix]
    valid = torch.ones(candidates.shape[:3], dtype=torch.bool)
    energy = task.model(states, layout.prefix_length, candidates, valid)
    ranking = (energy[:, 1:] > energy[:, :1]).float().mean()
    return float(losses.values["loss_ct"]), float(ranking)


def _echo(energies: list[float], at: int) -> float:
    before = energies[max(0, at - AFTER_JOLT) : at]
    after = energies[at : at + AFTER_JOLT]
    return float(max(after) - np.median(before))


def _explosions(values: list[float]) -> int:
    detector = SpikeDetector()
    return sum(detector.observe(value).level == "explode" for value in values)

"""Every coupling over many seeds with paired jolts: runs what is missing, then reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import torch

from trainer.experiments.coupling_report import paired, write
from trainer.experiments.coupling_runs import RunResult, run

COUPLINGS = (
    "joint",
    "entangled",
    "isolate",
    "separate",
    "alternate",
    "adaptive",
    "cache",
    "ema_target",
    "freeze_backbone",
)


ENERGIES = ("reference", "hinge")
"""The energy models that take layer actions; only those are coupled through the ActionHead."""


def main(
    runs: Path, docs: Path, seeds: int, only: Sequence[str] | None, energies: Sequence[str]
) -> None:
    """Runs seed by seed, so that an interrupted experiment is still paired."""
    torch.set_num_threads(1)  # the model is too small for two, and one repeats exactly
    runs.parent.mkdir(parents=True, exist_ok=True)
    results = read(runs)
    # Every coupling is held against `joint`, so that one is always part of it.
    names = [name for name in COUPLINGS if only is None or name in (*only, "joint")]
    unknown = sorted(set(only or ()) - set(COUPLINGS))
    if unknown:
        there = ", ".join(COUPLINGS)
        print(f"no coupling is called {unknown[0]}; there are {there}.", file=sys.stderr)
        raise SystemExit(2)
    done = {(result.energy, result.coupling, result.seed) for result in results}
    for seed, energy, name in product(range(seeds), energies, names):
        if (energy, name, seed) in done:
            continue
        result = run(name, seed, energy)
        results.append(result)
        with runs.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")
        print(f"seed {seed:2d}  {energy:10s} {name:16s} {result.seconds:5.1f} s", flush=True)
    for energy in energies:
        table = paired([result for result in results if result.energy == energy], names)
        write(table, energy, docs)
        print(f"wrote the section {energy} of {docs / 'coupling.md'} and its plot")


def read(runs: Path) -> list[RunResult]:
    """Results of earlier runs; none without the file."""
    if not runs.exists():
        return []
    return [RunResult(**json.loads(line)) for line in runs.read_text("utf-8").splitlines()]

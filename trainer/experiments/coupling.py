"""Every coupling over many seeds with paired jolts: runs what is missing, then reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from trainer.experiments.coupling_report import paired, write
from trainer.experiments.coupling_runs import RunResult, as_row, run

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


def main(runs: Path, docs: Path, seeds: int, only: Sequence[str] | None) -> None:
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
    done = {(result.coupling, result.seed) for result in results}
    for seed in range(seeds):
        for name in names:
            if (name, seed) in done:
                continue
            result = run(name, seed)
            results.append(result)
            with runs.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(as_row(result)) + "\n")
            print(f"seed {seed:2d}  {name:16s} {result.seconds:5.1f} s", flush=True)
    table = paired(results, names)
    write(table, docs / "coupling.md", docs / "images" / "coupling.svg")
    print(f"wrote {docs / 'coupling.md'} and {docs / 'images' / 'coupling.svg'}")


def read(runs: Path) -> list[RunResult]:
    """Results of earlier runs; none without the file."""
    if not runs.exists():
        return []
    return [RunResult(**json.loads(line)) for line in runs.read_text("utf-8").splitlines()]

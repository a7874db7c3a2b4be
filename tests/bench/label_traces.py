"""Labels the real traces in hindsight: `python -m tests.bench.label_traces > …/trace_labels.json`.

A person reading the chart sees a batch that stands far above what comes before *and after* it. So
the label looks both ways, which no detector can: a point above 20 × the median of the 101 points
around it is part of an event, as is a stretch in which 4 of 7 points are above 5 ×; events within
10 points are one. The first 64 points are not labelled. The result was looked at on a chart, file
by file, and corrected by hand where `CORRECTED` says so.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.detectors import _column

COLUMNS = {
    "clean (nanoGPT)": [(f"nanogpt_{i:02d}.csv", "train_loss") for i in range(10)],
    "calm": [
        ("diffusion_policy.csv", "train_loss"),
        ("openpi_pi0.csv", "loss"),
        ("hf_star.csv", "loss"),
        *((f"pinn_pendulum_v{v}.csv", "train_loss_step") for v in (8, 28, 32)),
        *((f"finance_v{v}.csv", "train_loss") for v in (0, 8)),
    ],
    "spiky (heavy-tailed data)": [
        ("pinn_pendulum_v18.csv", "train_loss_step"),
        *((f"finance_v{v}.csv", "train_loss") for v in (1, 2, 3, 5, 7, 9, 10, 11, 12)),
    ],
}
CORRECTED: dict[str, list[list[int]]] = {
    "pinn_pendulum_v28.csv:train_loss_step": [],  # one high batch of a loss that still falls ×1000
}


def events_of(values: list[float]) -> list[list[int]]:
    """Where a person would point, from both sides."""
    count = len(values)
    ratio = np.array(
        [
            value / max(float(np.median(values[max(0, i - 50) : i + 51])), 1e-12)
            if math.isfinite(value)
            else math.inf
            for i, value in enumerate(values)
        ]
    )
    marked = ratio > 20
    high = ratio > 5
    for i in range(count - 6):
        if high[i : i + 7].sum() >= 4:
            marked[i : i + 7] |= high[i : i + 7]
    found: list[list[int]] = []
    for i in np.flatnonzero(marked).tolist():
        if i < 64:
            continue
        if found and i - found[-1][1] <= 10:
            found[-1][1] = i
        else:
            found.append([i, i])
    return found


def main() -> None:
    """Print the labels."""
    folder = Path(os.environ["VLAMON_TRACES"])
    labels: dict[str, Any] = {}
    for group, columns in COLUMNS.items():
        for file, column in columns:
            key = f"{file}:{column}"
            found = [] if "clean" in group else events_of(_column(folder / file, column))
            labels[key] = {"group": group, "events": CORRECTED.get(key, found)}
    print(json.dumps({"made_by": "tests/bench/label_traces.py", "traces": labels}, indent=1))


if __name__ == "__main__":
    main()

"""A stand-in for a training: a history at once, then batches at a steady rate, each time-stamped.

    python -m tests.bench._logging_run SOCKET HISTORY HZ SPIKE

A folder in place of a socket gets a journal instead.

Writes `ready` when the history is logged; for every later batch `value time` where `value` is
what the title of the closs chart will read. On stdin, `go N` logs N batches, an empty line ends.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

from vlamon import Emitter

METRICS = ("closs", "loss_ct", "z_loss", "grad_norm", "lr_scale")


def history(steps: int, spike: int) -> dict[str, np.ndarray]:
    """Five curves that look like a training's."""
    rng = np.random.default_rng(0)
    step = np.arange(steps)
    columns = {
        "closs": 8.5 + 4 * np.exp(-step / (steps / 12 + 1)) + rng.normal(0, 0.2, steps),
        "loss_ct": 0.12 + 0.4 * np.exp(-step / (steps / 9 + 1)) * rng.lognormal(0, 0.2, steps),
        "z_loss": 30 + rng.gamma(2, 2, steps),
        "grad_norm": rng.lognormal(0, 0.4, steps),
        "lr_scale": np.minimum(1.0, step / 1000),
    }
    if 0 <= spike < steps:
        columns["closs"][spike] = 95.2
    return columns


def live(step: int) -> dict[str, float]:
    """One batch; closs reads as a number that no neighbour has."""
    shown = 8.2 + (step * 377 % 500) / 1000
    return {
        "closs": shown,
        "loss_ct": 0.12 + 0.001 * (step % 7),
        "z_loss": 30.0 + step % 5,
        "grad_norm": 1.0 + 0.1 * (step % 9),
        "lr_scale": 1.0,
    }


def main(path: str, steps: int, hertz: float, spike: int) -> None:
    """Log the history, then what stdin asks for."""
    folder = path if os.path.isdir(path) else None
    weights = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}
    with Emitter(None if folder else path, run="bench", run_dir=folder, weights=weights) as out:
        columns = {name: values.tolist() for name, values in history(steps, spike).items()}
        for step in range(steps):
            out.log(step, epoch=step / 1312, **{name: columns[name][step] for name in METRICS})
            if step % 20_000 == 19_999:
                time.sleep(0.2)  # let the sidecar keep up: this is a history, not a speed test
        print("ready", flush=True)
        step = steps
        for line in sys.stdin:
            if not line.strip():
                break
            begin = time.monotonic()
            for n in range(int(line.split()[1])):
                time.sleep(max(0.0, begin + n / hertz - time.monotonic()))
                values = live(step)
                moment = time.monotonic()
                out.log(step, epoch=step / 1312, **values)
                print(f"{values['closs']:.3f} {moment:.6f}", flush=True)
                step += 1
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

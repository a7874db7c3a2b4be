"""What emission costs a step of the reference training, against the noise of not emitting.

`python -m tests.bench.trainer_emission [PRESET]` trains one real run and switches its emitter on
and off in turns of a few steps: A emits, B does not, and the null does not either. A/B says what
emission costs, null/B what this machine's noise would pass off as a cost.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trainer.config import load
from trainer.epoch_means import EpochMeans
from trainer.loop import begin_epoch, report
from trainer.run import Options, Run
from trainer.setup import prepare
from trainer.step import compute, update

ROUNDS = 40
STEPS = 4
"""Steps of a turn: short, so that a busy neighbour hits all three kinds alike."""


def turn(run: Run, step: int, emits: bool) -> float:
    """Seconds a step in one turn, with everything that the loop does in a step."""
    emitter = run.emitter
    if not emits:
        run.emitter = None
    epoch_log = begin_epoch(run, step, EpochMeans(run.config.loop.steps_per_epoch))
    began = time.perf_counter()
    for at in range(step, step + STEPS):
        run.step = at
        computed = compute(run, at)
        finite = run.guard.check(at, **computed.losses, grad_norm=computed.grad_norm)
        update(run, computed, finite)
        report(run, computed, epoch_log, 0.1)
        run.guard.after_step(at, batch=computed.batches)
    spent = time.perf_counter() - began
    run.emitter = emitter
    return spent / STEPS


def measure(preset: str) -> dict[str, list[float]]:
    """Times of every turn by kind; round i of all kinds belongs together."""
    with tempfile.TemporaryDirectory() as folder:
        config = load(preset, ["guard.mode=off", "loop.validation_samples=0"])
        options = Options(run_dir=Path(folder), socket=f"{folder}/vla.sock")
        run = prepare(config, options)
        for handler in list(run.logger.handlers):
            run.logger.removeHandler(handler)  # the table alone belongs on stdout
        times: dict[str, list[float]] = {"A": [], "B": [], "null": []}
        with run:
            step = run.guard.start(resume=False)
            for _ in range(3):
                turn(run, step, emits=True)
                step += STEPS
            for _ in range(ROUNDS):
                for kind in random.sample(list(times), 3):
                    times[kind].append(turn(run, step, emits=kind == "A"))
                    step += STEPS
            run.outcome = "finished"
    return times


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median of paired ratios, and the 95 % interval of that median by resampling."""
    draws = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(1000))
    return statistics.median(ratios), draws[25], draws[975]


def main() -> None:
    """Print the table."""
    random.seed(0)
    preset = sys.argv[1] if len(sys.argv) > 1 else "micro"
    times = measure(preset)
    base = times["B"]
    print(
        f"A step of `{preset}` without emission: {statistics.median(base) * 1e3:.1f} ms (median)\n"
    )
    print("| ratio | median | 95 % of the median |")
    print("|---|---|---|")
    for kind, label in (("A", "emission on / off"), ("null", "off / off (null)")):
        ratios = [a / b for a, b in zip(times[kind], base, strict=True)]
        middle, low, high = interval(ratios)
        print(f"| {label} | {middle:.3f} | {low:.3f} … {high:.3f} |")


if __name__ == "__main__":
    main()

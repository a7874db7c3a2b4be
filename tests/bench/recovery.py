"""What a fault costs in the end: closs on a fixed held-out set, guarded run against clean run.

`python -m tests.bench.recovery [--seeds 5]`: the micro preset, the same number of steps, the same
seeds; each fault strikes once, the guard is in auto mode. The faults of a seed share the way there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.verdicts import AT_STEP, EXPECTED, SGD
from trainer.config import load
from trainer.faults import Faults
from trainer.loop import train
from trainer.run import Options, Run
from trainer.setup import prepare
from trainer.validation import validate

STEPS = 240
HELD_OUT = 64
SETTINGS = (
    f"loop.validation_samples={HELD_OUT}",
    "loop.steps_per_epoch=100000",
    "loop.checkpoint_every=100000",
    f"loop.steps={STEPS}",
)


def ends_at(faults: Sequence[str], seed: int, book: Path) -> dict[str, dict[str, Any]]:
    """Held-out closs at the last step of a clean run and of one with each fault, by forks."""
    settings = (*SETTINGS, *(SGD if "no_clip" in faults else ()))
    found: dict[str, dict[str, Any]] = {}
    told: int | None = None
    with tempfile.TemporaryDirectory(prefix="vlamon-recovery-") as folder:
        run_dir = Path(folder)
        if book.exists():
            shutil.copy(book, run_dir / "codebook.npz")
        run = prepare(load("micro", settings), Options(run_dir=run_dir, seed=seed, emit=False))
        run.logger.handlers.clear()
        if not book.exists():
            shutil.copy(run_dir / "codebook.npz", book)
        after_step = run.guard.after_step

        def fork_at_the_fault(step: int, **given: Any) -> int:
            nonlocal told
            following = after_step(step, **given)
            if step == AT_STEP - 1 and not found and told is None:
                for fault in ("clean", *faults):
                    receive, send = os.pipe()
                    pid = os.fork()
                    if pid == 0:
                        told = send
                        text = f"{fault}@{run.sampler.cursor}"
                        if fault == "no_clip":
                            text += "+64"  # for good, it ends as it should: with a paused run
                        induced = [] if fault == "clean" else [text]
                        run.faults = Faults(induced, seed)
                        return following
                    os.close(send)
                    with os.fdopen(receive, "rb") as pipe:
                        found[fault] = dict(json.loads(pipe.read()))
                    os.waitpid(pid, 0)
                run.guard.stopped = True
            return following

        run.guard.after_step = fork_at_the_fault  # type: ignore[method-assign]
        run.guard.checkpoint = lambda step: None  # type: ignore[method-assign]
        train_quietly(run)
        if told is not None:
            os.write(told, json.dumps(closs_of(run)).encode())
            os._exit(0)
        run.guard.close()
    return found


def train_quietly(run: Run) -> None:
    """Train without the validation that a loop does at its end: `closs_of` does its own."""
    held_out, run.held_out = run.held_out, {}
    train(run)
    run.held_out = held_out


def closs_of(run: Run) -> dict[str, Any]:
    """closs on the held-out set, and how many rollbacks it took."""
    means = validate(
        run.optimisation, run.held_out["val_ind"], HELD_OUT, run.config.loop.batch, run.ranks.device
    )
    return {"closs": float(means["closs"]), "rollbacks": run.guard.ledger.attempt}


def table(results: dict[tuple[str, int], dict[str, Any]]) -> str:
    """Median ratio to the clean run of the same seed."""
    lines = [
        "| fault | closs ÷ clean, median | worst | rollbacks | seeds |",
        "|---|---|---|---|---|",
    ]
    for fault in EXPECTED:
        clean = "clean, SGD" if fault == "no_clip" else "clean"
        pairs = [
            (result["closs"] / results[clean, seed]["closs"], result["rollbacks"])
            for (name, seed), result in results.items()
            if name == fault
        ]
        if not pairs:
            continue
        ratios = [ratio for ratio, _ in pairs]
        rollbacks = sum(count for _, count in pairs)
        lines.append(
            f"| {fault} | {statistics.median(ratios):.3f} | {max(ratios):.3f} | {rollbacks} "
            f"| {len(pairs)} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    chosen = parser.parse_args([] if arguments is None else arguments)
    results: dict[tuple[str, int], dict[str, Any]] = {}
    together = [fault for fault in EXPECTED if fault != "no_clip"]
    with tempfile.TemporaryDirectory(prefix="vlamon-book-") as folder:
        book = Path(folder) / "codebook.npz"
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for group, suffix in ((together, ""), (["no_clip"], ", SGD")):
                for name, result in ends_at(group, seed, book).items():
                    results[name + (suffix if name == "clean" else ""), seed] = result
            told = {f"{name}/{at}": result for (name, at), result in results.items()}
            print(f"{json.dumps(told)}\n{table(results)}\n", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

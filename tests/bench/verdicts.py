"""Fault × verdict: what the autopsy says about each induced fault of the reference trainer.

`python -m tests.bench.verdicts [--seeds 20]` trains the micro preset with one fault at a time until
the first autopsy; the faults of a seed share the way there.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.config import load
from trainer.faults import Faults
from trainer.loop import train
from trainer.run import Options, Run
from trainer.setup import prepare

EXPECTED = {
    "lr_jump": "dynamics",
    "no_clip": "dynamics",
    "logit_scale": "dynamics",
    "corrupt_labels": "data",
    "bit_flip": "transient",
    "nan": "transient",
}
AT_STEP = 120
STEPS = 260
SGD = ("optim.name=sgd", "optim.lr=0.1")
SETTINGS = ("loop.validation_samples=0", "loop.checkpoint_every=100000", f"loop.steps={STEPS}")


def train_with(faults: Sequence[str], seed: int, book: Path) -> dict[str, dict[str, Any]]:
    """Train once up to the fault's step, and from there once for each fault, in a forked process.

    All share the preset's settings but `no_clip`: Adam's step does not grow with the gradient, so
    clipping hardly matters to it, and that fault is shown on SGD.
    """
    settings = (*SETTINGS, *(SGD if list(faults) == ["no_clip"] else ()))
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="vlamon-verdict-") as folder:
        run_dir = Path(folder)
        if book.exists():
            shutil.copy(book, run_dir / "codebook.npz")
        run = prepare(load("micro", settings), Options(run_dir=run_dir, seed=seed, emit=False))
        run.logger.handlers.clear()
        if not book.exists():
            shutil.copy(run_dir / "codebook.npz", book)
        after_step = run.guard.after_step

        def fork_at_the_fault(step: int, **given: Any) -> int:
            following = after_step(step, **given)
            if step == AT_STEP - 1 and not found:
                for fault in faults:
                    result = _in_a_fork(run, fault, seed)
                    if result is None:
                        return following  # the child trains on, with the fault
                    found[fault] = result
                run.guard.stopped = True
            return following

        run.guard.after_step = fork_at_the_fault  # type: ignore[method-assign]
        train(run)
        run.guard.close()
        if _child is not None:
            _child.finish()
    return found


class _Child:
    """What a forked process saw, and the pipe to tell it through."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.seen: dict[str, Any] = {"verdict": "not detected"}

    def finish(self) -> None:
        os.write(self.pipe, json.dumps(self.seen).encode())
        os._exit(0)


_child: _Child | None = None


def _in_a_fork(run: Run, fault: str, seed: int) -> dict[str, Any] | None:
    """The parent gets the child's findings; the child gets None and the fault."""
    global _child
    receive, send = os.pipe()
    pid = os.fork()
    if pid:
        os.close(send)
        with os.fdopen(receive, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        return dict(json.loads(told))
    _child = child = _Child(send)
    run.faults = Faults([f"{fault}@{AT_STEP * run.config.loop.batch}"], seed)
    event = run.guard.reporter.event

    def listen(kind: str, step: int, text: str, severity: str = "info", **data: Any) -> str:
        if kind == "explode" and "step" not in child.seen:
            child.seen.update(step=step, seen=text)
        if kind == "autopsy":
            child.seen.update(verdict=data["verdict"], text=text)
            child.finish()
        return event(kind, step, text, severity, **data)

    run.guard.reporter.event = listen  # type: ignore[method-assign]
    return None


def table(results: dict[tuple[str, int], dict[str, Any]], faults: Sequence[str]) -> str:
    """Fault × verdict as markdown, the expected verdict in bold."""
    columns = ("data", "dynamics", "transient", "unknown", "not detected")
    lines = ["| fault | " + " | ".join(columns) + " | batches to detection, median |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for fault in faults:
        own = [result for (name, _), result in results.items() if name == fault]
        counts = collections.Counter(result["verdict"] for result in own)
        cells = [
            f"**{counts[column]}**" if EXPECTED[fault] == column else str(counts[column] or "")
            for column in columns
        ]
        late = sorted(result["step"] - AT_STEP for result in own if "step" in result)
        median = str(late[len(late) // 2]) if late else ""
        lines.append(f"| {fault} | " + " | ".join(cells) + f" | {median} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print the table and its misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--faults", nargs="*", default=list(EXPECTED))
    chosen = parser.parse_args([] if arguments is None else arguments)
    results: dict[tuple[str, int], dict[str, Any]] = {}
    alone = [fault for fault in chosen.faults if fault == "no_clip"]
    together = [fault for fault in chosen.faults if fault != "no_clip"]
    with tempfile.TemporaryDirectory(prefix="vlamon-book-") as folder:
        book = Path(folder) / "codebook.npz"
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for group in filter(None, (together, alone)):
                for fault, result in train_with(group, seed, book).items():
                    results[fault, seed] = result
                    if result["verdict"] != EXPECTED[fault]:
                        said = result.get("text", result.get("seen", ""))
                        print(f"miss: {fault}, seed {seed}: {result['verdict']} {said}", flush=True)
    print(table(results, chosen.faults))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

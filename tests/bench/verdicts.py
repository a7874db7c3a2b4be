"""Fault × verdict: what the autopsy says about each induced fault of the reference trainer.

`python -m tests.bench.verdicts [--seeds 20]` trains the micro preset with one fault at a time until
the first autopsy. One process, no emission; about 10 s a run on a 2-core Xeon VM.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig, load
from trainer.loop import train
from trainer.run import Options, prepare

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
SETTINGS = ("loop.validation_samples=0", "loop.checkpoint_every=100000", f"loop.steps={STEPS}")


def config() -> TrainConfig:
    """The micro preset, without validation and without checkpoints."""
    return load("micro", SETTINGS)


def verdict_of(fault: str, seed: int, book: Path, strength: str = "") -> dict[str, Any]:
    """Train with one fault until the guard explains it; what it saw and said."""
    found: dict[str, Any] = {"verdict": "not detected"}
    with tempfile.TemporaryDirectory(prefix="vlamon-verdict-") as folder:
        run_dir = Path(folder)
        if book.exists():
            shutil.copy(book, run_dir / "codebook.npz")
        settings = config()
        at = AT_STEP * settings.loop.batch
        options = Options(
            run_dir=run_dir, seed=seed, induce=[f"{fault}@{at}{strength}"], emit=False
        )
        run = prepare(settings, options)
        if not book.exists():
            shutil.copy(run_dir / "codebook.npz", book)
        event = run.guard.reporter.event

        def listen(kind: str, step: int, text: str, severity: str = "info", **data: Any) -> str:
            if kind == "explode":
                found.update(step=step, seen=text)
            if kind == "autopsy":
                found.update(verdict=data["verdict"], text=text)
                run.guard.stopped = True
            return event(kind, step, text, severity, **data)

        run.guard.reporter.event = listen  # type: ignore[method-assign]
        train(run)
        run.guard.close()
    return found


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
    with tempfile.TemporaryDirectory(prefix="vlamon-book-") as folder:
        book = Path(folder) / "codebook.npz"
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for fault in chosen.faults:
                result = verdict_of(fault, seed, book)
                results[fault, seed] = result
                if result["verdict"] != EXPECTED[fault]:
                    said = result.get("text", result.get("seen", ""))
                    print(f"miss: {fault}, seed {seed}: {result['verdict']} {said}", flush=True)
    print(table(results, chosen.faults))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

"""log_train.txt of a million lines, against a bare loop of the decoder over the same bytes."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import orjson

from vlamon.sources.logfile import LogFile
from vlamon.store import RunStore

LINES = 1_000_000
PART = 100_000
NAMES = (
    "lr closs loss_ct z_loss grad_norm "
    + " ".join(f"acc_action_{slot} l1_loss_action_{slot}" for slot in range(5, 10))
).split()


def write(path: Path, lines: int, odd: float) -> None:
    """A log in which a share `odd` of the lines has a bare NaN or another order of keys."""
    rng = random.Random(0)
    with path.open("w") as file:
        for epoch in range(lines):
            names = list(NAMES)
            row = {f"train_{name}": rng.gauss(8.5, 0.3) for name in names}
            if rng.random() < odd:
                row["train_closs"] = float("nan")
            file.write(json.dumps({**row, "epoch": epoch}) + "\n")


def bare(path: Path) -> float:
    """Seconds that decoding every line takes, and nothing else."""
    begin = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                json.loads(line)
    return time.perf_counter() - begin


def load(path: Path) -> tuple[float, RunStore]:
    """Seconds until every line is in a store."""
    store = RunStore()
    begin = time.perf_counter()
    source = LogFile(str(path), follow=False)
    while not source.finished:
        for record in source.read(0.0):
            store.apply(record)
    return time.perf_counter() - begin, store


def main() -> None:
    """Print the table."""
    print("| log_train.txt | bare decoder loop | load into the store | ratio | goal |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for lines, odd, rounds in ((LINES, 0.0, 3), (PART, 0.01, 5)):
            path = Path(folder) / "log_train.txt"
            write(path, lines, odd)
            pairs = []
            for _ in range(rounds):
                decoding = bare(path)
                loading, store = load(path)
                assert store.rows == lines
                pairs.append((decoding, loading))
            decoding = statistics.median(one for one, _ in pairs)
            loading = statistics.median(two for _, two in pairs)
            ratio = statistics.median(two / one for one, two in pairs)
            size = path.stat().st_size / 1e6
            what = f"{lines:,} lines, {size:.0f} MB" + (f", {odd:.0%} with NaN" if odd else "")
            print(f"| {what} | {decoding:.2f} s | {loading:.2f} s | {ratio:.2f}× | ≤ 2 |")


if __name__ == "__main__":
    main()

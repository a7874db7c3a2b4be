"""How fast a monitor takes in a history: bytes of the socket to columns of the store.

`python -m tests.bench.decode` prints a markdown table. The floor is one NumPy copy of the same
points, measured in the same run.
"""

from __future__ import annotations

import random
import time

import numpy as np

from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.frames import pack
from vlamon.records import RunInfo
from vlamon.sources.client import Conversation, Cursor
from vlamon.store import RunStore

METRICS = 12
ROWS = 500_000
_READ = 256 << 10


def stream(rows: int, per_block: int) -> bytes:
    """What a trainer sends for that many batches, in blocks of `per_block`."""
    choose = random.Random(1)
    names = [f"metric_{index}" for index in range(METRICS)]
    sample = [{name: choose.random() for name in names} for _ in range(1024)]
    frames = [pack(messages.encode(RunInfo("run", "bench", boot="b")))]
    for seq in range(0, rows, per_block):
        part = [
            (step, step / 1000, 1e9 + step, sample[step % 1024])
            for step in range(seq, min(seq + per_block, rows))
        ]
        frames.append(pack(blocks.to_message(blocks.from_rows(seq, 0, part))))
    return b"".join(frames)


def take_in(data: bytes) -> tuple[float, int]:
    """Seconds to decode and store the stream, and the rows that arrived."""
    talk, store = Conversation(Cursor(), "bench"), RunStore()
    start = time.perf_counter()
    for first in range(0, len(data), _READ):
        for record in talk.feed(data[first : first + _READ]):
            store.apply(record)
    return time.perf_counter() - start, store.rows


def main() -> None:
    """Print the table."""
    points = np.random.default_rng(1).random(ROWS * METRICS)
    start = time.perf_counter()
    points.astype(np.float32)
    floor = time.perf_counter() - start
    print("| blocks of | rows | M points/s | times one NumPy copy |")
    print("|---|---|---|---|")
    for per_block, rows in ((4096, ROWS), (100, ROWS // 5), (3, ROWS // 50)):
        data = stream(rows, per_block)
        took, arrived = min(take_in(data) for _ in range(3))
        assert arrived == rows
        rate = rows * METRICS / took / 1e6
        times = took / (floor * rows / ROWS)
        print(f"| {per_block} rows | {rows:,} | {rate:.2f} | {times:.0f} |", flush=True)


if __name__ == "__main__":
    main()

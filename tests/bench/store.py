"""The store at 10 million rows of 12 metrics: memory, speed of filling, time of an envelope."""

from __future__ import annotations

import statistics
import time

import numpy as np

from vlamon.records import BatchBlock, Column
from vlamon.store import RunStore

METRICS = tuple(f"metric_{index}" for index in range(12))
BLOCK = 4096
PIXELS = 200
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def fill(store: RunStore, rows: int, values: np.ndarray) -> float:
    """Seconds to take `rows` further batches in."""
    first = store.rows
    begin = time.perf_counter()
    for start in range(first, first + rows, BLOCK):
        step = np.arange(start, min(start + BLOCK, first + rows))
        column = Column(values[: len(step)])
        store.apply(
            BatchBlock(start, 0, step, step / 1312, step * 0.3, dict.fromkeys(METRICS, column))
        )
    return time.perf_counter() - begin


def envelope_seconds(store: RunStore) -> float:
    """Median time of the whole run's envelope, one metric, edges nobody asked for before."""
    times = []
    for index in range(30):
        edges = np.linspace(0, store.rows - index, PIXELS + 1)
        begin = time.perf_counter()
        store.envelope(METRICS[index % len(METRICS)], edges)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print the tables."""
    values = np.random.default_rng(0).normal(8.5, 0.3, BLOCK)
    store = RunStore()
    seconds = 0.0
    print(f"| rows × 12 metrics | envelope, {PIXELS} pixels | last/first |")
    print("|---|---|---|")
    first = None
    for size in SIZES:
        seconds += fill(store, size - store.rows, values)
        took = envelope_seconds(store)
        first = first or took
        print(f"| {size:,} | {took * 1e3:.2f} ms | {took / first:.1f}× |")

    raw = store.rows * len(METRICS) * 4
    steps_and_times = store.rows * 16
    floats = np.empty(store.rows, np.float32)
    begin = time.perf_counter()
    for _ in METRICS:  # what merely putting the same blocks into one array costs
        for start in range(0, store.rows, BLOCK):
            end = min(start + BLOCK, store.rows)
            floats[start:end] = values[: end - start]
    copying = time.perf_counter() - begin
    points = store.rows * len(METRICS)
    print()
    print("| 10,000,000 rows × 12 metrics | | goal |")
    print("|---|---|---|")
    size = (store.nbytes - steps_and_times) / raw
    print(f"| memory, without steps and times, of raw float32 | {size:.3f}× | ≤ 1.3 |")
    print(f"| filling | {points / seconds / 1e6:.0f} million points/s | ≥ 2 with decoding |")
    print(f"| filling, of a bare copy into one float32 array | {seconds / copying:.1f}× | |")


if __name__ == "__main__":
    main()

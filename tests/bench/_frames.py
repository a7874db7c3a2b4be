"""A dashboard that paints frame after frame without waiting, and counts what that costs.

    python -m tests.bench._frames FRAMES FILE

Each frame has one new batch and is a tenth of a second later on the clock that paces the painting.
Writes the processor time of a frame in ms, of the thread that paints, into the file.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.bench._logging_run import METRICS, history, live
from tests.vlamon.tui.fake_feed import WEIGHTS, FakeFeed, gpu, info, status
from vlamon.records import BatchBlock, Column, Link
from vlamon.tui import painter
from vlamon.tui.app import Dashboard
from vlamon.tui.options import Options
from vlamon.tui.screen import MainScreen

HISTORY = 1000
WARM_UP = 100
"""Frames before the first one that counts."""


def batches(first: int, columns: Mapping[str, Sequence[float] | np.ndarray]) -> BatchBlock:
    """Rows from a step on."""
    found = {name: Column(np.asarray(values, dtype=float)) for name, values in columns.items()}
    step = np.arange(first, first + len(columns["closs"]))
    weights = WEIGHTS if first == 0 else {}
    return BatchBlock(first, 0, step, step / 1312, 1.76e9 + step * 0.1, found, weights)


class Counting(Dashboard):
    """Paints as soon as it stands, and leaves."""

    def __init__(self, feed: FakeFeed, frames: int, file: str) -> None:
        super().__init__(feed, Options())
        self.fake, self.frames, self.file = feed, frames, file

    def on_ready(self) -> None:
        super().on_ready()
        self.set_timer(1.0, self.count)

    async def count(self) -> None:
        """Paint, and write what it cost."""
        screen, now = self.screen, time.monotonic()
        assert isinstance(screen, MainScreen)
        self.fake.on_change = None
        begin = 0.0
        for frame in range(WARM_UP + self.frames):
            if frame == WARM_UP:
                begin = time.thread_time()
            now += 0.1
            painter.time = SimpleNamespace(monotonic=lambda now=now: now)  # type: ignore[assignment]
            step = HISTORY + frame
            row: dict[str, Any] = {name: [live(step)[name]] for name in METRICS}
            self.fake.push(batches(step, row))
            screen.painter.paint()
            await asyncio.sleep(0)  # the rows are written when this turn of the loop has ended
            await asyncio.sleep(0)
        spent = time.thread_time() - begin
        Path(self.file).write_text(f"{1000 * spent / self.frames:.2f}")
        self.exit()


if __name__ == "__main__":
    fed = FakeFeed()
    fed.push(Link("live"), info(total_steps=None), batches(0, history(HISTORY, -1)))
    fed.push(status(step=HISTORY, attempt=0, guard=""), gpu(devices=0))
    Counting(fed, int(sys.argv[1]), sys.argv[2]).run()

"""Logs: how fast an output.log is on screen, loads and is followed.

`VLAMON_BENCH_LOG_MB` sets the size of the log (200; 1000 for the figures of docs/benchmarks.md).
The loop that loading is held against is what people write: a line at a time, `re` and `float`.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from vlamon.sources.feed import Feed
from vlamon.sources.multi_file import opened

MEGABYTES = int(os.environ.get("VLAMON_BENCH_LOG_MB", "200"))
METERS = (
    *(f"acc_action_{slot}" for slot in range(5, 10)),
    *(f"l1_loss_action_{slot}" for slot in range(5, 10)),
    *("acc_image_8", "acc_image_9", "grad_norm", "closs", "loss_ct", "z_loss"),
)
LEVELS = np.array([0.2] * 5 + [0.5] * 5 + [0.015] * 2 + [25, 8.5, 0.13, 60])
ITERATIONS = 1312
HEAD = re.compile(r"Epoch: \[(\d+)\]\s+\[\s*(\d+)/(\d+)\]")
METER = re.compile(r"([\w/]+): ([-+.\deE]+) \(([-+.\deE]+)\)")
FRAME = 1 / 30


def write_log(path: Path, size: int) -> int:
    """A log of true averages, of 1000 updates and the epoch; returns how many numbers it holds."""
    rng = np.random.default_rng(1)
    rows = range(0, ITERATIONS, 10)
    values = LEVELS * rng.lognormal(0, 0.1, (ITERATIONS, len(METERS)))
    sums, counts = np.cumsum(values, axis=0), np.arange(1, ITERATIONS + 1)[:, None]
    recent = sums.copy()
    recent[1000:] -= sums[:-1000]
    printed = zip((recent / np.minimum(counts, 1000))[::10], (sums / counts)[::10], strict=True)
    cells = [
        "  ".join(f"{n}: {w:.4f} ({v:.4f})" for n, w, v in zip(METERS, *pair, strict=True))
        for pair in printed
    ]
    epoch = written = lines = 0
    with path.open("w", buffering=1 << 20) as log:
        while written < size:
            for iteration, row in zip(rows, cells, strict=True):
                clock = (epoch * ITERATIONS + iteration) * 3 % 86400
                written += log.write(
                    f"[rank0:INFO|misc.py:146] 2025-11-24 {clock // 3600:02d}:"
                    f"{clock // 60 % 60:02d}:{clock % 60:02d},077 >> Epoch: [{epoch}]  "
                    f"[{iteration}/{ITERATIONS}]  lr: 0.000005  {row}  time: 2.9370  "
                    f"data: 0.1802  samples/sec: 21.79  max mem: 61873\n"
                )
                lines += 1
            epoch += 1
    return lines * (2 * len(METERS) + 6)


def loop_seconds(path: Path, most: int) -> tuple[float, int]:
    """The loop that people write, over at most so many characters: seconds and characters."""
    table: dict[str, tuple[list[float], list[float]]] = {}
    steps: list[int] = []
    begun, size = time.process_time(), 0
    with path.open() as lines:
        for line in lines:
            size += len(line)
            if size > most:
                break
            head = HEAD.search(line)
            if head is None:
                continue
            steps.append(int(head[1]) * int(head[3]) + int(head[2]))
            for name, window, average in METER.findall(line):
                cell = table.setdefault(name, ([], []))
                cell[0].append(float(window))
                cell[1].append(float(average))
    return time.process_time() - begun, size


class Loaded:
    """A log opened as the dashboard opens it."""

    def __init__(self, path: Path) -> None:
        self._cpu, self._begun = time.process_time(), time.perf_counter()
        self.first = self.first_rows = 0.0
        self.feed = Feed(opened(str(path), follow=True, format_name=None, newest_first=True))
        self.feed.on_change = self._changed
        self._live = threading.Event()
        self.feed.start()

    def _changed(self) -> None:
        store = self.feed.store
        if store.rows and not self.first:
            self.first = time.perf_counter() - self._begun
            self.first_rows = store.rows
        if store.link is not None and store.link.text.startswith("following"):
            self._live.set()

    def wait(self) -> tuple[float, float]:
        """CPU seconds and wall seconds until the whole log was read."""
        self._live.wait(300)
        return time.process_time() - self._cpu, time.perf_counter() - self._begun


def first_screen(path: Path) -> float:
    """Seconds from starting the command to the first painted values, in a terminal of its own."""
    socket = f"bench-{os.getpid()}"
    command = f"{sys.executable} -m vlamon tail {path}"
    begun = time.perf_counter()
    tmux = ["tmux", "-L", socket]
    subprocess.run([*tmux, "new-session", "-d", "-x", "120", "-y", "40", command], check=True)
    try:
        while time.perf_counter() - begun < 30:
            seen = subprocess.run(
                [*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=False
            ).stdout
            if "closs" in seen and re.search(r"[⠁-⣿]{3}", seen):
                return time.perf_counter() - begun
            time.sleep(0.02)
        return float("nan")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def follow_seconds(path: Path, loaded: Loaded, times: int = 30) -> list[float]:
    """Seconds from appending a line to its value in the store, under inotify."""
    with path.open("rb") as file:
        file.seek(-4096, os.SEEK_END)
        last = file.read().splitlines(keepends=True)[-1]
    spent = []
    changed = threading.Event()
    loaded.feed.on_change = changed.set
    with path.open("ab", buffering=0) as log:
        for turn in range(times):
            line = re.sub(rb"Epoch: \[\d+\]  \[\d+/", b"Epoch: [99999]  [%d0/" % turn, last)
            rows = loaded.feed.store.rows
            time.sleep(0.05)
            begun = time.perf_counter()
            log.write(line)
            while loaded.feed.store.rows == rows and time.perf_counter() - begun < 5:
                changed.wait(0.5)
                changed.clear()
            spent.append(time.perf_counter() - begun)
    return spent


def import_seconds() -> float:
    """What starting Python with the screen's library alone takes now, for comparison."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    return time.perf_counter() - begun


def resident() -> int:
    """Bytes of memory in use."""
    with open("/proc/self/statm") as counts:
        return int(counts.read().split()[1]) * resource.getpagesize()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output.log"
        numbers = write_log(path, MEGABYTES * 1_000_000)
        size = path.stat().st_size
        before = resident()
        loaded = Loaded(path)
        cpu, wall = loaded.wait()
        held = resident() - before
        loop, characters = loop_seconds(path, 40_000_000)
        ratio = (loop / characters) / (cpu / size)
        follow = sorted(follow_seconds(path, loaded))
        loaded.feed.close()
        screen, bare = first_screen(path), import_seconds()
        print(f"| log of {size / 1e6:,.0f} MB, {numbers / 1e6:,.1f} M numbers | figure | goal |")
        print("|---|---|---|")
        print(f"| newest rows in the store | {loaded.first:.2f} s ({loaded.first_rows} rows) | |")
        print(
            f"| first painted charts in tmux, from the shell | {screen:.2f} s "
            f"({screen / bare:.1f}× `import textual.app`) | < 1 s |"
        )
        print(f"| all of it read (wall; CPU) | {wall:.1f} s; {cpu:.1f} s | |")
        print(f"| speed against a line-by-line re + float loop | {ratio:.1f}× | ≥ 2× |")
        print(f"| memory against 8 bytes a number | {held / (8 * numbers):.2f}× | < 2× |")
        print(
            f"| appended line in the store, median / worst of {len(follow)} | "
            f"{1000 * follow[len(follow) // 2]:.1f} / {1000 * follow[-1]:.1f} ms | "
            f"two frames, {2000 * FRAME:.0f} ms |"
        )


if __name__ == "__main__":
    main()

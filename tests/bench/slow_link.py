"""A training watched over a far, thin line: `python -m tests.bench.slow_link [ROWS]`.

A monitor's source reads through a real ssh and a real sshd; between them a proxy delays and paces
the bytes of the TCP connection (tests/faults/slow_link.py), because `tc netem` is a kernel module
that few machines load. Beside it the same over a line without delay.
"""

from __future__ import annotations

import os
import random
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.slow_link import SlowLink
from tests.faults.sshd import Ssh, remote_vlamon, running
from vlamon import Emitter
from vlamon.protocol.commands import Command
from vlamon.records import Backfill, BatchBlock, Gap, Record, Reply, RunInfo
from vlamon.sources.older_rows import NEWEST
from vlamon.sources.ssh import ssh_source
from vlamon.sources.stream import StreamSource

HISTORY = 100_000
HERTZ = 10.0
LIVE = 20.0
LINES = {"200 ms, 1 Mbit/s": (0.1, 1e6), "none": (0.0, 1e9)}


def training(path: str, history: int) -> None:
    """A history of a day, then ten batches a second, until stdin ends."""
    choose = random.Random(0)
    weights, run_dir = {"closs": 1.0, "loss_ct": 10.0}, Path(path).parent / "run"
    with Emitter(path, run_dir=run_dir, weights=weights) as emitter:
        for step in range(history):
            emitter.log(
                step, epoch=step / 1312, closs=choose.gauss(9 - step / history, 0.2),
                loss_ct=choose.gauss(0.12, 0.02), z_loss=30.0 + choose.gammavariate(2, 2),
                grad_norm=choose.lognormvariate(0, 0.4), lr=1e-5,
            )  # fmt: skip
            if step % 20_000 == 0:
                time.sleep(0.2)  # let the sidecar keep up
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 1 / HERTZ)[0]:
            step += 1
            emitter.log(step, epoch=step / 1312, closs=choose.gauss(8, 0.2), loss_ct=0.1, lr=1e-5)
            for command in emitter.commands():
                command.done({"step": step})


@dataclass
class Watch:
    """A source, and what it has read."""

    source: StreamSource
    rows: int = 0
    """Rows so far, those from before the newest ones included."""
    gaps: int = 0
    greeted: float = 0.0
    replied: float = 0.0

    def read(self, seconds: float) -> list[float]:
        """Read for so long; how old each row was when it came."""
        ages: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for record in self.source.read(0.02):
                ages += self._take(record)
        return ages

    def _take(self, record: Record) -> list[float]:
        if isinstance(record, Backfill):
            self.rows += sum(
                block.rows for block in record.records if isinstance(block, BatchBlock)
            )
        if isinstance(record, BatchBlock):
            self.rows += record.rows
            return [time.time() - when for when in record.time.tolist()]
        self.gaps += isinstance(record, Gap)
        if isinstance(record, RunInfo) and not self.greeted:
            self.greeted = time.monotonic()
        if isinstance(record, Reply):
            self.replied = time.monotonic()
        return []

    def until_current(self) -> list[float]:
        """Read until rows are fresh; their ages."""
        while True:
            ages = self.read(0.1)
            if ages and ages[-1] < 1.5:
                return ages


def measure(ssh: Ssh, path: str, history: int, delay: float, rate: float) -> list[str]:
    """The cells of one line."""
    port = ssh.options[ssh.options.index("-p") + 1]
    with SlowLink(int(port), delay, rate) as link:
        options = tuple(str(link.near) if word == port else word for word in ssh.command())
        began = time.monotonic()
        watch = Watch(ssh_source(ssh.host, path, newest=NEWEST, ssh=options))
        watch.until_current()
        shown, loading = {"newest": time.monotonic() - began}, list[float]()
        while watch.rows < history:
            loading += watch.read(0.1)
            if watch.rows >= history // 10:
                shown.setdefault("tenth", time.monotonic() - began)
        whole, size = time.monotonic() - began, link.down
        start = time.monotonic()
        ages = watch.read(LIVE)
        live = 8 * (link.down - size) / (time.monotonic() - start)
        asked = time.monotonic()
        watch.source.send(Command("bench", "note", {"text": "hello"}))
        while not watch.replied:
            watch.read(0.02)
        before = link.down
        link.cut()
        cut = time.monotonic()
        watch.until_current()
        back, again = time.monotonic() - cut, link.down - before
        watch.source.close()
    assert watch.gaps == 0, "rows are missing"
    return [
        f"{watch.greeted - began:.1f} s",
        f"{shown['newest']:.1f} s",
        f"{shown['tenth']:.1f} s",
        f"{whole:.1f} s, {size / 1e6:.2f} MB",
        lateness(loading),
        lateness(ages),
        f"{live / 1000:.0f} kbit/s",
        f"{1000 * (watch.replied - asked):.0f} ms",
        f"{back:.1f} s, {again / 1000:.0f} kB",
    ]


def lateness(ages: list[float]) -> str:
    """Median and 99th percentile of how old rows were when they came."""
    late = sorted(ages)
    return f"{1000 * statistics.median(late):.0f} / {1000 * late[int(0.99 * len(late))]:.0f} ms"


def main(history: int) -> None:
    """Print the table of docs/clusters.md."""
    print(
        f"| line | greeting | newest {NEWEST:,} rows | newest {history // 10:,} | all {history:,}"
        " | live rows meanwhile, median / 99 % late | live rows after it | live | a command's reply"
        " | back after a cut |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    os.environ["VLAMON_REMOTE"] = f"{remote_vlamon()} relay"
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as ssh:
        path = f"{folder}/vla.sock"
        served = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.slow_link", path, str(history)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert served.stdout is not None
        served.stdout.readline()
        for name, (delay, rate) in LINES.items():
            print(
                f"| {name} | {' | '.join(measure(ssh, path, history, delay, rate))} |", flush=True
            )
        served.communicate()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        training(sys.argv[1], int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else HISTORY)

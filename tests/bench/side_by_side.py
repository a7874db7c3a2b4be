"""Dashboards of several checkouts on one live run, at the same time: what each costs.

    python -m tests.bench.side_by_side [--seconds 30] [--steps 1000] CHECKOUT CHECKOUT …

On a machine with other work, figures taken one after the other tell more of the others than of two
versions; dashboards that watch one run at one time share everything. Processor time is that of all
threads, by the scheduler's own account.
"""

from __future__ import annotations

import argparse
import os
import select
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench._terminal import Terminal
from tests.bench.screen import PYTHON, VLAMON, Trainer

HERTZ = 10.0


def spent(pid: int) -> float:
    """Processor seconds of a process's threads so far."""
    clocks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(clock.read_text().split()[0]) for clock in clocks) / 1e9


def read(terminals: Sequence[Terminal], seconds: float) -> None:
    """Take what all of them write."""
    end = time.monotonic() + seconds
    by_descriptor = {terminal.fd: terminal for terminal in terminals}
    while (left := end - time.monotonic()) > 0:
        for descriptor in select.select(list(by_descriptor), [], [], left)[0]:
            by_descriptor[descriptor].bytes += len(os.read(descriptor, 1 << 16))


def main() -> None:
    """Measure and print a row a checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=1000, help="batches before the measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        path = f"{folder}/run.sock"
        trainer = Trainer(path, given.steps, HERTZ)
        # -P: the working directory's vlamon is the one of this checkout.
        command = (PYTHON, "-P", *VLAMON[1:], "watch", "--socket", path)
        terminals = [
            Terminal(command, environ={"PYTHONPATH": str(checkout.resolve())})
            for checkout in given.checkouts
        ]
        read(terminals, 6 + given.steps / 300_000)
        before = [(spent(one.pid), one.bytes) for one in terminals]
        trainer.go(round(given.seconds * HERTZ))
        read(terminals, given.seconds)
        print("| checkout | CPU at 10 Hz | KB/s |\n|---|---|---|")
        for checkout, terminal, (cpu, count) in zip(
            given.checkouts, terminals, before, strict=True
        ):
            share = 100 * (spent(terminal.pid) - cpu) / given.seconds
            rate = (terminal.bytes - count) / given.seconds / 1000
            print(f"| {checkout} | {share:.2f} % | {rate:.1f} |", flush=True)
        for terminal in terminals:
            terminal.close()
        trainer.close()


if __name__ == "__main__":
    main()

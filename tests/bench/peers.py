"""Other terminal monitors beside the dashboard, interleaved: CPU and bytes of a run at 10 Hz.

    VLAMON_BENCH_PEERS=/path/to/venv python -m tests.bench.peers

The environment has `wandb` and `terminalboard` from PyPI; without it the peers are named and not
measured. Each gets the same five metrics with a history of 1,000 steps.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench._terminal import Terminal
from tests.bench.screen import ENVIRON, PYTHON, watched

SECONDS = 15.0
ROUNDS = 3


def children_cpu(pid: int) -> float:
    """Processor time of a process and of all below it that still run, in seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    total, wanted = 0, {pid}
    while wanted:
        total += sum(stats[one][1] for one in wanted if one in stats)
        wanted = {child for child, (parent, _) in stats.items() if parent in wanted}
    return total / ticks


@contextmanager
def peer(kind: str, venv: Path) -> Iterator[tuple[subprocess.Popen[str], Terminal]]:
    """A run that logs for a peer, and the peer watching it."""
    python = str(venv / "bin" / "python") if kind == "wandb" else PYTHON
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        run = subprocess.Popen(
            [python, "-m", "tests.bench._peer_run", kind, folder, "1000", "10"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            env={**os.environ, **ENVIRON},
        )
        assert run.stdout is not None
        while run.stdout.readline().strip() != "ready":
            pass
        command: tuple[str, ...] = (str(venv / "bin" / "terminalboard"), folder)
        if kind == "wandb":
            files = sorted(Path(folder).rglob("*.wandb"))
            command = (str(venv / "bin" / "wandb"), "leet", "run", str(files[-1]))
        terminal = Terminal(command, environ={"HOME": folder})
        terminal.keep_screen = False
        try:
            terminal.pump(12)
            yield run, terminal
        finally:
            terminal.close()
            assert run.stdin is not None
            run.stdin.close()
            run.wait(timeout=30)


def measure(go: subprocess.Popen[str], terminal: Terminal) -> tuple[float, float]:
    """CPU in percent and bytes a second while the run logs at 10 Hz."""
    assert go.stdin is not None
    terminal.keep_screen = False
    go.stdin.write(f"go {round(SECONDS * 10)}\n")
    go.stdin.flush()
    cpu, count, begin = children_cpu(terminal.pid), terminal.bytes, time.monotonic()
    while time.monotonic() < begin + SECONDS:
        terminal.pump(0.5)
    spent = time.monotonic() - begin
    return (
        100 * (children_cpu(terminal.pid) - cpu) / spent,
        (terminal.bytes - count) / spent / 1000,
    )


def main() -> None:
    """Measure all in turn, several rounds, and print the table."""
    given = os.environ.get("VLAMON_BENCH_PEERS")
    names = {"vlamon": "vlamon watch", "wandb": "wandb leet", "tensorboard": "terminalboard"}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        with watched(1000, 10.0) as (trainer, terminal):
            found["vlamon"].append(measure(trainer.process, terminal))
            trainer.logged()
        for kind in ("wandb", "tensorboard") if given else ():
            with peer(kind, Path(str(given))) as (run, terminal):
                found[kind].append(measure(run, terminal))
    print("| monitor | CPU at 10 Hz | KB/s at 10 Hz | CPU against vlamon |")
    print("|---|---|---|---|")
    own = statistics.median(cpu for cpu, _ in found["vlamon"])
    for kind, name in names.items():
        if not found[kind]:
            print(f"| {name} | not installed (set VLAMON_BENCH_PEERS) | | |")
            continue
        cpu = statistics.median(cpu for cpu, _ in found[kind])
        rate = statistics.median(rate for _, rate in found[kind])
        print(f"| {name} | {cpu:.1f} % | {rate:.1f} | {cpu / own:.1f}× |")


if __name__ == "__main__":
    sys.exit(main())

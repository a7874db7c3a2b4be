"""How long the quick commands take, in start-up times of an interpreter that imports click.

Each round starts every program once, so that a busy machine slows all of them; the figure is the
median of the rounds' ratios. A real training runs beside it for `vlamon status`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.vlamon.commands.training import environment, training

ROUNDS = 15
BASE = "`python -c 'import click'`"


def seconds(arguments: Sequence[str]) -> float:
    """Wall time of one start."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, env=environment(), check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "vla.sock"
        with training(socket):
            programs = {
                BASE: ["-c", "import click"],
                "`vlamon --help`": ["-m", "vlamon", "--help"],
                "`vlamon status`": ["-m", "vlamon", "status", "--socket", str(socket)],
                "`vlamon ctl note`": ["-m", "vlamon", "ctl", "--socket", str(socket), "note", "x"],
                "`vlamon explain closs`": ["-m", "vlamon", "explain", "closs"],
            }
            for arguments in programs.values():  # once to write the bytecode
                seconds(arguments)
            rounds = [{n: seconds(a) for n, a in programs.items()} for _ in range(ROUNDS)]
    print("| start of | median | of `import click` | goal |")
    print("|---|---|---|---|")
    for name in programs:
        took = statistics.median(one[name] for one in rounds)
        ratio = statistics.median(one[name] / one[BASE] for one in rounds)
        goal = "< 2.5" if name in ("`vlamon --help`", "`vlamon status`") else ""
        print(f"| {name} | {took * 1e3:.0f} ms | {ratio:.2f}× | {goal} |")


if __name__ == "__main__":
    main()

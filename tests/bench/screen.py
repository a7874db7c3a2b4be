"""The dashboard as its user meets it: a 160×45 pty, five charts, a run that logs.

    python -m tests.bench.screen [--seconds 20] [--steps 1000000] [NAME …]

Latency is from `Emitter.log` to the read of the bytes that put the value into the chart's title.
CPU is the dashboard's alone. Everything that is compared runs interleaved in one session.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench._terminal import Terminal

PYTHON = sys.executable
VLAMON = (PYTHON, "-c", "from vlamon.cli import main; main()")
ENVIRON = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    name: str
    value: str
    goal: str
    holds: bool | None = None


class Trainer:
    """A process that logs with `vlamon.Emitter`."""

    def __init__(self, path: str, steps: int, hertz: float, spike: int = -1) -> None:
        self.hertz = hertz
        self.process = subprocess.Popen(
            [PYTHON, "-m", "tests.bench._logging_run", path, str(steps), str(hertz), str(spike)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRON},
            bufsize=1,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.out, self.into = self.process.stdout, self.process.stdin
        if self.out.readline().strip() != "ready":
            raise RuntimeError("the logging run did not start")

    def go(self, batches: int) -> None:
        """Log so many batches from now on."""
        self.into.write(f"go {batches}\n")
        self.into.flush()

    def logged(self) -> list[tuple[str, float]]:
        """Return the batches of the last `go`: what the screen reads, and when it was logged."""
        found = []
        for line in self.out:
            if line.strip() == "done":
                break
            value, moment = line.split()
            found.append((value, float(moment)))
        return found

    def close(self) -> None:
        """End it."""
        self.into.write("\n")
        self.into.close()
        self.process.wait(timeout=20)


@contextmanager
def watched(
    steps: int, hertz: float, *options: str, spike: int = -1
) -> Iterator[tuple[Trainer, Terminal]]:
    """A run with a history and a dashboard on it that shows the last value."""
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        path = f"{folder}/run.sock"
        trainer = Trainer(path, steps, hertz, spike)
        terminal = Terminal((*VLAMON, "watch", "--socket", path, *options), environ=ENVIRON)
        try:
            terminal.pump(60, terminal.has_curve)
            terminal.pump(3 + steps / 500_000)
            yield trainer, terminal
        finally:
            terminal.close()
            trainer.close()


def closs_readout(terminal: Terminal) -> str:
    """What the title of the closs chart says."""
    found = re.search(r"closs.*? \(batch (\d+\.\d{3})\)", terminal.line(1))
    return found.group(1) if found else ""


@dataclass(slots=True)
class Live:
    """What was measured while a run logged."""

    latencies: list[float]
    cpu: float
    bytes_per_second: float


def live(trainer: Trainer, terminal: Terminal, seconds: float) -> Live:
    """Let the run log and watch how its values arrive."""
    batches = max(5, round(seconds * trainer.hertz))
    seen: dict[str, float] = {}
    terminal.pump(0.3)
    cpu, count, begin = terminal.cpu_seconds(), terminal.bytes, time.monotonic()
    trainer.go(batches)
    end = begin + batches / trainer.hertz + 0.5
    while time.monotonic() < end:
        terminal.pump(min(0.5, max(0.01, end - time.monotonic())), lambda: True)
        value = closs_readout(terminal)
        if value and value not in seen:
            seen[value] = terminal.last_read
    spent = time.monotonic() - begin
    latencies = [seen[value] - moment for value, moment in trainer.logged() if value in seen]
    return Live(
        [latency for latency in latencies if latency > 0],
        100 * (terminal.cpu_seconds() - cpu) / spent,
        (terminal.bytes - count) / spent,
    )


def p95(values: list[float]) -> float:
    """The value that 95 % do not exceed, in ms; NaN without values."""
    if len(values) < 2:
        return float("nan")
    return 1000 * statistics.quantiles(values, n=20)[-1]


def row(name: str, value: float, unit: str, limit: float) -> Figure:
    """A figure that has a goal to stay below."""
    return Figure(name, f"{value:.4g} {unit}", f"≤ {limit:g} {unit}", value <= limit)


def measure_live(seconds: float, steps: int) -> list[Figure]:
    """Latency, CPU and bytes, with a short and with a long history."""
    figures = []
    with watched(1000, 1.0) as (trainer, terminal):
        found = live(trainer, terminal, seconds)
        figures.append(row("log → screen, p95, 1 Hz", p95(found.latencies), "ms", 60))
    for history, limit in ((1000, 5.0), (steps, 6.0)):
        with watched(history, 10.0) as (trainer, terminal):
            found = live(trainer, terminal, seconds)
            name = f"{history:,} points a metric"
            late = p95(found.latencies)
            figures.append(row(f"log → screen, p95, 10 Hz, {name}", late, "ms", 110))
            figures.append(row(f"CPU at 10 Hz, {name}", found.cpu, "%", limit))
            figures.append(
                row(f"bytes/s at 10 Hz, {name}", found.bytes_per_second / 1000, "KB/s", 15)
            )
    with watched(1000, 10.0, "--low-bandwidth") as (trainer, terminal):
        found = live(trainer, terminal, seconds)
        figures.append(
            row("bytes/s at 10 Hz, --low-bandwidth", found.bytes_per_second / 1000, "KB/s", 3)
        )
    return figures


def journal_of(folder: str, steps: int, spike: int = -1) -> str:
    """A journal with a whole history, as a training leaves it."""
    command = [PYTHON, "-m", "tests.bench._logging_run", folder, str(steps), "1", str(spike)]
    run = subprocess.run(
        command, input="\n", text=True, stdout=subprocess.PIPE, env={**os.environ, **ENVIRON}
    )
    run.check_returncode()
    return f"{folder}/run.vlaj"


def settled(terminal: Terminal, quiet: float, limit: float) -> None:
    """Read until nothing was written for `quiet` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = terminal.bytes
        terminal.pump(quiet)
        if terminal.bytes == before:
            return


def measure_opening(seconds: float, steps: int) -> list[Figure]:
    """Opening a journal of a million steps, and what then costs what."""
    del seconds
    figures = []
    spike = steps * 5 // 8 + 1234
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        path = journal_of(folder, steps, spike)
        terminal = Terminal((*VLAMON, "watch", path), environ=ENVIRON)
        terminal.pump(60, terminal.has_curve)
        first = terminal.last_read - terminal.started
        last = f"{steps - 1:,}"
        if not terminal.pump(60, lambda: last in terminal.line(0)):
            raise RuntimeError("the dashboard never showed the last step")
        whole = terminal.last_read - terminal.started
        settled(terminal, 1.0, 10)
        figures.append(row(f"open a journal of {steps:,} × 5: first curve", first, "s", 0.5))
        figures.append(row(f"open a journal of {steps:,} × 5: all of it", whole, "s", 3.0))
        resident, peak = terminal.memory()
        figures.append(row(f"memory with {5 * steps:,} points", resident, "MB", 110))
        figures.append(row("memory, peak", peak, "MB", 130))
        seen = any("↑" in line[: terminal.columns // 3] for line in terminal.lines()[1:4])
        figures.append(Figure("one bad batch of them is visible", str(seen), "always", seen))
        cpu, count, begin = terminal.cpu_seconds(), terminal.bytes, time.monotonic()
        terminal.pump(20, lambda: False)
        spent = time.monotonic() - begin
        used = 100 * (terminal.cpu_seconds() - cpu) / spent
        figures.append(row("idle: bytes/s", (terminal.bytes - count) / spent, "B/s", 0))
        figures.append(row("idle: CPU", used, "%", 0.3))
        middle, wall, used = keys(terminal)
        figures.append(row("redraw after a key (median of 40)", middle, "ms", 20))
        figures.append(row("redraw after a key (p95)", wall, "ms", 20))
        figures.append(row("redraw after a key, processor time", used, "ms", 20))
        terminal.close()
    return figures


def keys(terminal: Terminal) -> tuple[float, float, float]:
    """Zoom, pan and change the scale; give median and p95 of the time from a key to the last byte
    of its frame, and the mean processor time, in ms."""
    times = []
    terminal.keep_screen = False  # interpreting a frame takes longer than drawing it
    cpu = terminal.cpu_seconds()
    pressed_keys = ("z", "z", "<", "<", "l", "l", "Z", "Z") * 5
    for key in pressed_keys:
        settled(terminal, 0.15, 2)
        pressed = time.monotonic()
        before = terminal.bytes
        terminal.press(key)
        terminal.pump(0.2)
        if terminal.bytes > before:
            times.append(terminal.last_read - pressed)
    used = 1000 * (terminal.cpu_seconds() - cpu) / len(pressed_keys)
    return 1000 * statistics.median(times), p95(times), used


def measure_start(seconds: float, steps: int) -> list[Figure]:
    """From the command to a curve, against the import of textual.app alone; interleaved."""
    del seconds, steps
    starts, imports = [], []
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        path = journal_of(folder, 1000)
        for _ in range(9):
            begin, used = time.monotonic(), os.times()
            subprocess.run([PYTHON, "-c", "import textual.app"], check=True)
            cpu = sum(os.times()[2:4]) - sum(used[2:4])
            imports.append((time.monotonic() - begin, cpu))
            terminal = Terminal((*VLAMON, "watch", path), environ=ENVIRON)
            terminal.pump(20, terminal.has_curve)
            starts.append((terminal.last_read - terminal.started, terminal.cpu_seconds()))
            terminal.close()
    figures = []
    for at, what in ((0, "time"), (1, "processor time")):
        start = statistics.median(found[at] for found in starts)
        alone = statistics.median(found[at] for found in imports)
        name = f"first curve, {what} ({start:.2f} s) against `import textual.app`"
        figures.append(row(name, start / alone, "×", 2.0))
    return figures


def measure_tmux(seconds: float, steps: int) -> list[Figure]:
    """The same screen inside tmux: what its client gets, and whether a curve is ever gone."""
    del steps
    if shutil.which("tmux") is None:
        return [Figure("inside tmux", "tmux is not installed", "")]
    server = ("tmux", "-L", f"vlamon-bench-{os.getpid()}", "-f", "/dev/null")
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        path = f"{folder}/run.sock"
        trainer = Trainer(path, 1000, 10.0)
        inside = " ".join(map(shlex.quote, (*VLAMON, "watch", "--socket", path)))
        start = ("new-session", "-d", "-x", "160", "-y", "45", f"exec {inside}")
        environ = {**os.environ, **ENVIRON, "TERM": "xterm-256color", "COLORTERM": ""}
        subprocess.run([*server, *start], check=True, env=environ)
        subprocess.run([*server, "set", "-g", "status", "off"], check=True, env=environ)
        terminal = Terminal((*server, "attach"), environ={"COLORTERM": ""})
        try:
            terminal.pump(30, terminal.has_curve)
            terminal.pump(3)
            count, clears, begin = terminal.bytes, terminal.clears, time.monotonic()
            trainer.go(round(seconds * 10))
            end, gone = begin + seconds, 0
            while time.monotonic() < end:
                terminal.pump(0.2, lambda: True)
                gone += not terminal.has_curve()
            trainer.logged()
            rate = (terminal.bytes - count) / (time.monotonic() - begin) / 1000
            cleared = terminal.clears - clears
            return [
                row("bytes/s at 10 Hz to the client of tmux", rate, "KB/s", 15),
                row("clears of the screen or of a line's end in it", cleared, "", 0),
                row("reads after which a curve was gone", gone, "", 0),
            ]
        finally:
            subprocess.run([*server, "kill-server"], check=False, env=environ)
            terminal.close()
            trainer.close()


def measure_frames(seconds: float, steps: int) -> list[Figure]:
    """Processor time of the painting thread a frame, where one follows the other: on a machine with
    other work it tells two versions apart, which CPU at 10 Hz does not."""
    del seconds, steps
    with tempfile.TemporaryDirectory(prefix="vlamon-bench-") as folder:
        out = Path(folder, "cost")
        command = (PYTHON, "-m", "tests.bench._frames", "500", str(out))
        terminal = Terminal(command, environ=ENVIRON)
        terminal.keep_screen = False
        terminal.pump(120, lambda: False)  # until it leaves
        terminal.close()
        return [Figure("processor time of a frame", f"{out.read_text().strip()} ms", "")]


def contention() -> float:
    """Wall time over processor time of a fixed loop: 1 on a machine that does nothing else."""
    wall, cpu = time.perf_counter(), time.process_time()
    total = 0
    for n in range(20_000_000):
        total += n
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


MEASURES: dict[str, Callable[[float, int], list[Figure]]] = {
    "live": measure_live,
    "opening": measure_opening,
    "start": measure_start,
    "tmux": measure_tmux,
    "frames": measure_frames,
}


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    given = parser.parse_args()
    print("| figure (160×45 pty, 5 charts) | measured | goal | |")
    print("|---|---|---|---|")
    for name in given.names or MEASURES:
        for figure in MEASURES[name](given.seconds, given.steps):
            sign = "" if figure.holds is None else "holds" if figure.holds else "does not hold"
            print(f"| {figure.name} | {figure.value} | {figure.goal} | {sign} |", flush=True)
    print(f"| wall time over CPU time of a loop beside it | {contention():.2f} | 1 when idle | |")


if __name__ == "__main__":
    main()

"""What seeing every rank costs: `python -m tests.bench.ranks [look|jobs|ballot|faults] [SIZES]`.

`jobs` simulates a job of so many ranks at 10 steps a second over a real TCPStore, with a real
rank 0, a dashboard and a `vlamon watch --json`; the store's bytes are those of the loopback device
in a network namespace of its own, TCP/IP headers and all. `look` takes one look of rank 0 apart,
`ballot` holds the store against numbers of every rank in the guard's all-reduce, and `faults` a
training's step against one that sees no ranks, while ranks and store misbehave: seconds of the
processor that the training's own thread takes, its wall time, and how often it waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from tests.bench._terminal import TICKS, Terminal
from vlamon.detect.ranks import RankJudge, columns, interval
from vlamon.emitter.job_store import PREFIX
from vlamon.emitter.rank_tally import RankTally, known, pack

SIZES = [1, 8, 64, 512]
HERTZ = 10.0
SECONDS = 20.0
LOOKS = 40
KILLED, STOPPED = "the other ranks killed", "the other ranks stopped"
FLOODED, STORE_STOPPED = "a rank floods the store", "the store stopped"
FAULTS = ("all is well", KILLED, STOPPED, FLOODED, STORE_STOPPED)
Process = subprocess.Popen[str]


def start(*arguments: object, **environ: str) -> Process:
    """A process of the job, ready."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench._rank_job", *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLAMON_HOME": "", **environ},
    )  # fmt: skip


def line_of(process: Process) -> str:
    """Its next line."""
    assert process.stdout is not None
    found = process.stdout.readline()
    assert found, f"{process.args} ended with {process.wait()}"
    return found.strip()


def tell(process: Process, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


@contextlib.contextmanager
def ended(*processes: Process) -> Iterator[None]:
    """Whatever happens, they end."""
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


# ---- one look ----


def look(sizes: list[int]) -> None:
    """Time of one look of rank 0: write, read all, judge, columns."""
    limit = timedelta(seconds=20)
    server = dist.TCPStore("127.0.0.1", 0, None, True, limit, wait_for_workers=False)
    client = dist.TCPStore("127.0.0.1", server.port, None, False, limit, wait_for_workers=False)
    print("| ranks | every | one look of rank 0 | share of a core | a report |")
    print("|---|---|---|---|---|")
    for size in sizes:
        tallies, every = [RankTally() for _ in range(size)], interval(size)
        keys = [f"{PREFIX}{rank}" for rank in range(size)]
        judge, spent, cpu, sent = RankJudge(every), 0.0, 0.0, 0
        for at in range(LOOKS):
            written = []
            for tally in tallies:
                tally.phase(at * every, "data")
                tally.phase(at * every + 0.01, "forward")
                tally.row(at * every + 0.2, at * 5, {"closs": 2.5, "grad_norm": 1.25})
                written.append(pack(tally.report()))
            for key, data in zip(keys, written, strict=True):
                client.set(key, data)
            sent += sum(map(len, written))
            began, began_cpu = time.perf_counter(), time.process_time()
            client.set(keys[0], written[0])
            reports = known(dict(enumerate(client.multi_get(keys))))
            columns(reports)
            judge.observe(reports, at * every)
            spent += time.perf_counter() - began
            cpu += time.process_time() - began_cpu
        print(
            f"| {size} | {every:g} s | {1000 * spent / LOOKS:.2f} ms"
            f" | {100 * cpu / (LOOKS * every):.2f} % | {sent / LOOKS / size:.0f} bytes |"
        )


# ---- a simulated job ----


class CountingProxy:
    """Stands between monitors and the training's socket, and counts what goes to each monitor."""

    def __init__(self, path: str, target: str) -> None:
        self.path, self._target = path, target
        self.down: list[int] = []
        """Bytes to each monitor, in order of their coming."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self.down.append(0)
            index = len(self.down) - 1
            threading.Thread(target=self._copy, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, index), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, index: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if index is not None:
                    self.down[index] += len(data)
            sink.shutdown(socket.SHUT_WR)


@dataclass(frozen=True, slots=True)
class Job:
    """What a simulated job came to."""

    size: int
    wall: float
    first_cpu: float
    """CPU seconds of rank 0's whole process."""
    monitor_cpu: float
    """CPU seconds of the dashboard."""
    wire: int
    """Bytes over loopback: every report, every look and their headers."""
    down: int
    """Bytes to one monitor."""
    steps: int
    rows: int
    """Rows that a monitor got."""
    announced: int
    """Rows that a gap said it did not get."""


def loopback() -> int:
    """Bytes that loopback has carried."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == "lo":
            return int(fields.split()[0])
    return 0


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def simulate(size: int, seconds: float, folder: Path) -> Job:
    """A job of so many ranks, with a dashboard and a JSON monitor."""
    path, out = str(folder / "vla.sock"), folder / "rows.jsonl"
    store = start("store")
    port = line_of(store)
    others = start("nodes", port, size, HERTZ)
    zero = start("first", port, size, HERTZ, seconds, path, folder)
    with ended(store, others, zero):
        line_of(others), line_of(zero)
        proxy = CountingProxy(str(folder / "proxy.sock"), path)
        with open(out, "wb") as rows:
            watcher = subprocess.Popen(
                [sys.executable, "-m", "vlamon", "watch", "--json", "--socket", proxy.path],
                stdout=rows,
            )
        dashboard = Terminal([sys.executable, "-m", "vlamon", "watch", "--socket", path])
        dashboard.keep_screen = False
        for _ in range(40):  # both are there, and past their start
            dashboard.pump(0.25)
        before, cpu, down = loopback(), cpu_of(dashboard.pid), sum(proxy.down)
        tell(zero, "go")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            dashboard.pump(0.25)
        wire, used = loopback() - before, cpu_of(dashboard.pid) - cpu
        took = json.loads(line_of(zero))
        down = sum(proxy.down) - down
        zero.wait(30)
        dashboard.close()
        watcher.wait(60)
    found = [json.loads(row) for row in out.read_text().splitlines()]
    got = sum(row["kind"] == "batch" for row in found)
    gaps = sum(row.get("rows", row.get("lost", 0)) for row in found if row["kind"] == "gap")
    return Job(size, took["wall"], took["cpu"], used, wire, down, took["steps"], got, gaps)


def jobs(sizes: list[int], seconds: float = SECONDS) -> None:
    """The table of docs/clusters.md."""
    if not own_network():
        print("(no network namespace of its own: other programs' loopback bytes count, too)")
    print(
        "| ranks | reports every | store, all bytes | to a monitor | rank 0, whole process"
        " | dashboard | rows: logged = shown + announced |"
    )
    print("|---|---|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            job = simulate(size, seconds, Path(folder))
        bits = [f"{8 * count / job.wall / 1e6:.3f} Mbit/s" for count in (job.wire, job.down)]
        print(
            f"| {size} | {interval(size):g} s | {bits[0]} | {bits[1]}"
            f" | {100 * job.first_cpu / job.wall:.1f} % of a core"
            f" | {100 * job.monitor_cpu / job.wall:.0f} % of a core"
            f" | {job.steps} = {job.rows} + {job.announced} |",
            flush=True,
        )


def own_network() -> bool:
    """Whether loopback is ours alone: `jobs` starts itself again under `unshare --net`."""
    return os.environ.get("RANKS_OWN_NETWORK") == "1"


def ran_unshared(sizes: list[int]) -> bool:
    """Run `jobs` in a network namespace, where that is permitted."""
    if own_network() or not (shutil.which("unshare") and shutil.which("ip")):
        return False
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        return False
    command = [sys.executable, "-m", "tests.bench.ranks", "jobs", *map(str, sizes)]
    environ = {**os.environ, "RANKS_OWN_NETWORK": "1"}
    subprocess.run([*inside, *command], env=environ, check=True)
    return True


# ---- against the ballot ----


def ballot(sizes: list[int]) -> None:
    """The guard's all-reduce of nine numbers, and one that carries five of every rank besides."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = (
        "import sys; from tests.bench.ranks import reduce_in_turns as run;"
        "run(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])"
    )
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), *map(str, sizes)],
            env={**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        )
        for rank in range(2)
    ]
    for rank in ranks:
        rank.wait(300)


def reduce_in_turns(rank: int, sizes: list[int]) -> None:
    """One of two gloo ranks; rank 0 prints the table."""
    dist.init_process_group("gloo", rank=rank, world_size=2)
    if rank == 0:
        print("| ranks | numbers | time, ratio to nine numbers (median of 400) | bytes a step |")
        print("|---|---|---|---|")
    for size in sizes:
        took: dict[int, list[float]] = {9: [], 9 + 5 * size: []}
        for _ in range(400):
            for numbers, times in took.items():
                sent = torch.zeros(numbers, dtype=torch.float64)
                start_at = time.perf_counter()
                dist.all_reduce(sent)
                times.append(time.perf_counter() - start_at)
        few, many = (statistics.median(times) for times in took.values())
        if rank == 0:
            numbers = 9 + 5 * size
            print(f"| {size} | {numbers} | {many / few:.2f} | {2 * 8 * numbers:,} of each rank |")
    dist.destroy_process_group()


# ---- a training's step while ranks and store misbehave ----


def faults(size: int = 64, rounds: int = 150, steps: int = 12) -> None:
    """A training that sees its ranks against one that does not, and a null, in one process."""
    print(
        "| what happens | CPU of the training's thread, with/without | null"
        " | wall, with/without | null | waits of the thread a step, with / without | looks |"
    )
    print("|---|---|---|---|---|---|---|")
    for what in FAULTS:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            store = start("store")
            stack.enter_context(ended(store))
            port = line_of(store)
            others = start("nodes", port, size, HERTZ)
            training = start("alternating", port, size, rounds, steps, folder)
            stack.enter_context(ended(others, training))
            line_of(others), line_of(training)
            time.sleep(2 * interval(size))  # every rank has been seen
            if what == KILLED:
                others.kill()
            elif what == STOPPED:
                others.send_signal(signal.SIGSTOP)
            elif what == FLOODED:
                stack.enter_context(ended(start("flood", port)))
                time.sleep(5.0)
            elif what == STORE_STOPPED:
                store.send_signal(signal.SIGSTOP)
            tell(training, "go")
            found = json.loads(line_of(training))
        print(f"| {what} | {cells_of(found['rounds'])} | {found['looks']} |", flush=True)


def cells_of(rounds: list[dict[str, dict[str, float]]]) -> str:
    """Median ratios of the rounds with their intervals, and waits a step."""
    from tests.bench.emitter import interval as confidence

    cells = [
        confidence([each[kind][what] / each["B"][what] for each in rounds])
        for what in ("cpu", "wall")
        for kind in "AN"
    ]
    waits = [statistics.fmean(each[kind]["waits"] for each in rounds) for kind in "AB"]
    return " | ".join([*cells, f"{waits[0]:.3f} / {waits[1]:.3f}"])


def main() -> None:
    words = sys.argv[1:]
    sizes = [int(word) for word in words if word.isdigit()] or SIZES
    parts = [word for word in words if not word.isdigit()] or ["look", "ballot", "faults", "jobs"]
    for part in parts:
        if part == "jobs":
            if not ran_unshared(sizes):
                jobs(sizes)
        elif part == "faults":
            faults()
        else:
            {"look": look, "ballot": ballot}[part](sizes)
        print(flush=True)


if __name__ == "__main__":
    main()

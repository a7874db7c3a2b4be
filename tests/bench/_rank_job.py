"""The processes of a simulated job, started by tests.bench.ranks:

    python -m tests.bench._rank_job store
    python -m tests.bench._rank_job nodes PORT SIZE HERTZ
    python -m tests.bench._rank_job first PORT SIZE HERTZ SECONDS SOCKET RUN_DIR
    python -m tests.bench._rank_job alternating PORT SIZE ROUNDS STEPS RUN_DIR
    python -m tests.bench._rank_job flood PORT

Each ends with its stdin. `nodes` plays every rank but 0, each with a connection and a tally of its
own and the steps that it would log; `first` and `alternating` are rank 0 with a real emitter. A
process group of 512 would need 512 processes, so a connection stands in for it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from tests.bench.emitter import VALUES, Training
from vlamon.detect.ranks import interval
from vlamon.emitter import job_store, rank_exchange
from vlamon.emitter.rank_tally import RankTally, pack

LIMIT = timedelta(seconds=20)
PHASES = (("data", 0.0), ("forward", 0.1), ("backward", 0.4))
"""Phase and the share of the step at which it begins."""


def connect(port: int, timeout: float = 20.0) -> Any:
    """A client of the job's store."""
    limit = timedelta(seconds=timeout)
    return dist.TCPStore("127.0.0.1", port, None, False, limit, wait_for_workers=False)


def store() -> None:
    """Serve the store until stdin ends."""
    server = dist.TCPStore("127.0.0.1", 0, None, True, LIMIT, wait_for_workers=False)
    print(server.port, flush=True)
    sys.stdin.read()


def nodes(port: int, size: int, hertz: float) -> None:
    """Ranks 1 to SIZE - 1: their steps, and their reports at the pace of the real thing."""
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    clients = {rank: connect(port) for rank in range(1, size)}
    tallies = {rank: RankTally() for rank in clients}
    every, began = interval(size), time.monotonic()
    due = {rank: began + every * rank / size for rank in clients}
    print("ready", flush=True)
    step = 0
    while not stopping.wait(max(0.0, began + step / hertz - time.monotonic())):
        start = time.time()
        for rank, tally in tallies.items():
            for phase, share in PHASES:
                tally.phase(start + share / hertz, phase)
            values = {"closs": 2.0 + 0.01 * (rank % 7), "grad_norm": 1.0}
            tally.row(start + 0.9 / hertz, step, values)
        now = time.monotonic()
        for rank, client in clients.items():
            if due[rank] <= now:
                client.set(f"{job_store.PREFIX}{rank}", pack(tallies[rank].report()))
                due[rank] += every
        step += 1


def _as_rank_0(port: int, size: int) -> None:
    os.environ.update(RANK="0", WORLD_SIZE=str(size), VLAMON_HOME="")
    job_store.address = lambda: ("127.0.0.1", port)


def first(port: int, size: int, hertz: float, seconds: float, path: str, run_dir: str) -> None:
    """Rank 0; prints its steps and the CPU seconds that its process took for them."""
    from vlamon import Emitter

    _as_rank_0(port, size)
    with Emitter(path, run="job", run_dir=run_dir, weights={"closs": 1.0}) as emitter:
        print("ready", flush=True)
        sys.stdin.readline()
        began, used = time.monotonic(), time.process_time()
        for step in range(int(seconds * hertz)):
            for phase, share in PHASES:
                time.sleep(max(0.0, began + (step + share) / hertz - time.monotonic()))
                emitter.status(phase=phase)  # type: ignore[arg-type]
            emitter.log(step, epoch=0.5, closs=2.0 + 0.001 * (step % 9), grad_norm=1.0, lr=1e-5)
        took = {"steps": int(seconds * hertz), "cpu": time.process_time() - used}
        print(json.dumps(took | {"wall": time.monotonic() - began}), flush=True)


@dataclass
class Gate:
    """Holds the looks of rank 0 back while the training runs as if it saw no ranks.

    A look that is due meanwhile comes when the gate opens, so that short blocks have more looks
    than a real training: what they cost is seen too large, not too small.
    """

    opened: threading.Event = field(default_factory=threading.Event)
    looks: int = 0

    def install(self) -> None:
        """Stand before every look from now on."""
        real = rank_exchange.RankExchange._look

        def look(exchange: rank_exchange.RankExchange) -> None:
            self.opened.wait()
            self.looks += 1
            real(exchange)

        rank_exchange.RankExchange._look = look  # type: ignore[method-assign]


def block(training: Any, emitter: Any, first: int, steps: int) -> dict[str, float]:
    """Figures of the training's thread for logged steps of one kind."""
    took = []
    before, used = resource.getrusage(resource.RUSAGE_THREAD), time.thread_time()
    for step in range(first, first + steps):
        start = time.perf_counter()
        emitter.status(phase="data")
        loss = training.step()
        emitter.log(step, epoch=0.5, **(VALUES | {"closs": loss}))
        took.append(time.perf_counter() - start)
    used, after = time.thread_time() - used, resource.getrusage(resource.RUSAGE_THREAD)
    return {
        "cpu": used / steps,
        "wall": statistics.median(took),
        "waits": (after.ru_nvcsw - before.ru_nvcsw) / steps,
    }


def alternating(port: int, size: int, rounds: int, steps: int, run_dir: str) -> None:
    """A real training that logs and sees its ranks (A), logs and sees none (B), and a null like B.

    Short blocks in random order in one process, so that whatever else the machine does meets all
    kinds alike; starts when a line comes on stdin.
    """
    from vlamon import Emitter

    _as_rank_0(port, size)
    gate, training, choose = Gate(), Training(), random.Random(3)
    gate.opened.set()
    gate.install()
    with Emitter(None, run="alternating", run_dir=run_dir) as emitter:
        block(training, emitter, 0, 10 * steps)
        print("ready", flush=True)
        sys.stdin.readline()
        step, found = 10 * steps, []
        for _ in range(rounds):
            of_round = {}
            for kind in choose.sample("ABN", 3):
                (gate.opened.set if kind == "A" else gate.opened.clear)()
                of_round[kind] = block(training, emitter, step, steps)
                step += steps
            found.append(of_round)
        looks = gate.looks
        gate.opened.set()
    print(json.dumps({"rounds": found, "looks": looks}), flush=True)


def flood(port: int) -> None:
    """A rank gone wild: a megabyte of garbage as its report, as fast as the store takes it."""
    client, garbage = connect(port), b"\x01" * (1 << 20)
    while True:
        for rank in range(1, 9):
            client.set(f"{job_store.PREFIX}{rank}", garbage)


def main(name: str, *arguments: str) -> None:
    match name:
        case "store":
            store()
        case "nodes":
            nodes(int(arguments[0]), int(arguments[1]), float(arguments[2]))
        case "first":
            port, size, hertz, seconds, path, run_dir = arguments
            first(int(port), int(size), float(hertz), float(seconds), path, run_dir)
        case "alternating":
            alternating(*map(int, arguments[:4]), arguments[4])
        case "flood":
            flood(int(arguments[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Two ranks train, while a third rank's sidecar or the job's store is at fault.

`python -m tests.faults.rank_store [NAME …]` runs every scenario, or some, and says whether the
losses are those of the same training without vlamon, to the last bit, and whether the journal has
every step and says what was not seen. The third rank shares no collective with the other two: one
that did would end them, with or without vlamon. All processes are forked from one that has imported
everything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.faults.scenarios import report
from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon import Emitter
from vlamon.detect import ranks as judging
from vlamon.emitter import job_store, rank_exchange
from vlamon.records import Event

RANKS, TRAINING = 3, 2
STEPS, HALF = 60, 20
PATIENCE = 60.0
LIMIT = timedelta(seconds=20)
SCENARIOS = {
    "rank-killed": "silent",
    "rank-stopped": "silent",
    "rank-floods": "silent",
    "store-hangs": "unseen",
    "store-refuses": "unseen",
    "store-garbage": "unseen",
}
"""What is at fault, and the finding that says so."""


def hurry() -> None:
    """Looks, limits and silences of a sidecar that a test can wait for."""
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # it imports a second of modules, in this process once
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # each warning of c10d looks up its own stack
    rank_exchange.interval = lambda size: 0.02
    rank_exchange.SILENT = judging.SILENT = 0.3
    job_store.RETRY, job_store.TIMEOUT = 0.1, 0.2


@dataclass
class Children:
    """Forked processes that end with the block."""

    pids: dict[str, int] = field(default_factory=dict)

    def fork(self, name: str, body: Callable[[], None]) -> None:
        """Run a body in a process of its own."""
        pid = os.fork()
        if pid:
            self.pids[name] = pid
            return
        code = 1
        try:
            body()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(code)

    def signal(self, name: str, number: int) -> None:
        """Send a signal; one that was killed is reaped."""
        os.kill(self.pids[name], number)
        if number == signal.SIGKILL:
            os.waitpid(self.pids.pop(name), 0)

    def wait(self, name: str) -> int:
        """The exit code of one that must end by itself."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pids[name], os.WNOHANG)
            if pid:
                del self.pids[name]
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        return -1

    def end(self) -> None:
        for name in list(self.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[name], signal.SIGCONT)
            self.signal(name, signal.SIGKILL)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what comes at once where nothing is broken."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.005)


def serve(place: Path) -> None:
    """The job's store."""
    store = dist.TCPStore("127.0.0.1", 0, None, True, LIMIT, wait_for_workers=False)
    (place / "port.new").write_text(str(store.port))
    (place / "port.new").rename(place / "port")
    signal.pause()


def serve_garbage(port: int, place: Path) -> None:
    """What is at the store's port when the store is gone and something else came."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        (place / "garbage").touch()
        while True:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), connection:
                connection.sendall(b"\x00\xff\r\n\r\nSSH-2.0-nonsense" * 1000)


class Watched:
    """A rank's emitter, and what its sidecar has found."""

    def __init__(self, run_dir: Path) -> None:
        self.found: list[str] = []
        self.looks = 0
        look, say = rank_exchange.RankExchange._look, rank_exchange.RankExchange._say

        def looked(exchange: rank_exchange.RankExchange) -> None:
            look(exchange)
            self.looks += 1

        def said(exchange: rank_exchange.RankExchange, finding: judging.RankFinding) -> None:
            say(exchange, finding)
            self.found.append(finding.kind)

        rank_exchange.RankExchange._look = looked  # type: ignore[method-assign]
        rank_exchange.RankExchange._say = said  # type: ignore[method-assign]
        self.emitter = Emitter(None, run="store", run_dir=run_dir)


def join(rank: int, place: Path) -> Any:
    """The process group, and the smaller one of the ranks that train."""
    torch.set_num_threads(1)
    os.environ["VLAMON_HOME"] = str(place)
    port = int((place / "port").read_text())
    store = dist.TCPStore("127.0.0.1", port, None, False, LIMIT, wait_for_workers=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=LIMIT)
    return dist.new_group(list(range(TRAINING)))


def train(rank: int, place: Path, watched: bool, finding: str) -> None:
    """One of the two ranks; its numbers go into a file."""
    group = join(rank, place)
    seen = Watched(place / "run") if watched else None
    torch.manual_seed(rank)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.GELU(), torch.nn.Linear(32, 4))
    for parameter in model.parameters():
        dist.all_reduce(parameter.data, group=group)
    optimizer, digest = torch.optim.AdamW(model.parameters(), lr=1e-2), hashlib.sha256()
    for step in range(STEPS):
        if step == HALF:
            if seen is not None:
                until(lambda: seen.looks > 3, "ranks are never seen")
            (place / f"half-{rank}").touch()
            until((place / "go").exists, "the fault never came")
        inputs = torch.randn(8, 16)
        loss = (model(inputs) - inputs[:, :4]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        gradients: Any = [parameter.grad for parameter in model.parameters()]
        norm = torch.nn.utils.get_total_norm(gradients)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat, group=group)
        torch.nn.utils.vector_to_parameters(flat, gradients)
        optimizer.step()
        digest.update(loss.detach().numpy().tobytes())
        if seen is not None:
            seen.emitter.status(phase="data")
            seen.emitter.log(step, closs=loss, grad_norm=norm)
        time.sleep(0.002)
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    if seen is not None:
        if rank == 0:
            until(lambda: finding in seen.found, f"{finding} is never said: {seen.found}")
        seen.emitter.close()
    (place / f"digest-{rank}").write_text(digest.hexdigest())


def stand_by(place: Path, watched: bool) -> None:
    """The third rank; told to, it fills the store with garbage in everybody's name."""
    join(RANKS - 1, place)
    if not watched:
        signal.pause()
    seen = Watched(place / "run")
    step = 0
    while not (place / "flood").exists():
        seen.emitter.log(step, closs=2.0)
        step += 1
        time.sleep(0.005)
    rank_exchange.RankExchange._look = lambda exchange: None  # type: ignore[method-assign]
    port = int((place / "port").read_text())
    client = job_store.client_of("127.0.0.1", port, 5.0)
    while True:
        for rank in range(1, RANKS):
            client.set(f"{job_store.PREFIX}{rank}", os.urandom(1 << 20))


def break_it(name: str, place: Path, children: Children) -> None:
    """The fault, in place when this returns."""
    if name == "rank-killed":
        children.signal("rank 2", signal.SIGKILL)
    elif name == "rank-stopped":
        children.signal("rank 2", signal.SIGSTOP)
    elif name == "rank-floods":
        (place / "flood").touch()
    elif name == "store-hangs":
        children.signal("store", signal.SIGSTOP)
    elif name in ("store-refuses", "store-garbage"):
        children.signal("store", signal.SIGKILL)
    if name == "store-garbage":
        port = int((place / "port").read_text())
        children.fork("garbage", lambda: serve_garbage(port, place))
        until((place / "garbage").exists, "nobody serves garbage")


def run(place: Path, name: str = "") -> list[str]:
    """Digests of the two ranks' numbers; without a name nothing breaks and nobody watches."""
    place.mkdir()
    children, watched, finding = Children(), bool(name), SCENARIOS.get(name, "")
    try:
        children.fork("store", lambda: serve(place))
        until((place / "port").exists, "no store")
        for rank in range(TRAINING):
            children.fork(
                f"rank {rank}",
                lambda rank=rank: train(rank, place, watched, finding),  # type: ignore[misc]
            )
        children.fork("rank 2", lambda: stand_by(place, watched))
        halves = [place / f"half-{rank}" for rank in range(TRAINING)]
        until(lambda: all(half.exists() for half in halves), "half of the steps never came")
        break_it(name, place, children)
        (place / "go").touch()
        codes = [children.wait(f"rank {rank}") for rank in range(TRAINING)]
        if any(codes):
            return [f"exit codes {codes}"]
    finally:
        children.end()
    return [(place / f"digest-{rank}").read_text() for rank in range(TRAINING)]


def broken(name: str, place: Path, alone: Sequence[str]) -> str:
    """Why the scenario did not end as it must; empty where it did."""
    found = run(place, name)
    if found != alone:
        return f"{found} instead of {alone}"
    records = journal_of(place / "run")
    steps = [step for step, _ in rows_of(records)]
    if steps != list(range(STEPS)):
        return f"the journal has {len(steps)} steps"
    said = [event.data.get("finding") for event in of_type(records, Event)]
    return "" if SCENARIOS[name] in said else f"the journal says {said}"


def tried(root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The name of each scenario, or of these, and what is broken in it."""
    hurry()
    alone = run(root / "alone")
    for name in SCENARIOS:
        if not names or name in names:
            yield name, broken(name, root / name, alone)


if __name__ == "__main__":
    sys.exit(report(tried))

"""A real training process for tests of the commands: logs steps and executes commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SCRIPT = """
import sys, time, vlamon
path, steps, orders, run_dir = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "orders", sys.argv[4]
monitors = int(sys.argv[5])
with vlamon.Emitter(path, run="demo", run_dir=run_dir, total_steps=steps,
                    weights={"closs": 1.0, "loss_ct": 10.0}) as emitter:
    if orders:
        list(emitter.commands())
    print("up", flush=True)
    # Not those who only ask who is there, as a search for sockets does.
    server = emitter._service.sidecar.server
    while sum(each.subscribed and each.rows for each in server.subscribers) < monitors:
        time.sleep(0.01)
    for step in range(steps):
        emitter.log(step, epoch=step / 10, closs=8 + 0.1 * step, loss_ct=0.13,
                    odd=float("nan") if step == 3 else 1.0)
        if step == 5:
            emitter.log_epoch(0, "val_ind", {"closs": 3.1}, step=step)
            emitter.event("note", step=step, text="half way")
        emitter.status(state="training")
        for command in emitter.commands() if orders else ():
            print(command.name, flush=True)
            if command.name == "rollback":
                command.refuse("no trusted snapshot yet")
            elif command.name == "stop":
                command.done({"step": step})
                sys.exit(0)
            elif command.name != "pause":  # an order that is never answered
                command.done({"step": step, **command.args})
        time.sleep(0.01)
"""


def environment(**more: str) -> dict[str, str]:
    """The tests' own tree first, and nothing of the user's that names a socket."""
    kept = {k: v for k, v in os.environ.items() if k not in ("VLAMON_SOCKET", "XDG_RUNTIME_DIR")}
    root = str(Path(__file__).parents[3])
    return {**kept, "PYTHONPATH": root, **more}


@contextmanager
def training(
    socket: Path,
    *,
    steps: int = 100_000,
    orders: bool = True,
    run_dir: Path | None = None,
    monitors: int = 0,
    **more: str,
) -> Iterator[subprocess.Popen[str]]:
    """A training that serves `socket` until the block ends; it begins when `monitors` watch."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(socket),
            str(steps),
            "orders" if orders else "deaf",
            str(run_dir or socket.parent / f"{socket.stem}-run"),
            str(monitors),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def vlamon(
    arguments: Sequence[str], *, timeout: float = 120.0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line for real."""
    return subprocess.run(
        [sys.executable, "-m", "vlamon", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**more),
        check=False,
    )

"""A small deterministic training, with or without vlamon: its numbers must not know of it.

`python -m tests.faults.training OUT [--socket P] [--run-dir D] [--steps N] [--sleep S]` writes a
digest of every loss and of the final weights to OUT. What must happen before or during it is waited
for, never hoped for: `--monitors N` begins when so many have subscribed, `--hold-at STEP` stands
before that step, still answering orders, until a file OUT.go is there.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from vlamon import Emitter


def watching(emitter: Emitter) -> int:
    """How many monitors have subscribed to rows; a search for sockets does not."""
    sidecar = None if emitter._service is None else emitter._service.sidecar
    if sidecar is None or sidecar.server is None:
        return 0
    return sum(each.subscribed and each.rows for each in list(sidecar.server.subscribers))


def answer(emitter: Emitter | None, step: int) -> None:
    """Execute the commands that have come."""
    for command in emitter.commands() if emitter is not None else ():
        command.done({"step": step})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--socket")
    parser.add_argument("--run-dir")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sleep", type=float, default=0.002)
    parser.add_argument("--monitors", type=int, default=0, help="begin when so many watch")
    parser.add_argument("--hold-at", type=int, help="stand before this step until OUT.go is there")
    parser.add_argument("--explode-at", type=int, help="report an explosion at this step")
    parser.add_argument("--file-limit", type=int, help="bytes a file may grow to, as under a quota")
    args = parser.parse_args()
    if args.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.file_limit, args.file_limit))

    random = np.random.default_rng(7)
    target = random.normal(size=(8, 3))
    weights = np.zeros((8, 3))
    digest = hashlib.sha256()
    go = args.out.with_suffix(".go")
    watched = args.socket or args.run_dir
    emitter = None
    if watched:
        emitter = Emitter(args.socket, run="fault", run_dir=args.run_dir, on_conflict="raise")
    with emitter or nullcontext():
        while emitter is not None and watching(emitter) < args.monitors:
            time.sleep(0.01)
        for step in range(args.first, args.first + args.steps):
            while step == args.hold_at and not go.exists():
                answer(emitter, step)
                time.sleep(0.01)
            inputs = random.normal(size=(16, 8))
            error = inputs @ weights - inputs @ target
            loss = float((error**2).mean())
            weights -= 0.01 * inputs.T @ error / 16
            digest.update(np.float64(loss).tobytes())
            if emitter is not None:
                actions = np.abs(error).mean(axis=0).tolist()
                emitter.log(step, epoch=step / 100, closs=loss, l1_loss_action=actions)
                if step == args.explode_at:
                    emitter.event("explode", step, text="closs 95")
            answer(emitter, step)
            time.sleep(args.sleep)
    digest.update(weights.tobytes())
    args.out.write_text(digest.hexdigest())


if __name__ == "__main__":
    main()

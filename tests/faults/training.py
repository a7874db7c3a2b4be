"""A small deterministic training, with or without vlamon: its numbers must not know of it.

`python -m tests.faults.training OUT [--socket P] [--run-dir D] [--steps N] [--sleep S]` writes a
digest of every loss and of the final weights to OUT.
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--socket")
    parser.add_argument("--run-dir")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sleep", type=float, default=0.002)
    parser.add_argument("--file-limit", type=int, help="bytes a file may grow to, as under a quota")
    args = parser.parse_args()
    if args.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.file_limit, args.file_limit))

    random = np.random.default_rng(7)
    target = random.normal(size=(8, 3))
    weights = np.zeros((8, 3))
    digest = hashlib.sha256()
    watched = args.socket or args.run_dir
    emitter = Emitter(args.socket, run="fault", run_dir=args.run_dir) if watched else None
    with emitter or nullcontext():
        for step in range(args.first, args.first + args.steps):
            inputs = random.normal(size=(16, 8))
            error = inputs @ weights - inputs @ target
            loss = float((error**2).mean())
            weights -= 0.01 * inputs.T @ error / 16
            digest.update(np.float64(loss).tobytes())
            if emitter is not None:
                actions = np.abs(error).mean(axis=0).tolist()
                emitter.log(step, epoch=step / 100, closs=loss, l1_loss_action=actions)
                for command in emitter.commands():
                    command.done({"step": step})
            time.sleep(args.sleep)
    digest.update(weights.tobytes())
    args.out.write_text(digest.hexdigest())


if __name__ == "__main__":
    main()

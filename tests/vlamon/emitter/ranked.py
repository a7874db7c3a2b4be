"""One rank of a small training over gloo: `python -m tests.vlamon.emitter.ranked OUT RUN_DIR …`."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist

from vlamon import Emitter


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("run_dir")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--slow-rank", type=int, default=-1)
    parser.add_argument("--bad-rank", type=int, default=-1)
    parser.add_argument("--silent", action="store_true", help="no emitter: only the numbers")
    args = parser.parse_args()
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(rank)
    weights = torch.zeros(8)
    digest = hashlib.sha256()
    emitter = Emitter(None) if args.silent else Emitter(None, run="ranked", run_dir=args.run_dir)
    (args.out / f"pid-{rank}").write_text(str(os.getpid()))
    with emitter:
        for step in range(args.steps):
            emitter.status(phase="data")
            time.sleep(0.06 if rank == args.slow_rank else 0.002)
            inputs = torch.randn(4, 8)
            emitter.status(phase="forward")
            error = inputs @ weights - inputs.sum(1)
            loss = error.square().mean()
            emitter.status(phase="backward")
            gradient = inputs.T @ error / 4
            dist.all_reduce(gradient)
            weights -= 0.01 * gradient / dist.get_world_size()
            value = float(loss)
            if rank == args.bad_rank and step == 20:
                value = math.nan
            digest.update(torch.tensor(float(loss)).numpy().tobytes())
            emitter.log(step, closs=value, grad_norm=float(gradient.norm()))
            (args.out / f"step-{rank}").write_text(str(step))
    digest.update(weights.numpy().tobytes())
    (args.out / f"digest-{rank}").write_text(digest.hexdigest())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

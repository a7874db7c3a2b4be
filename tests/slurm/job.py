"""One task of a job: `python -m tests.slurm.job RUN_DIR STEPS`. SIGUSR1 has it requeued.

The job that follows takes LAST more steps, however few or many the first one took.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from vlamon import Emitter
from vlamon.ranks import ranks

LAST = 100


def main() -> None:
    run_dir, steps = Path(sys.argv[1]), int(sys.argv[2])
    ending: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: ending.append(number))
    here = ranks()
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / f"rank-{here.rank}").write_text(f"{here.rank} {here.world_size} {here.local_rank}")
    checkpoint = run_dir / f"checkpoint-{here.rank}"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    steps = first + LAST if first else steps
    emitter = Emitter("auto", run="slurm", run_dir=run_dir, total_steps=steps)
    for step in range(first, steps):
        emitter.log(step, closs=2.0 + 0.01 * (step % 7))
        time.sleep(0.02)
        if ending:
            checkpoint.write_text(str(step + 1))
            emitter.event("checkpoint", step, text="the time limit is near")
            emitter.close("ended by the scheduler")
            requeue = f"scontrol requeue {os.environ['SLURM_JOB_ID']}"
            sys.exit(os.system(requeue) and 1)
    emitter.close()


if __name__ == "__main__":
    main()

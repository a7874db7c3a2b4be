"""The same stand-in for a training, logging for another monitor: `wandb` or `tensorboard`.

    python -m tests.bench._peer_run wandb|tensorboard FOLDER HISTORY HZ

Speaks as `_logging_run` does. Run by an interpreter that has the peer's package.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Log = Callable[[int, dict[str, float]], None]


def live(step: int) -> dict[str, float]:
    """One batch, as `_logging_run.live` gives it."""
    return {
        "closs": 8.2 + (step * 377 % 500) / 1000,
        "loss_ct": 0.12 + 0.001 * (step % 7),
        "z_loss": 30.0 + step % 5,
        "grad_norm": 1.0 + 0.1 * (step % 9),
        "lr_scale": 1.0,
    }


def wandb_log(folder: str) -> Log:
    """Log as a run of wandb without network does."""
    import wandb

    run = wandb.init(mode="offline", dir=folder, project="bench", settings={"silent": True})
    return lambda step, values: run.log(values, step=step)


def tensorboard_log(folder: str) -> Log:
    """Log as a SummaryWriter does, flushed so that a reader sees it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(folder, flush_secs=1)

    def log(step: int, values: dict[str, float]) -> None:
        cells = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=cells)))
        if step % 10 == 0:
            writer.flush()

    return log


def main(kind: str, folder: str, steps: int, hertz: float) -> None:
    """Log the history, then what stdin asks for."""
    log = (wandb_log if kind == "wandb" else tensorboard_log)(folder)
    for step in range(steps):
        log(step, live(step))
    print("ready", flush=True)
    step = steps
    for line in sys.stdin:
        if not line.strip():
            break
        begin = time.monotonic()
        for n in range(int(line.split()[1])):
            time.sleep(max(0.0, begin + n / hertz - time.monotonic()))
            log(step, live(step))
            step += 1
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

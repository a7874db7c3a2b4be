"""A request to end reaches one rank, and all of them end behind the same step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.vlamon.emitter.emitted import journal_of
from tests.vlamon.guard.toy import Toy
from vlamon import Emitter
from vlamon.guard import Guard, GuardSettings
from vlamon.guard.ending import Ending
from vlamon.records import Event

RANKS = """
import json, os, sys, time
import torch, torch.distributed as dist
from pathlib import Path
from torch.utils.data import DataLoader, TensorDataset
from vlamon import Emitter
from vlamon.guard import Guard

run_dir, rank = Path(sys.argv[1]), int(os.environ["RANK"])
dist.init_process_group(
    "gloo", init_method=f"file://{run_dir}/join", rank=rank, world_size=2
)
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
emitter = Emitter(None, run_dir=str(run_dir)) if rank == 0 else None
guard = Guard(model, optimizer, emitter=emitter, run_dir=run_dir)
data = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4)
last = -1
for step, (x,) in guard.batches(data, steps=100_000):
    loss = model(x).pow(2).mean()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    if guard.check(step, loss=loss):
        optimizer.step()
    optimizer.zero_grad()
    guard.after_step(step, batch=x)
    last = step
    if step == 5:
        (run_dir / f"ready-{rank}").touch()
guard.close()
if emitter is not None:
    emitter.close()
print("RESULT" + json.dumps(last), flush=True)
dist.barrier()
os._exit(0)  # all is said; gloo's threads may abort a process that is taken down
"""


def events(run_dir: Path, kind: str) -> list[Event]:
    return [each for each in journal_of(run_dir) if isinstance(each, Event) and each.kind == kind]


def wait_for(*paths: Path) -> None:
    end = time.monotonic() + 240
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_signal_to_rank_1_alone_ends_both_with_a_checkpoint_and_an_event(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(tmp_path)],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
        ranks[1].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=240) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], said[0][1][-2000:]
    zero, one = (json.loads(out.split("RESULT")[1]) for out, _ in said)
    assert zero == one
    assert (tmp_path / "checkpoints" / f"step-{zero:09}").is_dir()
    (told,) = [each for each in events(tmp_path, "note") if "told to end" in each.text]
    assert told.text == f"told to end by SIGTERM on rank 1: the training stops behind step {zero}"
    assert events(tmp_path, "end")


def loop(run_dir: Path, at: int, number: signal.Signals) -> tuple[Guard, list[int]]:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    seen = []
    with Emitter(None, run_dir=str(run_dir)) as emitter:
        guard = Guard(model, optimizer, emitter=emitter, run_dir=run_dir, settings=GuardSettings())
        data = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4)
        for step, (x,) in guard.batches(data, steps=50):
            seen.append(step)
            if step == at:
                signal.raise_signal(number)  # not os.kill: another thread may take it, and later
            model(x).pow(2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            guard.after_step(step, batch=x)
        guard.close()
    return guard, seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_guard_s_own_loop_behind_its_step(
    tmp_path: Path, number: signal.Signals
) -> None:
    guard, seen = loop(tmp_path, 7, number)
    assert guard.stopped
    assert seen == list(range(8))
    assert events(tmp_path, "end")
    assert signal.getsignal(number) is signal.SIG_DFL
    assert loop(tmp_path, -1, number)[1][0] == 8


def test_a_script_s_own_handler_stays(tmp_path: Path) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        guard, seen = loop(tmp_path, 7, signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert heard == [signal.SIGTERM]
    assert not guard.stopped
    assert len(seen) == 50


def test_should_stop_is_asked_at_every_step_and_ends_the_training() -> None:
    toy = Toy()
    toy.guard.commands.ending = Ending(lambda: len(toy.trained) >= 20)
    assert toy.run(200) == 20
    ((_, told),) = toy.emitter.kinds("note")
    assert told["text"] == "told to end: the training stops behind step 19"

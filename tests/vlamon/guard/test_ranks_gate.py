"""What one rank alone sees or does wrong: all step or none, all give an autopsy up or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.guard.ranks import on_two_ranks

SCRIPT = """
import json, os, sys
from datetime import timedelta
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from tests.vlamon.guard.toy import Toy, far_off
from vlamon.guard import GuardSettings

place, what, mode, value = sys.argv[1:]
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{place}/join", rank=rank, world_size=2,
                        timeout=timedelta(seconds=60))
SPIKE = 90

def only_on_one(do):
    def acted(*given):
        found = do(*given)  # with its collectives: nobody can help a rank that leaves these
        if rank == 1:
            raise IndexError("label 70000 is out of range")
        return found
    return acted

class Shared(Toy):
    def data(self, ids):
        return super().data([2 * ids[0] + rank])

    def train_step(self):
        cursor = self.sampler.cursor
        ids = self.sampler.draw()
        x, y = self.data(ids)
        if what in ("probe", "replay") and cursor == 4 * SPIKE and rank == 1:
            y = y + 200.0
        loss = self.loss((x, y))
        loss.backward()
        for parameter in self.model.parameters():
            if not sharded:
                dist.all_reduce(parameter.grad)
        said = loss.detach()
        if what in ("gate", "sharded") and cursor == 4 * SPIKE and rank == 1:
            said = torch.tensor(float("nan")) if value == "tensor" else float("nan")
        if self.repeats:
            self.optimizer.step()
        elif self.guard.check(self.step, closs=said if value == "tensor" else float(said)):
            self.stepped.append(self.step)
            self.optimizer.step()
        self.optimizer.zero_grad()
        return (ids, x, y), loss.detach()

    def once_more(self, step):
        self.repeats = True
        values = {"closs": float(self.train_step()[1])}
        self.repeats = False
        return values

sharded = what == "sharded"
toy = Shared(mode=mode)
toy.stepped, toy.repeats = [], False
if sharded:
    fully_shard(toy.model, mesh=init_device_mesh("cpu", (2,)))
    toy.optimizer.param_groups[0]["params"] = list(toy.model.parameters())
guard = toy.guard
if what in ("gate", "sharded"):
    guard.rollback.explainer.probe = guard.rollback.explainer.replay = None
elif what == "probe":
    guard.rollback.explainer.probe = only_on_one(toy.probe)
else:
    guard.rollback.explainer.probe = None
    guard.rollback.explainer.replay = only_on_one(toy.once_more)
toy.step = guard.start()
while toy.step < 110:
    batch, loss = toy.train_step()
    toy.step = guard.after_step(toy.step, batch=batch, samples=batch[0])
parameters = [p.full_tensor() if sharded else p for p in toy.model.parameters()]
events = [(kind, data.get("text")) for kind, _, data in toy.emitter.events]
told = {"sum": sum(float(p.double().sum()) for p in parameters), "stepped": toy.stepped,
        "events": events}
print("RESULT" + json.dumps(told), flush=True)
dist.barrier()
os._exit(0)  # all is said; gloo's threads may abort a process that is taken down
"""


def run(tmp_path: Path, what: str, mode: str, value: str = "tensor") -> list[Any]:
    return on_two_ranks(SCRIPT, [str(tmp_path), what, mode, value])


@pytest.mark.parametrize(
    ("what", "mode", "value"),
    [("gate", "watch", "tensor"), ("gate", "off", "number"), ("sharded", "watch", "number")],
)
def test_a_nan_that_one_rank_sees_keeps_every_rank_from_stepping(
    tmp_path: Path, what: str, mode: str, value: str
) -> None:
    zero, one = run(tmp_path, what, mode, value)
    assert zero["stepped"] == one["stepped"] == [step for step in range(110) if step != 90]
    assert zero["sum"] == one["sum"]


@pytest.mark.parametrize("what", ["probe", "replay"])
def test_an_autopsy_that_fails_on_one_rank_is_given_up_by_all_and_they_go_back(
    tmp_path: Path, what: str
) -> None:
    zero, one = run(tmp_path, what, "auto")
    assert zero["stepped"] == one["stepped"]
    assert zero["stepped"].count(90) == 2
    assert zero["sum"] == one["sum"]
    (said,) = [text for kind, text in zero["events"] if kind == "autopsy"]
    assert "IndexError: label 70000 is out of range on rank 1" in said

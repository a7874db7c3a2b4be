"""Two ranks over gloo: one of them sees a spike, both go back to the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.vlamon.guard.ranks import on_two_ranks

SCRIPT = """
import json, os, sys
import torch, torch.distributed as dist
from pathlib import Path
from tests.vlamon.guard.toy import Order, Toy

run_dir, rides = Path(sys.argv[1]), sys.argv[2] == "rides"
spike_rank, fresh = int(sys.argv[3]), sys.argv[4]
place = f"file://{run_dir}/join-{fresh}"
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)

class Shared(Toy):
    def data(self, ids):
        return super().data([2 * ids[0] + rank])

    def train_step(self):
        cursor = self.sampler.cursor
        ids = self.sampler.draw()
        x, y = self.data(ids)
        if cursor == 4 * 160 and rank == spike_rank:
            y = y + 200.0
        loss = self.loss((x, y))
        loss.backward()
        for parameter in self.model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
        self.optimizer.step(); self.scheduler.step(); self.optimizer.zero_grad()
        return (ids, x, y), loss.detach()

toy = Shared(run_dir)
guard, trail, orders = toy.guard, [], {}
if fresh == "fresh":
    back = Order("rollback", {"data": "replay"})
    orders = {100: Order("checkpoint"), 200: back, 215: Order("pause"), 216: Order("resume")}
total = 230
step = guard.start()
while step < total and not guard.stopped:
    batch, loss = toy.train_step()
    trail.append(step)
    if rank == 0 and step in orders:
        toy.emitter.orders.append(orders.pop(step))
        if step == 215:
            toy.emitter.orders.append(orders.pop(216))
    if rides:
        ballot = guard.ballot(step, closs=loss)
        mixed = torch.cat([torch.tensor([float(loss)], dtype=torch.float64), ballot])
        dist.all_reduce(mixed)
        step = guard.after_step(step, batch=batch, samples=batch[0], summed=mixed[1:])
    else:
        step = guard.after_step(step, batch=batch, samples=batch[0], closs=loss)
guard.close()
total = sum(float(p.double().sum()) for p in toy.model.parameters())
events = [(kind, at, data.get("to"), data.get("text")) for kind, at, data in toy.emitter.events]
told = {"trail": trail, "sum": total, "events": events, "cursor": toy.sampler.cursor}
print("RESULT" + json.dumps(told), flush=True)
dist.barrier()
os._exit(0)  # all is said; gloo's threads may abort a process that is taken down
"""


def two_ranks(tmp_path: Path, rides: bool, spike_rank: int, fresh: bool = True) -> list[Any]:
    arguments = [str(tmp_path), "rides" if rides else "own", str(spike_rank)]
    return on_two_ranks(SCRIPT, [*arguments, "fresh" if fresh else "resumed"])


def test_a_spike_on_rank_1_alone_rolls_both_back_to_the_same_step(tmp_path: Path) -> None:
    zero, one = two_ranks(tmp_path, rides=False, spike_rank=1)
    assert zero["trail"] == one["trail"]
    assert zero["trail"].count(160) >= 2
    assert zero["sum"] == one["sum"]
    assert zero["cursor"] == one["cursor"]
    kinds = [event[0] for event in zero["events"]]
    written = [at for kind, at, *_ in zero["events"] if kind == "checkpoint"]
    assert written[0] == 100
    assert len(written) > 1, "the branch that a rollback began is on disk too"
    told = [kind for kind in kinds if kind not in ("warn", "checkpoint")]
    assert told[:3] == ["explode", "autopsy", "rollback"]
    explode = next(event for event in zero["events"] if event[0] == "explode")
    assert "on rank 1" in explode[3]
    autopsy = next(event for event in zero["events"] if event[0] == "autopsy")
    assert autopsy[3].startswith("data")

    resumed = two_ranks(tmp_path, rides=False, spike_rank=-1, fresh=False)
    assert resumed[0]["trail"][0] == written[-1] + 1
    assert resumed[0]["sum"] == resumed[1]["sum"]


def test_the_ballot_rides_on_a_reduction_that_the_training_does_anyway(tmp_path: Path) -> None:
    zero, one = two_ranks(tmp_path, rides=True, spike_rank=0)
    assert zero["trail"] == one["trail"]
    assert zero["trail"].count(160) >= 2
    assert zero["sum"] == one["sum"]

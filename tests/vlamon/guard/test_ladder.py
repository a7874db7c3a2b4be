"""The ladder: clip, skip and a lower lr before a rollback, each reported, none when all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.ranks import on_two_ranks
from tests.vlamon.guard.test_guard import broken_weight
from tests.vlamon.guard.toy import SPIKE, Toy, far_off, identical
from vlamon.guard import DefaultPolicy, Guard, GuardSettings, Situation

LADDER = ("clip", "skip", "lr", "rollback")


def rungs(toy: Toy) -> list[str]:
    return [
        data["rung"]
        for kind in ("warn", "note")
        for _, data in toy.emitter.kinds(kind)
        if "rung" in data and "count" not in data
    ]


def rollbacks(toy: Toy) -> list[dict[str, Any]]:
    return [data for _, data in toy.emitter.kinds("rollback")]


def a_large_gradient(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """Far larger than usual, though the loss is as usual."""

    def larger(gradient: torch.Tensor) -> torch.Tensor:
        return 500.0 * gradient

    hooks = [parameter.register_hook(larger) for parameter in toy.model.parameters()]
    toy.optimizer.register_step_pre_hook(lambda *_: [hook.remove() for hook in hooks] and None)
    return y


def test_rungs_change_no_number_of_a_healthy_training() -> None:
    with_rungs, without = Toy(checked=True, ladder=LADDER), Toy(checked=True)
    with_rungs.run(150)
    without.run(150)
    assert with_rungs.losses == without.losses
    assert identical(with_rungs.weights(), without.weights())
    assert rungs(with_rungs) == []


def test_an_outliers_update_is_skipped_and_nothing_is_rolled_back() -> None:
    toy = Toy(checked=True, faults={4 * SPIKE: far_off}, ladder=("skip", "rollback"))
    before: list[torch.Tensor] = []

    def look(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        before.extend(toy.weights())
        return far_off(toy, y)

    def look_again(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        assert identical(before, toy.weights())
        return y

    toy.faults = {4 * SPIKE: look, 4 * (SPIKE + 1): look_again}
    toy.run(200)
    assert before
    assert rungs(toy) == ["skip", "skip"], "the update, and the answer to the explosion"
    assert rollbacks(toy) == []
    assert toy.guard.ledger.budget_left == 3
    assert [data["text"] for _, data in toy.emitter.kinds("recovered")]


def test_a_large_gradient_is_clipped_to_the_usual_norm() -> None:
    toy = Toy(checked=True, once={4 * SPIKE: a_large_gradient}, ladder=("clip", "rollback"))
    norms: list[float] = []
    toy.optimizer.register_step_pre_hook(
        lambda optimizer, *_: norms.append(
            float(nn.utils.get_total_norm([p.grad for p in optimizer.param_groups[0]["params"]]))
        )
    )
    toy.run(SPIKE + 20)
    assert rungs(toy) == ["clip"]
    usual = sorted(norms[SPIKE - 40 : SPIKE])[20]
    assert norms[SPIKE] == pytest.approx(usual, rel=0.5)


@pytest.mark.parametrize("mode", ["watch", "off"])
def test_where_the_guard_only_reports_no_rung_acts(mode: str) -> None:
    toy = Toy(checked=True, once={4 * SPIKE: far_off}, ladder=LADDER, mode=mode)
    plain = Toy(checked=True, once={4 * SPIKE: far_off}, mode=mode)
    toy.run(SPIKE + 5)
    plain.run(SPIKE + 5)
    assert identical(toy.weights(), plain.weights())
    assert rungs(toy) == []


def test_weights_that_are_broken_climb_the_ladder_up_to_a_rollback() -> None:
    toy = Toy(checked=True, once={4 * SPIKE: broken_weight}, ladder=LADDER)
    toy.run(SPIKE + 60)
    assert [
        data["text"].split(" of the ladder")[0]
        for _, data in toy.emitter.kinds("note")
        if "goes on by" in data["text"]
    ] == ["goes on by rung skip"] * 3 + ["goes on by rung lr"]
    (back,) = rollbacks(toy)
    assert back["to"] < SPIKE <= back["from"] - 4
    assert back["from"] - back["to"] <= 20, "the nearest state from before the first explosion"
    assert back["lr_scale"] == 1.0, "a lower lr that did not help is taken back"
    assert toy.guard.ledger.backoffs == 0
    assert max(list(toy.losses.values())[-20:]) < 20


def test_a_ladder_without_a_rollback_reports_in_the_end() -> None:
    toy = Toy(checked=True, once={4 * SPIKE: broken_weight}, ladder=("clip", "skip"))
    toy.run(SPIKE + 20)
    assert rollbacks(toy) == []
    assert len(toy.emitter.kinds("explode")) == 4, "told until the ladder ends, and then once"


def test_a_loss_that_is_not_finite_is_a_skipped_update() -> None:
    toy = Toy(checked=True, ladder=("skip", "rollback"))
    toy.faults = {4 * SPIKE: lambda toy, y: y * torch.nan}
    toy.run(SPIKE + 20)
    assert rollbacks(toy) == []
    assert rungs(toy) == ["skip"]


def test_rungs_that_no_check_asks_for_are_a_note() -> None:
    toy = Toy(ladder=LADDER)
    toy.run(5)
    assert [data["text"] for _, data in toy.emitter.kinds("note")] == [
        "the rungs clip and skip of the ladder act in Guard.check, which was not called"
    ]


def accumulated(spoilt: int | None) -> tuple[list[bool], Guard]:
    """60 steps of two micro-batches each, of which the last one steps; one may be spoilt."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    settings = GuardSettings(ladder=("clip", "skip", "rollback"))
    guard, stepped = Guard(model, optimizer, settings=settings), []
    for step in range(guard.start(), 60):
        for micro in range(2):
            x = torch.randn(8, 4)
            loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean() + 1.0
            if step == spoilt and micro == 0:
                loss = loss * 1000.0
            loss.backward()
            may = guard.check(step, closs=loss.detach())
        stepped.append(may)
        if may:
            optimizer.step()
        optimizer.zero_grad()
        guard.after_step(step)
    guard.close()
    return stepped, guard


def test_a_bad_micro_batch_skips_its_whole_step() -> None:
    stepped, _ = accumulated(None)
    assert all(stepped)
    stepped, _ = accumulated(50)
    assert [step for step, may in enumerate(stepped) if not may] == [50]


def test_a_gradient_scaler_steps_or_is_left_out_as_the_guard_says() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10)
    guard = Guard(
        model,
        optimizer,
        extras={"scaler": scaler},
        settings=GuardSettings(ladder=("clip", "skip", "rollback")),
    )
    skipped = []
    for step in range(guard.start(), 60):
        x = torch.randn(8, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean() + 1.0
        if step == 50:
            loss = loss * 100.0
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        before = model.weight.detach().clone()
        if guard.check(step, closs=loss.detach()):
            scaler.step(optimizer)
        else:
            skipped.append(step)
            assert torch.equal(before, model.weight)
        scaler.update()
        optimizer.zero_grad()
        guard.after_step(step)
    guard.close()
    assert skipped == [50], "and none where the scale has grown"


RANKS = """
import json, os, sys
import torch, torch.distributed as dist
from torch import nn
from vlamon.guard import Guard, GuardSettings, collectives

rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/join", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
reductions = []
reduce = dist.all_reduce
dist.all_reduce = lambda *given, **named: (reductions.append(0), reduce(*given, **named))[1]
ladder = ("clip", "skip", "rollback") if sys.argv[2] == "ladder" else ("rollback",)
guard = Guard(model, optimizer, settings=GuardSettings(ladder=ladder))
torch.manual_seed(1 + rank)
skipped = []
for step in range(guard.start(), 60):
    x = torch.randn(8, 4)
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean() + 1.0
    if step == 50 and rank == 1 and sys.argv[2] == "ladder":
        loss = loss * 3.0 + 100.0
    loss.backward()
    if guard.check(step, closs=loss.detach()):
        optimizer.step()
    else:
        skipped.append(step)
    optimizer.zero_grad()
    guard.after_step(step)
guard.close()
weights = [float(each) for each in model.module.weight.view(-1)]
print("RESULT" + json.dumps([skipped, weights, len(reductions)]), flush=True)
os._exit(0)  # all is said; gloo's threads may abort a process that is taken down
"""


def test_all_ranks_skip_what_one_saw_without_another_collective(tmp_path: Any) -> None:
    found = {}
    for what in ("ladder", "plain"):
        (tmp_path / what).mkdir()
        found[what] = on_two_ranks(RANKS, [str(tmp_path / what), what])
    (one, two), (plain, _) = found["ladder"], found["plain"]
    assert one[0] == two[0] == [50]
    assert one[1] == two[1]
    assert plain[0] == []
    assert one[2] == plain[2]


@pytest.mark.parametrize(
    ("ladder", "situation", "expected"),
    [
        (LADDER, {"prevented": "skip"}, ("climb", "skip")),
        (LADDER, {"prevented": "clip", "climbed": 2}, ("climb", "clip")),
        (LADDER, {"prevented": "skip", "climbed": 3}, ("climb", "lr")),
        (LADDER, {}, ("climb", "lr")),
        (LADDER, {"lowered": True}, ("rollback", "")),
        (LADDER, {"backoffs": 1}, ("rollback", "")),
        (LADDER, {"mode": "watch", "prevented": "skip"}, ("report", "")),
        (LADDER, {"mode": "ask", "prevented": "skip"}, ("climb", "skip")),
        (("skip", "rollback"), {"mode": "ask"}, ("ask", "")),
        (("skip",), {"prevented": "skip", "climbed": 3}, ("report", "")),
        (("rollback",), {"prevented": "skip"}, ("rollback", "")),
    ],
)
def test_the_shipped_policy_climbs(
    ladder: Any, situation: dict[str, Any], expected: tuple[str, str]
) -> None:
    policy = DefaultPolicy(GuardSettings(ladder=ladder))
    decision = policy.decide(Situation(**{"mode": "auto", "budget_left": 3, **situation}))
    assert (decision.action, decision.rung) == expected


@pytest.mark.parametrize("ladder", [(), ("rollback", "skip"), ("dodge",), "rollback"])
def test_a_ladder_that_is_none_is_a_sentence(ladder: Any) -> None:
    with pytest.raises(ValueError, match="some of clip, skip, lr, rollback"):
        GuardSettings(ladder=ladder)
    assert GuardSettings(ladder=["skip", "rollback"]).ladder == ("skip", "rollback")  # type: ignore[arg-type]


SHARDS = """
import json, os, sys
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from tests.vlamon.guard.toy import Emitter
from vlamon.guard import Guard, GuardSettings

rank = int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/join", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
if sys.argv[2] == "fsdp1":
    model = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
else:
    fully_shard(model)
optimizer, emitter = torch.optim.SGD(model.parameters(), 0.01), Emitter()
settings = GuardSettings(ladder=("clip", "skip", "rollback"))
guard = Guard(model, optimizer, emitter=emitter, settings=settings)
torch.manual_seed(1 + rank)

def norm():
    mine = [p.grad for p in model.parameters() if p.grad is not None and p.grad.numel()]
    mine = [g.to_local() if hasattr(g, "to_local") else g for g in mine]
    total = sum((g.square().sum() for g in mine), torch.zeros(()))
    dist.all_reduce(total)
    return float(total.sqrt())

skipped, norms = [], []
for step in range(guard.start(), 60):
    x = torch.randn(64, 4)
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean() + 1.0
    if step == 50 and rank == 1:
        loss = loss * 3.0 + 100.0
    loss.backward()
    if step == 55:
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p.grad.mul_(8.0)
    may = guard.check(step, closs=loss.detach())
    norms.append(norm())
    if may:
        optimizer.step()
    else:
        skipped.append(step)
    optimizer.zero_grad()
    guard.after_step(step)
guard.close()
warned = [(step, data) for kind, step, data in emitter.events if kind == "warn"]
told = [(step, data["rung"]) for step, data in warned if "rung" in data]
print("RESULT" + json.dumps([skipped, norms, told, len(emitter.kinds("rollback"))]), flush=True)
os._exit(0)  # all is said; gloo's threads may abort a process that is taken down
"""


@pytest.mark.parametrize("how", ["fsdp1", "fully_shard"])
def test_sharded_ranks_climb_the_same_rungs(how: str, tmp_path: Path) -> None:
    one, two = on_two_ranks(SHARDS, [str(tmp_path), how])
    assert one[0] == two[0] == [50]
    assert one[1] == two[1]
    usual = sorted(one[1][20:50])[15]
    assert one[1][55] == pytest.approx(usual, rel=0.6), "clipped to the usual norm of all shards"
    assert one[2] == [[50, "skip"], [55, "clip"]]
    assert one[3] == two[3] == 0

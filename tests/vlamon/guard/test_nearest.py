"""Back no further than needed: the nearest snapshot before the onset, proved before it is used."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vlamon.guard.test_guard import broken_weight, huge_lr
from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from vlamon.guard import GuardSettings
from vlamon.guard.ring import Ring


def rollbacks(toy: Toy) -> list[dict[str, Any]]:
    return [data for _, data in toy.emitter.kinds("rollback") if data["ok"]]


def lost(toy: Toy) -> list[int]:
    return [data["from"] - data["to"] for data in rollbacks(toy)]


@pytest.mark.parametrize("fault", [far_off, broken_weight, huge_lr])
@pytest.mark.parametrize("measured", [True, False])
def test_an_instant_fault_costs_a_few_steps(fault: Any, measured: bool) -> None:
    toy = Toy(once={4 * SPIKE: fault}, every=50)
    if not measured:
        toy.guard.rollback.explainer.probe = toy.guard.rollback.explainer.replay = None
    toy.run(260)
    assert len(lost(toy)) == 1
    assert lost(toy)[0] <= 18
    assert max(list(toy.losses.values())[-20:]) < 20


def test_before_the_first_trusted_snapshot_a_fault_does_not_cost_the_start() -> None:
    toy = Toy(once={4 * 60: far_off}, every=50)
    toy.run(100)
    assert lost(toy) == [60 - 59]


def test_a_second_fault_on_the_way_finds_a_near_snapshot_too() -> None:
    toy = Toy(faults={4 * 150: far_off, 4 * 210: far_off}, every=50)
    toy.run(230)
    assert len(lost(toy)) == 2
    assert max(lost(toy)) <= 13


@pytest.mark.parametrize("apart", [20, 40, 60])
def test_a_second_fault_before_anything_is_trusted_does_not_cost_the_start(apart: int) -> None:
    toy = Toy(faults={4 * 60: far_off, 4 * (60 + apart): far_off}, every=50)
    toy.run(150)
    assert len(lost(toy)) == 2
    assert lost(toy)[0] == 1
    assert lost(toy)[1] <= 25


def test_a_stretch_of_bad_data_does_not_cost_the_start() -> None:
    """The same trouble right behind the rollback: a state older, and none that costs everything."""
    toy = Toy(faults={4 * cursor: far_off for cursor in range(60, 100)}, every=50)
    toy.run(150)
    assert [data["to"] for data in rollbacks(toy)] == [59, 49]
    assert max(list(toy.losses.values())[-20:]) < 20


def test_a_lower_lr_does_not_cost_the_start_while_a_good_state_is_held() -> None:
    toy = Toy(once={4 * 60: far_off}, every=50, budget=0)
    toy.run(150)
    (back,) = rollbacks(toy)
    assert (back["lr_scale"], back["to"]) == (0.5, 59)


def test_a_command_in_calm_times_goes_to_a_proved_state_where_none_is_trusted() -> None:
    toy = Toy(every=50)
    order = Order("rollback")
    toy.run(100, {70: [order]})
    assert order.result is not None
    assert order.result["step"] == 59


def test_the_first_snapshot_is_trusted_before_step_100() -> None:
    toy = Toy(every=50, patience=12)
    toy.run(95)
    ring = toy.guard.snapshots.ring
    assert [slot.step for slot in ring.held() if slot.trusted] == [-1, 15]


def test_a_snapshot_whose_weights_were_hit_before_the_loss_showed_it_is_left_out() -> None:
    """Hit by the update of step 155, whose snapshot is due; the batch of step 156 explodes."""

    def hit(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        for group in toy.optimizer.param_groups:
            group["lr"] = 3.0
        return y

    toy = Toy(once={4 * 155: hit}, every=50)
    toy.run(230)
    ((back,)) = rollbacks(toy)
    assert (back["from"], back["to"]) == (156, 149)
    (left_out,) = (d["text"] for _, d in toy.emitter.kinds("note") if "left out" in d["text"])
    assert "the snapshot of step 155 is left out: closs of the batch of step 15" in left_out


def test_a_probe_that_fails_leaves_only_trusted_snapshots() -> None:
    toy = Toy(once={4 * SPIKE: far_off}, every=50)

    def broken(batch: Any) -> Any:
        raise RuntimeError("no such file")

    toy.guard.rollback.explainer.probe = broken
    toy.run(230)
    (back,) = rollbacks(toy)
    assert back["from"] - back["to"] >= 76
    assert "it could not be measured" in toy.emitter.kinds("note")[0][1]["text"]


def test_a_non_finite_moment_is_no_state_to_go_on_from() -> None:
    def hit(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        first = next(iter(toy.model.parameters()))
        toy.optimizer.state[first]["exp_avg"].view(-1)[0] = torch.inf
        return y

    toy = Toy(once={4 * 155: hit}, every=50)
    toy.run(230)
    (back,) = rollbacks(toy)
    assert back["to"] < 155


def test_near_slots_leave_the_old_ones_alone() -> None:
    ring = Ring(4, trust_after=76, reach=288, near=2)
    plain = Ring(4, trust_after=76, reach=288)
    for each in (ring, plain):
        each.take(-1, {}, trusted=True)
    for step in range(2000):
        for each in (ring, plain):
            each.quiet_until(step)
            if (step + 1) % 76 == 0:
                each.take(step, {})
        if (step + 1) % 12 == 0:
            ring.take_near(step, {})
        assert sorted(s.step for s in ring.slots if s.filled) == [s.step for s in plain.held()]
    assert [slot.step for slot in sorted(ring.near, key=lambda slot: slot.step)] == [1979, 1991]
    assert not any(slot.trusted for slot in ring.near)


def test_without_near_slots_one_that_waits_to_be_trusted_serves() -> None:
    toy = Toy(once={4 * SPIKE: far_off}, every=50, near=0)
    toy.run(230)
    assert lost(toy) == [11]
    assert GuardSettings(slots=0).near == 2
    assert Ring(0, 1, near=2).near == []

"""Where a rollback goes: what is trusted, what was chosen, and what is left when that is gone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from vlamon.records import Snapshot


def told(toy: Toy) -> list[Snapshot]:
    return list(toy.emitter.statuses[-1]["snapshots"])


def settled(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """Whatever is being written is on disk before the step goes on."""
    toy.guard.snapshots.checkpoints.close()
    return y


def broken(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    return settled(toy, y) * math.nan


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("durable_every", [0, 10])
@pytest.mark.parametrize(("first", "to"), [(14, -1), (40, 15)])
def test_a_second_early_explosion_goes_back_to_the_same_state_again(
    tmp_path: Path, durable_every: int, first: int, to: int
) -> None:
    """The start, where nothing else is held; the first snapshot from then on."""
    faults = {4 * first: broken, 4 * (first + 30): broken}
    toy = Toy(tmp_path, durable_every=durable_every, every=50, near=0, faults=faults)
    toy.run(140)
    rollbacks = [data for _, data in toy.emitter.kinds("rollback")]
    assert [data["ok"] for data in rollbacks] == [True, True]
    assert [data["to"] for data in rollbacks] == [to, to]


def test_a_checkpoint_is_reported_as_trusted_when_it_was_quiet_for_long_enough(
    tmp_path: Path,
) -> None:
    toy = Toy(tmp_path, slots=0, faults={4 * 61: settled, 4 * 101: settled, 4 * 130: settled})
    pause, resume = Order("pause"), Order("resume")
    toy.emitter.answers = {"paused": [resume]}
    toy.run(140, {60: [Order("checkpoint")], 100: [Order("checkpoint")], 130: [pause]})
    assert resume.result is not None
    assert [(kept.step, kept.trusted) for kept in told(toy)] == [(60, True), (100, False)]


def test_what_an_explosion_came_upon_is_offered_no_more(tmp_path: Path) -> None:
    faults = {4 * 61: settled, 4 * 151: settled, 4 * SPIKE: far_off}
    toy = Toy(tmp_path, slots=0, mode="watch", faults=faults)
    toy.run(SPIKE + 1, {60: [Order("checkpoint")], 150: [Order("checkpoint")]})
    assert [(kept.step, kept.trusted) for kept in told(toy)] == [(60, True)]


def test_a_command_goes_to_the_nearest_of_memory_and_disk(tmp_path: Path) -> None:
    toy, order = Toy(tmp_path, faults={4 * 120: settled}), Order("rollback", {"to": 117})
    toy.run(150, {117: [Order("checkpoint")], 145: [order]})
    assert order.result is not None
    assert order.result["step"] == 117
    assert "step-000000117" in order.result["where"]


def test_a_step_that_was_not_trained_yet_is_refused_and_disturbs_nothing() -> None:
    order, toy = Order("rollback", {"to": 10**9}), Toy(faults={4 * 151: far_off})
    toy.run(152, {150: [order]})
    assert "step 1000000000 was not trained yet: the last one is step 150" in order.error
    assert [step for step, _ in toy.emitter.kinds("explode")] == [151], "it is still watched"


def test_a_snapshot_that_was_chosen_and_is_gone_is_refused_instead_of_replaced(
    tmp_path: Path,
) -> None:
    def corrupt(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        settled(toy, y)
        flip(tmp_path / "checkpoints" / "step-000000117" / "tensors.bin")
        return y

    toy = Toy(tmp_path, faults={4 * 120: corrupt})
    gone = Order("rollback", {"to": 3, "exact": True})
    unreadable = Order("rollback", {"to": 117, "exact": True})
    toy.run(150, {117: [Order("checkpoint")], 130: [gone], 140: [unreadable]})
    assert "there is no snapshot of step 3 any more; there are those of" in gone.error
    assert "there is no snapshot of step 117 any more" in unreadable.error
    assert toy.trained == list(range(150))
    said = [data["text"] for _, data in toy.emitter.kinds("checkpoint") if not data["ok"]]
    assert "tensors.bin is corrupt" in said[0]
    assert 117 not in [kept.step for kept in told(toy)]


def test_a_snapshot_that_no_longer_fits_is_passed_over_and_reported() -> None:
    """Parameters thawed at step 90: the snapshots from before lack their group."""

    def thaw(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        toy.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
        return y

    toy, order = Toy(once={4 * 90: thaw}), Order("rollback", {"to": 130})
    late: dict[str, Any] = {"to": 88}
    too_old = Order("rollback", late)
    toy.run(170, {140: [order], 150: [too_old]})
    assert order.result is not None
    assert order.result["step"] >= 90
    assert "fits" in too_old.error or "no snapshot at or before step 88" in too_old.error


def test_no_fitting_snapshot_leaves_the_training_as_it_is() -> None:
    def thaw(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        toy.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
        return y

    toy, order = Toy(once={4 * 148: thaw}), Order("rollback")
    assert toy.run(160, {150: [order]}) == 160
    assert order.error == "none of the trusted snapshots fits this training any more"
    notes = [data["text"] for _, data in toy.emitter.kinds("note")]
    assert any("is passed over: optimizer.0: the saved state has other" in text for text in notes)
    assert toy.trained == list(range(160))


def test_a_script_that_resumed_by_itself_is_never_sent_to_before_it(tmp_path: Path) -> None:
    faults = {4 * 12: broken}
    toy = Toy(tmp_path, every=50, near=0, faults=faults)
    step = toy.guard.start(step=5050)
    assert step == 5050
    while step < 5070:
        batch, loss = toy.train_step()
        step = toy.guard.after_step(step, batch=batch, closs=loss)
    toy.guard.close()
    assert [data["to"] for _, data in toy.emitter.kinds("rollback")] == [5049]

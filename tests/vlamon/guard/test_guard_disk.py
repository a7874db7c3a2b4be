"""The guard and the disk: checkpoints written, broken, waited for and resumed from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off, identical
from vlamon.guard.checkpoint import disk
from vlamon.guard.checkpoint.writer import Durable, DurableError


def settled(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """Whatever is being written is on disk before the step goes on."""
    toy.guard.snapshots.checkpoints.close()
    return y


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").glob("step-*"))


def test_without_a_ring_the_newest_checkpoint_before_the_trouble_is_used(tmp_path: Path) -> None:
    toy = Toy(tmp_path, slots=0, faults={4 * SPIKE: far_off})
    toy.run(200, {60: [Order("checkpoint")]})
    ((_, data),) = toy.emitter.kinds("rollback")
    assert data["to"] == 60
    assert "checkpoints/step-000000060" in data["where"]


def test_a_checkpoint_that_is_still_being_written_is_waited_for_by_the_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk._write_all

    def slow(handle: int, piece: memoryview) -> None:
        time.sleep(0.3)
        real(handle, piece)

    monkeypatch.setattr(disk, "_write_all", slow)
    toy = Toy(tmp_path, slots=0, faults={4 * SPIKE: far_off})
    toy.run(SPIKE + 5, {60: [Order("checkpoint")]})
    ((_, data),) = toy.emitter.kinds("rollback")
    assert data["ok"]
    assert data["to"] == 60


def test_a_checkpoint_order_is_answered_when_it_is_on_disk(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    order = Order("checkpoint")
    toy.run(60, {30: [order]})
    assert order.result is not None
    assert order.result["step"] == 30
    assert Path(order.result["path"]).joinpath("manifest.json").exists()


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Toy()
    whole.run(120)
    Toy(tmp_path).run(60, {40: [Order("checkpoint")]})
    resumed = Toy(tmp_path, seed=7)
    resumed.run(120)
    assert resumed.trained[0] == 41
    assert resumed.emitter.attempt == 1
    assert identical(whole.weights(), resumed.weights())


def test_a_rollback_ordered_during_a_checkpoint_disturbs_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk._write_all

    def slow(handle: int, piece: memoryview) -> None:
        time.sleep(0.3)
        real(handle, piece)

    monkeypatch.setattr(disk, "_write_all", slow)
    toy = Toy(tmp_path)
    checkpoint, rollback = Order("checkpoint"), Order("rollback", {"data": "replay"})
    toy.run(160, {149: [checkpoint], 150: [rollback]})
    assert checkpoint.result is not None
    assert rollback.result is not None
    assert rollback.result["step"] < 149
    loaded = Durable(tmp_path / "checkpoints").load(Path(checkpoint.result["path"]))
    assert loaded is not None
    plain = Toy()
    plain.run(150)
    saved = list(loaded.state["parts"]["model"].values())
    assert identical(plain.weights(), saved)


def test_a_command_at_a_step_that_is_due_anyway_makes_one_checkpoint(tmp_path: Path) -> None:
    toy, order = Toy(tmp_path, durable_every=21), Order("checkpoint")
    toy.run(30, {20: [order]})
    assert order.result is not None
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"latest", "step-000000020"}


def test_a_full_disk_is_reported_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path)
    first, second = Order("checkpoint"), Order("checkpoint")

    def full(handle: int, piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    def fill_the_disk() -> None:
        toy.guard.snapshots.checkpoints.close()
        monkeypatch.setattr(disk, "_write_all", full)

    toy.faults[4 * 40] = lambda toy, y: (fill_the_disk(), y)[1]
    assert toy.run(80, {20: [first], 50: [second]}) == 80
    assert first.result is not None
    assert "No space left on device" in second.error
    assert "step-000000020 is still in force" in second.error
    failures = [data for _, data in toy.emitter.kinds("checkpoint") if not data["ok"]]
    assert len(failures) == 1


def test_a_corrupt_checkpoint_is_named_and_the_one_before_it_resumed_from(tmp_path: Path) -> None:
    Toy(tmp_path).run(80, {20: [Order("checkpoint")], 50: [Order("checkpoint")]})
    newest = tmp_path / "checkpoints" / "step-000000050" / "tensors.bin"
    data = bytearray(newest.read_bytes())
    data[100] ^= 1
    newest.write_bytes(data)
    resumed = Toy(tmp_path)
    resumed.run(60)
    assert resumed.trained[0] == 21
    told = [data["text"] for _, data in resumed.emitter.kinds("checkpoint")]
    assert any("tensors.bin is corrupt: its sha256 is" in text for text in told)


def test_where_every_checkpoint_is_corrupt_nothing_starts_over_and_nothing_is_deleted(
    tmp_path: Path,
) -> None:
    Toy(tmp_path).run(80, {20: [Order("checkpoint")], 50: [Order("checkpoint")]})
    for path in (tmp_path / "checkpoints").glob("step-*/tensors.bin"):
        flip(path)
    with pytest.raises(DurableError) as told:
        Toy(tmp_path, durable_every=5, keep=1).run(60)
    assert str(told.value).count("is corrupt: its sha256 is") == 2
    assert "to start over" in str(told.value)
    assert names(tmp_path) == ["step-000000020", "step-000000050"]


def test_the_end_is_written_though_an_abandoned_branch_wrote_the_same_step(tmp_path: Path) -> None:
    toy, again = Toy(tmp_path), Order("stop")
    toy.once[4 * 150] = settled
    toy.emitter.answers = {"rollback": [again]}
    toy.run(200, {149: [Order("checkpoint")], 150: [Order("rollback")]})
    toy.guard.stopped = False
    step = toy.trained[-1] + 1
    while step <= 149:
        batch, loss = toy.train_step()
        step = toy.guard.after_step(step, batch=batch, closs=loss)
    toy.guard.checkpoint(149)
    toy.guard.close()
    resumed = Toy(tmp_path, seed=7)
    assert resumed.guard.start() == 150
    assert identical(toy.weights(), resumed.weights())


def test_the_end_is_written_after_a_write_of_that_step_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    toy, order = Toy(tmp_path), Order("checkpoint")
    with monkeypatch.context() as patched:
        patched.setattr(disk, "_write_all", full)
        toy.run(60, {59: [order]})
    assert "No space left" in order.error
    toy.guard.checkpoint(59)
    toy.guard.close()
    assert names(tmp_path) == ["step-000000059"]


def test_the_end_is_written_once(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.run(60, {59: [Order("checkpoint")]})
    toy.guard.checkpoint(59)
    toy.guard.close()
    assert names(tmp_path) == ["step-000000059"]


def test_one_ordered_checkpoint_is_enough_for_a_rollback_to_be_written(tmp_path: Path) -> None:
    """Without checkpoints of its own accord: a resume must not find the branch that was left."""
    toy = Toy(tmp_path, faults={4 * 150: settled, 4 * SPIKE: far_off})
    toy.run(SPIKE + 10, {145: [Order("checkpoint")]})
    ((_, back),) = toy.emitter.kinds("rollback")
    assert [step for step, _ in toy.emitter.kinds("checkpoint")] == [145, back["to"] + 1]
    resumed = Toy(tmp_path)
    assert resumed.guard.start() == back["to"] + 2
    assert resumed.guard.ledger.budget_left == 2
    assert resumed.guard.skips.state_dict() == toy.guard.skips.state_dict()


def test_a_rollback_writes_nothing_where_no_checkpoint_was_wanted(tmp_path: Path) -> None:
    Toy(tmp_path).run(170, {150: [Order("rollback")]})
    assert not (tmp_path / "checkpoints").exists()


def test_retention_leaves_a_trusted_checkpoint_to_go_back_to(tmp_path: Path) -> None:
    """Three newest checkpoints, 25 steps apart, are all younger than the 65 steps of trust."""
    boundaries = {4 * step: settled for step in range(25, 400, 25)}
    toy = Toy(tmp_path, slots=0, durable_every=25, faults={**boundaries, 4 * 310: far_off})
    toy.run(311)
    ((_, back),) = toy.emitter.kinds("rollback")
    assert back["ok"]
    assert 310 - 3 * 65 < back["to"] <= 310 - 65
    assert len(names(tmp_path)) <= 5


def test_a_checkpoint_that_does_not_fit_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    Toy(tmp_path).run(30, {20: [Order("checkpoint")]})
    store = Durable(tmp_path / "checkpoints")
    whole = store.load()
    assert whole is not None
    for part, key, said in (
        ("sampler", "cursor", "sampler: the saved state lacks 'cursor'"),
        ("model", "0.weight", "the saved state lacks model.0.weight"),
        ("optimizer.0", "param_groups", "optimizer.0: the saved state lacks 'param_groups'"),
    ):
        parts = dict(whole.state["parts"])
        parts[part] = {name: value for name, value in parts[part].items() if name != key}
        path = store.write(20, {**whole.state, "parts": parts}, whole.meta).path
        with pytest.raises(DurableError) as told:
            Toy(tmp_path).run(40)
        assert f"{path} does not fit this training: {said}; resume with" in str(told.value)


def test_budget_and_skips_survive_a_resume_and_no_rollback_refunds_them(tmp_path: Path) -> None:
    toy = Toy(tmp_path, faults={4 * SPIKE: far_off})
    toy.run(220, {200: [Order("checkpoint")]})
    assert toy.guard.ledger.budget_left == 2
    resumed = Toy(tmp_path, faults={4 * SPIKE: far_off})
    resumed.run(210)
    assert resumed.guard.ledger.budget_left == 2
    assert resumed.guard.skips.state_dict() == toy.guard.skips.state_dict()


def test_a_training_that_dies_right_after_a_rollback_resumes_on_the_branch_it_went_to(
    tmp_path: Path,
) -> None:
    def all_is_written(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        toy.guard.snapshots.checkpoints.close()
        return y

    def far_off_when_all_is_written(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        return far_off(toy, all_is_written(toy, y))

    faults = {4 * 120: all_is_written, 4 * 160: far_off_when_all_is_written}
    toy = Toy(tmp_path, faults=faults, durable_every=79)
    toy.emitter.answers = {"rollback": [Order("stop")]}  # as near to a death as a test can order
    toy.run(400)
    ((at, back),) = toy.emitter.kinds("rollback")
    written = [step for step, _ in toy.emitter.kinds("checkpoint")]
    assert back["to"] < 157 < at, "a checkpoint of the branch that was left is the newer one"
    assert written == [78, 157, back["to"] + 1]
    resumed = Toy(tmp_path)
    resumed.run(back["to"] + 20)
    assert resumed.trained[0] == back["to"] + 2
    assert resumed.emitter.attempt == 2
    assert resumed.guard.ledger.budget_left == toy.guard.ledger.budget_left
    assert resumed.sampler.cursor > 4 * 160

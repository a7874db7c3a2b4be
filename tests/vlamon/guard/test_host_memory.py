"""What snapshots take of the host's memory, and what a training does when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import Order, Toy, far_off
from vlamon.guard import Guard, GuardSettings, host_memory, ring
from vlamon.guard.host_memory import MemoryNeed, needed, plan
from vlamon.guard.ring import Ring
from vlamon.guard.state.capture import TrainingState

GB = 10**9


@pytest.mark.parametrize(
    ("asked", "free", "slots", "lowered"),
    [
        (4, 23 * GB, 4, False),
        (4, 13 * GB, 3, True),
        (4, 5 * GB, 0, True),  # one snapshot would have to overwrite what it can return to
        ("auto", 120 * GB, 8, False),
        ("auto", 60 * GB, 4, False),
        ("auto", 20 * GB, 0, False),
    ],
)
def test_snapshots_take_no_more_than_is_free(
    asked: Any, free: int, slots: int, lowered: bool
) -> None:
    made = plan(asked, 0, MemoryNeed(changing=3 * GB, frozen=2 * GB), free)
    assert (made.slots, made.lowered) == (slots, lowered)
    assert made.text.startswith(f"{slots} snapshots in memory take")


def test_a_lack_of_room_is_said_in_sizes_that_people_use() -> None:
    made = plan(4, 0, MemoryNeed(changing=3 * GB, frozen=2 * GB), 13 * GB)
    assert made.text == (
        "3 snapshots in memory take 11.0 GB: 4 would take 14.0 GB of the 13.0 GB that are free on "
        "this host"
    )
    assert plan(4, 0, MemoryNeed(changing=100_000_000, frozen=0), 13 * GB).text == ""
    told = plan("auto", 0, MemoryNeed(changing=1_000_000, frozen=0), GB).text
    assert told == "8 snapshots in memory take 8 MB of the 1.0 GB that are free on this host"
    assert host_memory.total([torch.zeros(1_250_000)]) == "5 MB"


@pytest.mark.parametrize(
    ("asked", "free", "slots", "near", "lowered"),
    [
        (4, 23 * GB, 4, 2, False),
        (4, 19 * GB, 4, 1, True),
        (4, 15 * GB, 3, 0, True),
        (0, 23 * GB, 0, 0, False),
        ("auto", 120 * GB, 7, 2, False),
        ("auto", 80 * GB, 4, 2, False),
        ("auto", 60 * GB, 4, 0, False),
    ],
)
def test_near_snapshots_are_counted_and_the_first_to_go(
    asked: Any, free: int, slots: int, near: int, lowered: bool
) -> None:
    each = MemoryNeed(changing=3 * GB, frozen=2 * GB)
    made = plan(asked, 2 if asked else 0, each, free)
    assert (made.slots, made.near, made.lowered) == (slots, near, lowered)
    share = 0.9 if isinstance(asked, int) else 0.25
    assert each.of(made.slots + made.near) <= share * free
    if slots:
        assert made.text.startswith(f"{slots + near} snapshots in memory take")


def test_moments_that_an_optimizer_has_not_made_yet_are_counted() -> None:
    model = nn.Linear(100, 100, bias=False)
    state = TrainingState({"model": model, "optimizer.0": torch.optim.AdamW(model.parameters())})
    before = needed(state).changing
    model(torch.ones(1, 100)).sum().backward()
    state.parts["optimizer.0"].step()  # type: ignore[union-attr]
    assert before == pytest.approx(needed(state).changing, abs=100)
    assert before > 3 * 40_000


class Adapted(nn.Module):
    """A frozen base and a small adapter, as LoRA trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.adapter = nn.Linear(64, 1)


def test_frozen_parameters_are_held_once_however_many_snapshots_there_are() -> None:
    model = Adapted()
    state = TrainingState({"model": model})
    held = Ring(3, 0)
    for step in range(3):
        held.take(step, state.capture(), trusted=True)
    bases = {slot.state()["parts"]["model"]["base.weight"].data_ptr() for slot in held.held()}
    adapters = {slot.state()["parts"]["model"]["adapter.weight"].data_ptr() for slot in held.held()}
    assert (len(bases), len(adapters)) == (1, 3)
    with torch.no_grad():
        model.base.weight.fill_(9.0)
    saved = held.held()[0].state()
    state.restore(saved)
    assert torch.equal(model.base.weight, saved["parts"]["model"]["base.weight"])
    assert not bool((model.base.weight == 9.0).any())


def test_a_frozen_parameter_that_changes_after_all_is_copied_into_each_snapshot() -> None:
    """An EMA writes through `.data`, which no version counter sees."""
    model = Adapted()
    state, held, values = TrainingState({"model": model}), Ring(4, 0), []
    for step in range(4):
        values.append(model.base.weight.detach().clone())
        held.take(step, state.capture(), trusted=True)
        model.base.weight.data[0, step] += 1.0
    for slot, value in zip(held.held(), values, strict=True):
        assert torch.equal(slot.state()["parts"]["model"]["base.weight"], value)


def no_memory(*arguments: Any, **options: Any) -> torch.Tensor:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate")


def test_no_memory_for_a_checkpoint_is_an_event_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, first, second = Toy(tmp_path), Order("checkpoint"), Order("checkpoint")

    def lack(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(ring, "_place_for", no_memory)
        return y

    def back(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        monkeypatch.undo()
        return y

    toy.once = {4 * 30: lack, 4 * 31: back}
    assert toy.run(60, {30: [first], 40: [second]}) == 60
    assert "checkpoint of step 30 was not written: no memory for a copy of the state" in first.error
    assert "can't allocate" in first.error
    assert second.result is not None


def test_no_memory_for_a_snapshot_or_for_the_evidence_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path, mode="watch")

    def lack(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(ring, "_place_for", no_memory)
        return far_off(toy, y)

    toy.once = {4 * 160: lack}
    assert toy.run(300) == 300
    notes = [data["text"] for _, data in toy.emitter.kinds("note")]
    assert any("the explosion of step 160 is not kept on disk: no memory" in each for each in notes)
    assert len([each for each in notes if each.startswith("no snapshot: no memory")]) == 1


def test_a_guard_that_takes_fewer_snapshots_than_asked_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 300_000)
    model = nn.Linear(100, 100)
    guard = Guard(model, torch.optim.SGD(model.parameters()), settings=GuardSettings(slots=8))
    assert guard.settings.slots == 5
    guard.start()
    assert len(guard.snapshots.ring.slots) == 5


def test_the_ranks_of_a_host_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "_available", lambda: 1 << 20)
    for ranks, share in (("4", 1 << 18), ("1", 1 << 20), ("0", 1 << 20), ("many", 1 << 20)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert host_memory.free_bytes() == share


@pytest.mark.parametrize(
    ("used", "stat", "free"),
    [
        (600, "inactive_file 100\nactive_file 50\n", 500),
        (990, "anon 10\ninactive_file 900\n", 910),
        (600, "anon 10\n", 400),
        (600, None, 400),
        (600, "inactive_file 700\n", 1000),
    ],
)
def test_what_a_container_has_read_is_free_again_when_memory_is_needed(
    used: int, stat: str | None, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = host_memory.Cgroup(tmp_path, "memory.max", "memory.current", "inactive_file ")
    monkeypatch.setattr(host_memory, "CGROUPS", (group,))
    monkeypatch.setattr(host_memory, "_available", lambda: 1 << 40)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert host_memory.free_bytes() == 1 << 40, "there is no limit"
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    if stat is not None:
        (tmp_path / "memory.stat").write_text(stat)
    assert host_memory.free_bytes() == free
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory.free_bytes() == 1 << 40


def test_a_small_frozen_parameter_is_copied_each_time_for_its_sums_may_agree() -> None:
    """The bytes of 1.0 in another order are another number, and add up to the same."""
    layer = nn.Linear(1, 1, bias=False).requires_grad_(False)
    state, held = TrainingState({"model": layer}), Ring(2, 0)
    values = [torch.tensor([0, 0, 128, 63]), torch.tensor([128, 0, 0, 63])]
    for step, value in enumerate(values):
        number = value.to(torch.uint8).view(torch.float32).reshape(1, 1)
        layer.weight.data.copy_(number)
        held.take(step, state.capture(), trusted=True)
    first, second = (slot.state()["parts"]["model"]["weight"] for slot in held.held())
    assert float(first) == 1.0
    assert float(second) != 1.0

"""What a script may log, and what becomes of it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vlamon import Emitter
from vlamon.emitter.values import PendingValues, PinnedCopy, names_of, settle
from vlamon.records import BatchBlock, Event
from vlamon.sources.journal import JournalSource


def settled(**metrics: Any) -> dict[str, float]:
    def fail(reason: str) -> None:
        raise AssertionError(reason)

    found = settle(metrics, fail)
    assert isinstance(found, dict)
    assert all(type(value) is float for value in found.values())
    return found


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        np.float32(2),
        np.float64(2),
        np.int64(2),
        np.array(2.0),
        np.array([2.0]),
        torch.tensor(2.0),
        torch.tensor(2),
        torch.tensor([2.0]),
        torch.tensor(2.0, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.tensor(2.0)),
    ],
)
def test_every_kind_of_number_becomes_a_float(value: Any) -> None:
    assert settled(closs=value) == {"closs": 2.0}


def test_a_tensor_is_read_at_the_call() -> None:
    loss = torch.tensor(1.5, requires_grad=True) * 2
    found = settled(closs=loss.detach(), other=loss)
    loss.data.fill_(99.0)
    assert found == {"closs": 3.0, "other": 3.0}


def test_none_is_absent_and_nan_is_a_value() -> None:
    found = settled(loss_ct=None, closs=math.nan, z_loss=-math.inf)
    assert list(found) == ["closs", "z_loss"]
    assert math.isnan(found["closs"])


@pytest.mark.parametrize("horizon", [1, 3, 5, 10])
def test_actions_are_right_aligned_in_ten_slots(horizon: int) -> None:
    values = [index / 10 for index in range(horizon)]
    found = settled(l1_loss_action=values)
    assert found == {f"l1_loss_action_{10 - horizon + i}": v for i, v in enumerate(values)}


def test_horizon_twenty_wraps_around_and_shared_slots_hold_the_mean() -> None:
    found = settled(l1_loss_action=[float(index) for index in range(20)])
    assert found == {f"l1_loss_action_{slot}": slot + 5.0 for slot in range(10)}


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_lists_of_every_kind_are_spread(kind: Any) -> None:
    assert settled(rank=kind([1.0, 2.0])) == {"rank_0": 1.0, "rank_1": 2.0}
    assert names_of("acc_action", 2) == ["acc_action_8", "acc_action_9"]


def test_an_absent_place_in_a_list_stays_absent() -> None:
    assert settled(l1_loss_action=[None, 0.5]) == {"l1_loss_action_9": 0.5}


class Broken:
    def __float__(self) -> float:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("3.5", "x is a text"),
        (b"3", "x is a text"),
        (object(), "x is a object"),
        ({"a": 1}, "x is a dict"),
        (Broken(), "RuntimeError: no"),
        (torch.zeros(2, 3), r"shape \(2, 3\)"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        ([[1.0], [2.0]], "list of lists"),
        (1 << 2000, "OverflowError"),
        (1j, "x is a complex|TypeError"),
    ],
)
def test_what_is_not_a_number_is_left_out_and_named(value: Any, reason: str) -> None:
    import re

    reasons: list[str] = []
    assert settle({"closs": 1.0, "x": value}, reasons.append) == {"closs": 1.0}
    assert len(reasons) == 1
    assert re.search(reason, reasons[0])


class GpuCopy:
    """Stands in for pinned memory and the event behind it; the copy is done when told."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.done = False

    def query(self) -> bool:
        return self.done

    def tolist(self) -> list[float]:
        assert self.done, "read before the copy was done"
        return self.values


def test_values_on_their_way_from_the_gpu_are_waited_for_by_asking() -> None:
    copy = GpuCopy([1.0, 3.0])
    reading = PendingValues([("closs", 2.0)], [PinnedCopy(["slot", "slot"], copy, copy)], print)
    assert not reading.ready()
    copy.done = True
    assert reading.ready()
    assert reading.take() == {"closs": 2.0, "slot": 2.0}


class BrokenCopy:
    """A CUDA context that was lost, or a GPU that hangs."""

    def __init__(self, raises: bool) -> None:
        self.raises = raises

    def query(self) -> bool:
        if self.raises:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return False


@pytest.mark.parametrize("raises", [True, False])
def test_a_gpu_that_fails_or_hangs_holds_up_nothing_but_its_own_values(
    tmp_path: Path, raises: bool
) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(0, closs=1.0)
        copy = PinnedCopy(["closs"], None, BrokenCopy(raises))
        emitter._inbox.append((1, None, 0.0, PendingValues([], [copy], print)))
        emitter.log(2, closs=3.0)
    source = JournalSource(tmp_path / "run.vlaj", follow=False)
    found = []
    while not source.finished:
        found += source.read(0.0)
    rows = [step for r in found if isinstance(r, BatchBlock) for step in r.step.tolist()]
    assert rows == ([0, 2] if raises else [0])
    assert [r.kind for r in found if isinstance(r, Event)][-1] == "end"
    assert emitter.swallowed == 1


class JaxArray:
    """Stands in for a jax.Array: to convert it before it is ready would wait for the device."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers
        self.ndim, self.size = len(numbers) > 1, len(numbers)
        self.copied = self.computed = self.deleted = False

    def copy_to_host_async(self) -> None:
        self.copied = True

    def is_deleted(self) -> bool:
        return self.deleted

    def is_ready(self) -> bool:
        assert not self.deleted, "a segmentation fault"
        return self.computed

    def __array__(self) -> np.ndarray:
        if self.deleted:
            raise RuntimeError("Array has been deleted")
        assert self.computed, "read before it was computed"
        return np.array(self.numbers)


def test_jax_arrays_are_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(Array=JaxArray))
    loss, parts = JaxArray(2.5), JaxArray(1.0, 3.0)
    reading = settle({"closs": loss, "parts": parts, "lr": 0.1}, print)
    assert isinstance(reading, PendingValues)
    assert loss.copied
    assert not reading.ready()
    loss.computed = parts.computed = True
    assert reading.ready()
    assert reading.take() == {"closs": 2.5, "parts_0": 1.0, "parts_1": 3.0, "lr": 0.1}


def test_a_jax_array_that_was_donated_meanwhile_costs_only_its_own_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(Array=JaxArray))
    loss, rate = JaxArray(2.5), JaxArray(1e-4)
    lost: list[str] = []
    reading = settle({"closs": loss, "rate": rate, "lr": 0.1}, lost.append)
    assert isinstance(reading, PendingValues)
    loss.computed = rate.deleted = True
    assert reading.ready()
    assert reading.take() == {"closs": 2.5, "lr": 0.1}
    assert "deleted" in lost[0]


def test_a_complex_tensor_costs_only_its_own_value(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(0, closs=1.0, odd=torch.tensor(1j), loss_ct=torch.tensor(2.0))
    source = JournalSource(tmp_path / "run.vlaj", follow=False)
    found = []
    while not source.finished:
        found += source.read(0.0)
    (block,) = [record for record in found if isinstance(record, BatchBlock)]
    assert {name: column.values[0] for name, column in block.columns.items()} == {
        "closs": 1.0,
        "loss_ct": 2.0,
    }
    assert any("odd" in reason for reason in emitter.swallowed_by_reason)


def test_torch_is_never_imported_by_us() -> None:
    code = (
        "import sys; from vlamon import Emitter; e = Emitter(); e.log(0, a=1, b=[1, 2], c='x');"
        "e.close(); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_scalars_arrive_without_a_host_sync() -> None:
    values = [torch.tensor(float(index), device="cuda") for index in range(12)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        reading = settle({f"m{i}": value for i, value in enumerate(values)}, print)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert isinstance(reading, PendingValues)
    assert reading.wait() == {f"m{i}": float(i) for i in range(12)}

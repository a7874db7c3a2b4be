"""A rank's own GPU, asked for on a thread that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from vlamon.emitter import rank_gpu
from vlamon.emitter.rank_gpu import RankGpu
from vlamon.hardware import Device

DEVICE = Device(3, "GPU-3", "H100", 50.0, 1, 2, 60.0, 300.0, 700.0, 1500, 2600)
LONG = 30.0


class Driver:
    """Answers with what a test says, and remembers who was asked for."""

    asked: list[int]
    answer: Callable[[int], Device | None]

    def own(self, local_rank: int) -> Device | None:
        self.asked.append(local_rank)
        return type(self).answer(len(self.asked))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> type[Driver]:
    kind = type("Own", (Driver,), {"asked": [], "answer": staticmethod(lambda count: DEVICE)})
    monkeypatch.setattr(rank_gpu, "Driver", kind)
    monkeypatch.setattr(rank_gpu, "PERIOD", 0.001)
    return kind


def started(local_rank: int, tell: Callable[[Device], None]) -> tuple[RankGpu, threading.Thread]:
    before = set(threading.enumerate())
    asking = RankGpu(local_rank, tell)
    (thread,) = [each for each in threading.enumerate() if each not in before] or [None]
    assert thread is not None
    return asking, thread


def test_the_device_of_the_local_rank_is_told_until_it_is_stopped(driver: type[Driver]) -> None:
    told: list[Device] = []
    enough = threading.Event()
    driver.answer = staticmethod(lambda count: replace(DEVICE, util=float(count)))

    def tell(device: Device) -> None:
        told.append(device)
        if len(told) == 3:
            enough.set()

    asking, thread = started(5, tell)
    assert enough.wait(LONG)
    asking.stop()
    thread.join(LONG)
    assert not thread.is_alive()
    assert [device.util for device in told[:3]] == [1.0, 2.0, 3.0]
    assert set(driver.asked) == {5}


def test_where_there_is_no_device_it_asks_once_and_ends(driver: type[Driver]) -> None:
    driver.answer = staticmethod(lambda count: None)
    told: list[Device] = []
    RankGpu(0, told.append)
    for thread in threading.enumerate():
        if thread.name == "vlamon-rank-gpu":
            thread.join(LONG)
            assert not thread.is_alive()
    assert (driver.asked, told) == ([0], [])


def test_a_driver_that_hangs_holds_nobody_up(driver: type[Driver]) -> None:
    hangs, free = threading.Event(), threading.Event()

    def hang(count: int) -> Device:
        hangs.set()
        assert free.wait(LONG)
        return DEVICE

    driver.answer = staticmethod(hang)
    asking, thread = started(0, lambda device: None)
    assert hangs.wait(LONG)
    asking.stop()
    assert thread.is_alive(), "nobody has waited for it"
    assert thread.daemon, "nor does the end of the process"
    free.set()
    thread.join(LONG)
    assert len(driver.asked) == 1, "and it asks no more"


def test_a_rank_that_is_stopped_at_once_has_asked_nothing(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_gpu, "PERIOD", LONG)
    asking, thread = started(0, lambda device: None)
    asking.stop()
    thread.join(LONG / 3)
    assert not thread.is_alive()
    assert driver.asked == []

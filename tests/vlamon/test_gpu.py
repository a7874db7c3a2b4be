"""Samples of accelerators and process; only NVML's own boundary is a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from vlamon.gpu import Driver, ProcessMeter, Sampler
from vlamon.hardware import GpuSample


class NotSupported(Exception):
    """What NVML raises for a figure that a device does not have."""


def stand_in(count: int = 2, **answers: Any) -> SimpleNamespace:
    """A pynvml whose devices are their own indices."""

    def raises(*args: Any) -> Any:
        raise NotSupported

    known = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: count,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}abc",
        "nvmlDeviceGetName": lambda handle: b"NVIDIA H100",
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=97, memory=40),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=7, total=80),
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
        "nvmlDeviceGetPowerUsage": lambda handle: 640_500,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
        "nvmlDeviceGetClockInfo": lambda handle, clock: {1: 1980, 2: 2619}[clock],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x4 | 0x1 | 0x40,
    }
    known |= {name: raises if answer is None else answer for name, answer in answers.items()}
    return SimpleNamespace(**known)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", stand_in())
    return monkeypatch


def test_a_device_is_read_in_the_units_that_records_promise(nvml: pytest.MonkeyPatch) -> None:
    device = Driver().sample()[1]
    assert (device.index, device.uuid, device.name) == (1, "GPU-1abc", "NVIDIA H100")
    assert (device.util, device.memory_used, device.memory_total) == (97.0, 7, 80)
    assert (device.temperature, device.power, device.power_limit) == (61.0, 640.5, 700.0)
    assert (device.clock_sm, device.clock_memory) == (1980, 2619)
    assert device.throttle == ("power cap", "thermal slowdown (hardware)")


def test_what_a_device_cannot_say_is_none(nvml: pytest.MonkeyPatch) -> None:
    silent = stand_in(
        nvmlDeviceGetPowerUsage=None,
        nvmlDeviceGetUtilizationRates=None,
        nvmlDeviceGetCurrentClocksEventReasons=None,
    )
    nvml.setitem(sys.modules, "pynvml", silent)
    device = Driver().sample()[0]
    assert (device.power, device.util, device.throttle) == (None, None, ())
    assert device.temperature == 61.0


@pytest.mark.parametrize(
    ("visible", "seen"), [("1", [1]), ("", []), ("GPU-0", [0]), ("0,1", [0, 1]), ("3", [])]
)
def test_only_the_devices_of_this_process_are_shown(
    nvml: pytest.MonkeyPatch, visible: str, seen: list[int]
) -> None:
    nvml.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [device.index for device in Driver().sample()] == seen


@pytest.mark.parametrize(
    ("visible", "local_rank", "index"),
    [(None, 1, 1), ("1,0", 0, 1), ("1,0", 1, 0), ("1", 3, 1), ("3", 0, None)],
)
def test_a_rank_s_own_device_is_the_one_that_cuda_gives_it(
    nvml: pytest.MonkeyPatch, visible: str | None, local_rank: int, index: int | None
) -> None:
    if visible is not None:
        nvml.setenv("CUDA_VISIBLE_DEVICES", visible)
    device = Driver().own(local_rank)
    assert (None if device is None else device.index) == index


@pytest.mark.parametrize("failing", ["nvmlInit", "nvmlDeviceGetCount"])
def test_without_a_driver_there_are_no_devices(nvml: pytest.MonkeyPatch, failing: str) -> None:
    nvml.setitem(sys.modules, "pynvml", stand_in(**{failing: None}))
    assert Driver().sample() == ()


def test_the_process_counts_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        meter = ProcessMeter(os.getpid())
        first = second = meter.sample()
        deadline = time.monotonic() + 60
        while second is not None and not (second.cpu or 0.0) > 5.0:
            assert time.monotonic() < deadline, second  # a busy machine gives the child its turn
            time.sleep(0.2)
            second = meter.sample()
    finally:
        child.kill()
        child.wait()
    assert first is not None
    assert second is not None
    assert first.cpu is None
    assert second.cpu is not None
    assert second.cpu > 5.0  # the child's, for this process slept
    assert second.rss is not None
    assert second.rss > 1 << 20
    assert second.threads is not None
    assert second.threads >= 2


def test_a_process_that_is_gone_has_no_sample() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert ProcessMeter(child.pid).sample() is None


def test_a_driver_that_hangs_hangs_only_its_own_thread(nvml: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    nvml.setitem(sys.modules, "pynvml", stand_in(nvmlInit=release.wait))
    told: list[GpuSample] = []
    sampler = Sampler(told.append)
    sampler.start()
    sampler.stop()
    assert told == []
    release.set()
    sampler._thread.join(60.0)
    assert not sampler._thread.is_alive()


def test_samples_come_at_the_period(nvml: pytest.MonkeyPatch) -> None:
    told: list[GpuSample] = []
    sampler = Sampler(told.append, period=0.01)
    sampler.start()
    while len(told) < 3:
        time.sleep(0.01)
    sampler.stop()
    assert [len(sample.devices) for sample in told[:3]] == [2, 2, 2]

"""Whatever lies in the store, and whatever the store does, the sidecar and the script go on."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.test_alerts import SERVERS
from tests.vlamon.emitter.emitted import journal_of, rows_of
from vlamon import Emitter
from vlamon.emitter import job_store, rank_exchange
from vlamon.emitter.job_store import JobStore
from vlamon.emitter.rank_tally import RankTally, known, pack, unpack
from vlamon.hardware import Device


def test_times_and_the_first_broken_value_are_reported() -> None:
    tally = RankTally()
    for step in range(10):
        tally.phase(step * 1.0, "data")
        tally.phase(step * 1.0 + 0.25, "forward")
        tally.phase(step * 1.0 + 0.35, "backward")
        tally.row(step * 1.0 + 0.9, step, {"closs": math.nan if step > 6 else 2.0, "other": 1.0})
    report = unpack(pack(tally.report()))
    assert report is not None
    assert report.values["step_time"] == pytest.approx(1.0)
    assert report.values["data_wait"] == pytest.approx(0.25)
    assert report.forward == pytest.approx(0.1)
    assert report.broken == (7, "closs")
    assert math.isnan(report.values["closs"])
    assert set(report.values) == {"closs", "step_time", "data_wait"}


def test_a_report_is_small_and_says_whatever_happened() -> None:
    tally = RankTally()
    tally.row(1.0, 2**70, {"closs": 1e300})
    report = replace(tally.report("stopped by RuntimeError"), host="n" * 200)
    found = unpack(pack(report))
    assert found is not None
    assert (found.ended, found.pid, found.host) == (report.ended, report.pid, "n" * 60)
    assert (found.step, found.values["closs"]) == (2**63 - 1, math.inf)
    assert len(pack(replace(report, host="gpu-node-017", ended=""))) < 60


def test_the_rank_s_own_gpu_is_reported_with_what_holds_it_back() -> None:
    tally = RankTally()
    reasons = ("power cap", "thermal slowdown (hardware)")
    tally.gpu(Device(3, "u", "H200", 97.0, 3 << 30, 4 << 30, 91.0, None, 700.0, 1, 1, reasons))
    report = unpack(pack(tally.report()))
    assert report is not None
    assert report.values == {"gpu_util": 97.0, "gpu_memory": 75.0, "gpu_temperature": 91.0}
    assert report.throttle == "thermal slowdown (hardware)"
    assert (bool(report.host), report.pid) == (True, os.getpid())
    tally.gpu(Device(3, "u", "H200", 97.0, None, None, None, 700.0, 700.0, 1, 1, ("power cap",)))
    again = tally.report()
    assert (again.throttle, again.values["gpu_power"]) == ("", 700.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"\x01" * 60,
        b"9" * 5000,
        b"\x01" * 34 + b"[1]",
        b"\x01" * 34 + b'["n",2,"x",""]',
        b"\x01" * 34 + b"[" * 1900,
        b"\x02" * 34 + b'["n",2]',
    ],
)
def test_garbage_in_the_store_is_no_report(data: bytes) -> None:
    good = pack(RankTally().report())
    assert unpack(data) is None
    assert set(known({0: good, 1: data})) == {0}


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_store_that_hangs_holds_up_neither_log_nor_close(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, entered = threading.Event(), threading.Event()

    def hang(self: JobStore, *args: object) -> dict[int, bytes]:
        entered.set()
        release.wait(120)
        return {}

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(JobStore, "connected", lambda self: True)
    monkeypatch.setattr(JobStore, "put", hang)
    monkeypatch.setattr(JobStore, "clear", hang)
    monkeypatch.setattr(rank_exchange, "CUTS", 1)
    monkeypatch.setattr(rank_exchange, "LAST_REPORT", 0.1)
    monkeypatch.setattr(rank_exchange, "LAST_LOOK", 0.1)
    monkeypatch.setattr(rank_exchange, "interval", lambda size: 0.01)
    emitter = Emitter(None, run_dir=f"{tmp_path}")
    assert entered.wait(30)

    def script() -> None:
        for step in range(1000):
            emitter.log(step, closs=2.0)
        emitter.close()

    thread = threading.Thread(target=script)
    began = time.monotonic()
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), f"still there after {time.monotonic() - began:.0f} s"
    release.set()


def test_a_process_group_is_found_at_the_first_look_after_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, connected = JobStore(), list[tuple[str, int]]()
    monkeypatch.setattr(JobStore, "_connect", lambda self, *place: connected.append(place))
    monkeypatch.setattr(job_store, "address", lambda: None)
    assert not store.connected()
    monkeypatch.setattr(job_store, "address", lambda: ("there", 1))
    assert not store.connected()
    assert not store.connected()
    assert connected == [("there", 1)], "one that fails is tried again some seconds later"


def test_a_report_that_is_too_long_is_seldom_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def get(self: JobStore, ranks: Sequence[int]) -> dict[int, bytes]:
        asked.append(len(ranks))
        return {rank: b"\x01" * (1 << 20) if rank == 2 else b"" for rank in ranks}

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(JobStore, "connected", lambda self: True)
    monkeypatch.setattr(JobStore, "put", lambda self, rank, data: None)
    monkeypatch.setattr(JobStore, "get", get)
    monkeypatch.setattr(rank_exchange, "interval", lambda size: 0.001)
    with Emitter(None, run_dir=tmp_path):
        while len(asked) < 43:
            time.sleep(0.001)
    assert asked[:43] == [4, *([3] * 19), 4, *([3] * 19), 4, 3, 3]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_port_that_is_no_store_neither_stops_the_script_nor_costs_a_row(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch.distributed")
    entered = threading.Event()

    def address() -> tuple[str, int]:
        entered.set()
        return "127.0.0.1", port

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(job_store, "address", address)
    monkeypatch.setattr(job_store, "TIMEOUT", 0.1)
    monkeypatch.setattr(rank_exchange, "interval", lambda size: 0.01)
    monkeypatch.setattr(rank_exchange, "LAST_REPORT", 0.1)
    monkeypatch.setattr(rank_exchange, "LAST_LOOK", 0.1)
    with SERVERS[kind]() as port, Emitter(None, run_dir=tmp_path) as emitter:
        assert entered.wait(30)
        for step in range(200):
            emitter.log(step, closs=2.0)
            time.sleep(0.001)
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == list(range(200))
    living = [thread.name for thread in threading.enumerate()]
    assert "vlamon-ranks" not in living, "a thread inside c10d could abort the ending process"

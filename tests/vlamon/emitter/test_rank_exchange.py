"""Whatever lies in the store, and whatever the store does, the sidecar and the script go on."""

from __future__ import annotations

import math
import threading
import time

import pytest

from vlamon import Emitter
from vlamon.emitter import rank_exchange
from vlamon.emitter.rank_exchange import JobStore
from vlamon.emitter.rank_tally import RankTally, known, pack, unpack


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


@pytest.mark.parametrize(
    "data", [b"", b"\xff\x00", b"[]", b"[1,2,3]", b"null", b"9" * 5000, b'[1,2,3,4,5,6,7,"x"]']
)
def test_garbage_in_the_store_is_no_report(data: bytes) -> None:
    good = pack(RankTally().report())
    assert unpack(data) is None
    assert set(known({0: good, 1: data})) == {0}


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_store_that_hangs_holds_up_neither_log_nor_close(
    rank: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(rank_exchange, "TIMEOUT", 0.1)
    monkeypatch.setattr(rank_exchange, "LAST_LOOK", 0.1)
    monkeypatch.setattr(rank_exchange, "EVERY", 0.01)
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

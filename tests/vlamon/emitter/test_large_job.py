"""A job of 64 nodes of 8 ranks over a real store; `python -m tests.bench.ranks jobs` times one."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import of_type
from vlamon import Emitter
from vlamon.detect.ranks import interval
from vlamon.emitter import job_store, rank_exchange
from vlamon.emitter.rank_tally import RankTally, pack
from vlamon.hardware import Device
from vlamon.records import BatchBlock, Gap, Link, Record
from vlamon.sources.socket import socket_source
from vlamon.sources.stream import StreamSource

dist = pytest.importorskip("torch.distributed")
SIZE = 512
LIMIT = timedelta(seconds=20)


class OtherRanks:
    """Ranks 1 to 511, which report until the block ends; rank 77 stands out."""

    def __init__(self, port: int) -> None:
        self._client = connect(port)
        self._tallies = {rank: RankTally() for rank in range(1, SIZE)}
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> OtherRanks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()

    def _run(self) -> None:
        step = 0
        while not self.stopping.wait(0.1):
            for rank, tally in self._tallies.items():
                tally.row(time.time(), step, {"closs": 9.0 if rank == 77 else 2.0})
                self._client.set(f"{job_store.PREFIX}{rank}", pack(tally.report()))
            step += 1


def connect(port: int) -> Any:
    return dist.TCPStore("127.0.0.1", port, None, False, LIMIT, wait_for_workers=False)


def read_all(source: StreamSource) -> list[Record]:
    found: list[Record] = []
    while not any(link.state == "ended" for link in of_type(found, Link)):
        found += source.read(0.1)
    return found


def newest(blocks: list[BatchBlock], metric: str) -> float:
    """The last value; the rows after it may have none yet."""
    columns = [block.columns[metric].values for block in blocks if metric in block.columns]
    return float([value for values in columns for value in values if value == value][-1])


def test_512_ranks_reach_a_monitor_as_columns_and_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = dist.TCPStore("127.0.0.1", 0, None, True, LIMIT, wait_for_workers=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", str(SIZE))
    monkeypatch.setattr(job_store, "address", lambda: ("127.0.0.1", server.port))
    monkeypatch.setattr(rank_exchange, "interval", lambda size: 0.1)
    path = tmp_path / "vla.sock"
    found: list[Record] = []
    with OtherRanks(server.port), Emitter(path) as emitter:
        reader = threading.Thread(target=lambda: found.extend(read_all(socket_source(path))))
        reader.start()
        for step in range(60):
            emitter.log(step, closs=2.0, grad_norm=1.0)
            time.sleep(0.02)
    reader.join(30)
    blocks = of_type(found, BatchBlock)
    assert [step for block in blocks for step in block.step.tolist()] == list(range(60))
    assert of_type(found, Gap) == []
    assert newest(blocks, "ranks_closs_max") == 9.0
    assert newest(blocks, "ranks_closs_max_rank") == 77.0


@pytest.mark.parametrize("size", [2, 8, 64, 512, 4096])
def test_all_reports_together_stay_below_a_megabit_a_second(size: int) -> None:
    tally = RankTally()
    tally.phase(0.0, "data")
    tally.phase(0.1, "forward")
    for step in range(3):
        tally.row(step + 0.5, 10**9 + step, {"closs": 2.0, "grad_norm": 1.0})
    tally.gpu(Device(7, "u", "H200", 97.0, 3 << 30, 4 << 30, 71.0, 690.0, 700.0, 1980, 3201))
    key = f"{job_store.PREFIX}{size - 1}"
    framed = len(pack(tally.report())) + len(key) + 17 + 66  # of the store, of TCP and Ethernet
    assert 8 * framed * size / interval(size) < 1e6

"""Every rank of a real gloo training is seen on rank 0, and none of it reaches the numbers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type
from vlamon.records import BatchBlock, Event
from vlamon.sources import SourceError

pytest.importorskip("torch")


class Job:
    """Its ranks, started as torchrun would."""

    def __init__(self, out: Path, size: int, *options: object, silent: bool = False) -> None:
        self.out, self.run_dir = out, out / "run"
        out.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "tests.vlamon.emitter.ranked", out, self.run_dir]
        base = {
            **os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "VLAMON_HOME": str(out), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.ranks = [
            subprocess.Popen(
                [*map(str, [*command, *options]), *(["--silent"] if silent else [])],
                env={**base, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]

    def wait(self) -> list[str]:
        """Until all ranks have ended well; what they computed."""
        for process in self.ranks:
            _, complaint = process.communicate(timeout=200)
            assert process.returncode == 0, complaint
        return [(self.out / f"digest-{rank}").read_text() for rank in range(len(self.ranks))]

    def reaches(self, step: int) -> None:
        """Until rank 0 has logged a step."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                if int((self.out / "step-0").read_text()) >= step:
                    return
            time.sleep(0.05)
        raise AssertionError(f"step {step} never came")

    def told(self, finding: str) -> Event:
        """The first event of that finding, waited for while the training runs."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(SourceError):
                found = self.findings(finding)
                if found:
                    return found[0]
            time.sleep(0.1)
        raise AssertionError(f"nothing was told of {finding}")

    def findings(self, finding: str) -> list[Event]:
        events = of_type(journal_of(self.run_dir), Event)
        return [event for event in events if event.data.get("finding") == finding]

    def end(self) -> None:
        for process in self.ranks:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@contextlib.contextmanager
def job(out: Path, size: int, *options: Any, silent: bool = False) -> Iterator[Job]:
    made = Job(out, size, *options, silent=silent)
    try:
        yield made
    finally:
        made.end()


def columns_of(run_dir: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for block in of_type(journal_of(run_dir), BatchBlock):
        for name, column in block.columns.items():
            present = column.values if column.present is None else column.values[column.present]
            found.setdefault(name, []).extend(present.tolist())
    return found


def test_all_ranks_are_in_the_columns_and_no_number_changes(tmp_path: Path) -> None:
    with job(tmp_path / "seen", 2, "--steps", 400) as seen:
        digests = seen.wait()
    with job(tmp_path / "alone", 2, "--steps", 400, silent=True) as alone:
        assert alone.wait() == digests
    columns = columns_of(tmp_path / "seen" / "run")
    least, median, most = (columns[f"ranks_closs_{what}"] for what in ("min", "median", "max"))
    assert all(low <= mid <= high for low, mid, high in zip(least, median, most, strict=True))
    assert set(columns["ranks_closs_max_rank"]) <= {0.0, 1.0}
    assert min(columns["ranks_step_time_median"]) > 0.002
    assert seen.findings("silent") == []


def test_a_slow_rank_is_named_with_its_phase(tmp_path: Path) -> None:
    with job(tmp_path / "slow", 4, "--steps", 100000, "--slow-rank", 2) as slow:
        event = slow.told("straggler")
    assert event.data["ranks"] == [2]
    assert event.data["phase"] == "data"
    assert "rank 2" in event.text


def test_the_rank_whose_batch_broke_is_named(tmp_path: Path) -> None:
    with job(tmp_path / "bad", 2, "--steps", 300, "--bad-rank", 1) as bad:
        bad.wait()
    (event,) = bad.findings("broken")
    assert (event.data["ranks"], event.step, event.data["metric"]) == ([1], 20, "closs")
    assert "finite on the other 1" in event.text


def test_a_stopped_rank_is_reported_and_its_return_too(tmp_path: Path) -> None:
    with job(tmp_path / "stopped", 2, "--steps", 100000) as stopped:
        stopped.reaches(300)
        os.kill(stopped.ranks[1].pid, signal.SIGSTOP)
        event = stopped.told("silent")
        assert event.data["ranks"] == [1]
        assert event.data["pid"] == stopped.ranks[1].pid
        os.kill(stopped.ranks[1].pid, signal.SIGCONT)
        assert stopped.told("back").data["ranks"] == [1]


def test_a_killed_rank_is_reported_by_the_failure_that_it_causes(tmp_path: Path) -> None:
    with job(tmp_path / "killed", 4, "--steps", 100000) as killed:
        killed.reaches(300)
        killed.ranks[3].kill()
        for process in killed.ranks[:3]:
            process.communicate(timeout=200)
            assert process.returncode, "gloo ends the others"
        silent = killed.findings("silent")
    assert [event.data["ranks"] for event in silent] == [[3]]

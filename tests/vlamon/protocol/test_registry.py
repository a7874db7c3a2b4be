"""The list of runs: what a training writes about itself, and what a reader makes of any file."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlamon import Emitter, processes
from vlamon.emitter import registrar
from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.records import Status

HOST = socket.gethostname()


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    place = str(tmp_path / "runs")
    first = RunEntry("b1", "goal", HOST, os.getpid(), 1.0, 2.0, 0.0, "/tmp/a.sock", "/r/run.vlaj")
    second = RunEntry("b2", "next", started=5.0, job="12", array_job="10_2", step=7, total_steps=9)
    for entry in (first, second):
        registry.write(entry, place)
    assert registry.entries(place) == [second, first]
    assert sorted(os.listdir(place)) == ["b1.json", "b2.json"]
    assert os.stat(place).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("home", "place"), [("/h", "/h/runs"), ("", None), ("not/absolute", None)])
def test_the_home_is_chosen_by_a_variable(
    home: str, place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_HOME", home)
    assert registry.directory() == place


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_file_is_an_entry_or_passed_over(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name, text in (("a.json", data), ("b.json", b'{"boot": "b", "step": "x", "pid": 3}')):
            Path(place, name).write_bytes(text)
        assert RunEntry("b", pid=3) in registry.entries(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_what_is_no_regular_file_of_ours_is_passed_over(tmp_path: Path) -> None:
    registry.write(RunEntry("good"), str(tmp_path))
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "good.json")
    registry.write(RunEntry("theirs"), str(tmp_path))
    os.chown(tmp_path / "theirs.json", 65534, 65534)
    assert [entry.boot for entry in registry.entries(str(tmp_path))] == ["good"]


def test_a_run_that_is_gone_is_not_running() -> None:
    now = 1000.0
    assert RunEntry("b", host=HOST, pid=os.getpid()).running(HOST, now)
    assert not RunEntry("b", host=HOST, pid=1 << 30).running(HOST, now)
    assert not RunEntry("b", host=HOST, pid=os.getpid(), ended=5.0).running(HOST, now)
    assert RunEntry("b", host="other", updated=now - 60).running(HOST, now)
    assert not RunEntry("b", host="other", updated=now - 1000).running(HOST, now)


def test_a_process_number_that_was_given_anew_is_not_the_training() -> None:
    mine = processes.birth(os.getpid())
    assert RunEntry("b", host=HOST, pid=os.getpid(), birth=mine).running(HOST, 0.0)
    if mine:  # the system says when a process began
        assert not RunEntry("b", host=HOST, pid=os.getpid(), birth=mine + 1).running(HOST, 0.0)


def test_files_of_runs_that_are_long_over_are_removed(tmp_path: Path) -> None:
    for boot in ("old", "new"):
        registry.write(RunEntry(boot), str(tmp_path))
    os.utime(tmp_path / "old.json", (1.0, 1.0))
    registry.clear(str(tmp_path), time.time())
    assert [entry.boot for entry in registry.entries(str(tmp_path))] == ["new"]


def test_a_training_lists_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    path, place = tmp_path / "vla.sock", str(tmp_path / "runs")
    with Emitter(path, run="goal", run_dir=tmp_path / "run", total_steps=10) as emitter:
        while not (found := registry.entries(place)):
            time.sleep(0.005)
        emitter.log(3, closs=1.0)
    (running,) = found
    assert running.running(HOST, time.time())
    assert (running.name, running.socket, running.job) == ("goal", str(path), "4711")
    while not (ended := registry.entries(place)[0]).ended:
        time.sleep(0.005)
    assert (ended.step, ended.journal) == (3, str(tmp_path / "run" / "run.vlaj"))


def test_the_list_has_a_step_soon_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path))
    monkeypatch.setattr(registrar, "SOON", 0.02)
    said = iter([None])  # nothing is known yet when the run begins
    made = registrar.Registrar(RunEntry("b"), lambda: next(said, Status("training", 7)))
    made.start()
    end = time.monotonic() + 20
    while not (found := registry.entries(str(tmp_path / "runs"))) or found[0].step is None:
        assert time.monotonic() < end, "a refresh a minute is too late"
        time.sleep(0.01)
    made.stop()
    assert (found[0].state, found[0].step) == ("training", 7)


def test_a_home_that_cannot_be_written_keeps_nobody_from_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path / "file"))
    with Emitter(None, run_dir=tmp_path / "run") as emitter:
        emitter.log(0, closs=1.0)
    assert emitter.swallowed == 0


def test_a_job_is_a_task_of_an_array_only_where_both_numbers_are_there() -> None:
    named = registry.job_of_environment
    assert named({"SLURM_JOB_ID": "7"}) == ("7", "")
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    assert named({"SLURM_JOB_ID": "7", **array}) == ("7", "5_2")
    assert named({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5"}) == ("7", "")
    assert named({"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}) == ("7", "")
    assert named(array) == ("", "")


def test_a_run_of_another_host_is_lost_when_it_says_nothing_for_long() -> None:
    entry = RunEntry(boot="b", host="there", updated=1000.0)
    assert entry.running("here", 1000.0 + registry.LOST - 0.1)
    assert not entry.running("here", 1000.0 + registry.LOST)


@pytest.mark.parametrize("call", ["write", "replace", "short"])
def test_a_disk_that_takes_half_an_entry_leaves_the_old_one_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.write(RunEntry("a", name="old"), str(tmp_path))

    def fails(*arguments: object) -> int:
        if call == "short":
            return 10
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write" if call == "short" else call, fails)
        with pytest.raises(OSError, match="No space"):
            registry.write(RunEntry("a", name="new"), str(tmp_path))
    assert [entry.name for entry in registry.entries(str(tmp_path))] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_file_of_a_run_is_its_owners_alone(tmp_path: Path) -> None:
    registry.write(RunEntry("b"), str(tmp_path))
    assert (tmp_path / "b.json").stat().st_mode & 0o777 == 0o600


def test_what_a_file_does_not_say_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"boot": "b"}')
    (entry,) = registry.entries(str(tmp_path))
    assert (entry.started, entry.updated, entry.ended, entry.pid, entry.birth) == (0, 0, 0, 0, 0)
    assert (entry.step, entry.total_steps, entry.name) == (None, None, "")


@pytest.mark.parametrize(("days", "kept"), [(29.9, True), (30.1, False)])
def test_a_file_is_kept_for_thirty_days(days: float, kept: bool, tmp_path: Path) -> None:
    registry.write(RunEntry("b"), str(tmp_path))
    os.utime(tmp_path / "b.json", (1e9, 1e9))
    registry.clear(str(tmp_path), 1e9 + days * 86400)
    assert (tmp_path / "b.json").exists() is kept


def test_a_file_that_is_far_too_long_is_passed_over(tmp_path: Path) -> None:
    registry.write(RunEntry("b", name="x" * 10_000), str(tmp_path))
    registry.write(RunEntry("c", name="x" * 20_000), str(tmp_path))
    assert [entry.boot for entry in registry.entries(str(tmp_path))] == ["b"]

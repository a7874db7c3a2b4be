"""Where an emitter serves and writes, and what it does where that is taken."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, read_until, rows_of
from vlamon import Emitter
from vlamon.emitter import EmitterError
from vlamon.emitter.places import run_directory, socket_path
from vlamon.ranks import Ranks
from vlamon.records import BatchBlock, Event
from vlamon.sources.socket import socket_source


def test_without_any_place_it_costs_nothing_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with Emitter() as emitter:
        emitter.log(0, closs=1.0)
        assert emitter.commands() == ()
        assert set(threading.enumerate()) <= before
    assert capsys.readouterr().err == (
        "vlamon: this emitter has neither a path nor a run_dir: nothing is shown or kept.\n"
    )


def test_places_that_another_run_holds_end_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run_dir = tmp_path / "vla.sock", tmp_path / "run"
    with Emitter(path, run_dir=run_dir), Emitter(path, run_dir=run_dir) as second:
        second.log(0, closs=1.0)
        beside = tmp_path / f"vla-{os.getpid()}.sock"
        source = socket_source(beside)
        told = of_type(read_until(source, BatchBlock), Event)
        source.close()
    assert len(rows_of(journal_of(run_dir, f"run-{os.getpid()}.vlaj"))) == 1
    warned = capsys.readouterr().err.splitlines()
    assert warned == [f"vlamon: {event.text}." for event in told if event.kind == "warn"]
    assert f"{path} is served by process {os.getpid()}: this training is served at" in warned[0]
    assert "written by another live training: the journal is" in warned[1]


def test_a_directory_that_is_no_place_for_a_socket_leaves_the_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emitter(tmp_path / "nowhere" / "vla.sock", run_dir=tmp_path / "run") as emitter:
        emitter.log(0, closs=1.0)
    assert len(rows_of(journal_of(tmp_path / "run"))) == 1
    assert capsys.readouterr().err.endswith("No such file or directory: no monitor can connect.\n")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"VLAMON_SOCKET": "{tmp}/mine.sock"}, "mine.sock"),
        ({"XDG_RUNTIME_DIR": "{tmp}"}, "vlamon/my-run.sock"),
    ],
)
def test_auto_serves_where_monitors_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], name: str
) -> None:
    for variable in ("VLAMON_SOCKET", "XDG_RUNTIME_DIR", "SLURM_JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    with Emitter("auto", run="my run"):
        assert (tmp_path / name).is_socket()


def test_auto_is_named_after_the_job_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert socket_path("auto", "goal", Ranks()) == "/tmp/vla-job4711.sock"
    assert socket_path("auto", "goal", Ranks(1, 2)) is None


def test_every_rank_that_serves_has_a_journal_of_its_own() -> None:
    second = Ranks(1, 2)
    assert run_directory("runs/a", "/tmp/vla-{rank}.sock", second) == "runs/a/rank-1"
    assert run_directory("runs/{rank}", "/tmp/vla.sock", second) == "runs/1"
    assert run_directory("runs/a", "/tmp/vla-{rank}.sock", Ranks()) == "runs/a"
    assert run_directory("runs/a", "/tmp/vla.sock", second) is None


def test_a_path_that_a_live_run_holds_is_refused_before_anything_starts(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Emitter(tmp_path / "vla.sock"):
        running = set(threading.enumerate())
        with pytest.raises(EmitterError, match=f"process {os.getpid()}"):
            Emitter(tmp_path / "vla.sock", run_dir=tmp_path / "run", on_conflict="raise")
        assert set(threading.enumerate()) <= running
    assert not (tmp_path / "run").exists()
    for thread in set(threading.enumerate()) - before:  # the GPU sampler may take a second to end
        thread.join(60.0)
        assert not thread.is_alive()


def test_a_journal_that_a_live_run_holds_gives_the_socket_back(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path / "run"):
        with pytest.raises(EmitterError, match="another live training"):
            Emitter(tmp_path / "vla.sock", run_dir=tmp_path / "run", on_conflict="raise")
        assert not (tmp_path / "vla.sock").exists()

"""The emitter end to end: what a script says arrives at a monitor, exactly."""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, read_until, rows_of
from vlamon import Emitter
from vlamon.emitter import EmitterError
from vlamon.emitter.places import run_directory, socket_path
from vlamon.ranks import Ranks
from vlamon.records import (
    BatchBlock,
    Command,
    EpochRow,
    Event,
    Link,
    Reply,
    RunInfo,
    Snapshot,
    Status,
)
from vlamon.sources.socket import SocketSource


def test_what_is_logged_arrives_exactly(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(
        path, run="goal", weights={"closs": 1.0, "loss_ct": 10.0}, total_steps=9
    ) as emitter:
        emitter.log(7, epoch=0.5, closs=1 / 3, loss_ct=None, l1_loss_action=[0.1, 0.2])
        emitter.log(8, closs=math.inf, loss_ct=math.nan)
        emitter.log_epoch(0, "val_ind", {"closs": 3.25}, step=8)
        source = SocketSource(path)
        records = read_until(source, EpochRow)
    info = of_type(records, RunInfo)[0]
    assert (info.name, info.total_steps, info.control) == ("goal", 9, False)
    (seven, first), (eight, last) = rows_of(records)
    assert (seven, eight) == (7, 8)
    assert first == {"closs": 1 / 3, "l1_loss_action_8": 0.1, "l1_loss_action_9": 0.2}
    assert last.keys() == {"closs", "loss_ct"}
    assert last["closs"] == math.inf
    assert math.isnan(last["loss_ct"])
    blocks = of_type(records, BatchBlock)
    assert blocks[0].epoch[0] == 0.5
    assert math.isnan(blocks[-1].epoch[-1])
    assert blocks[0].weights == {"closs": 1.0, "loss_ct": 10.0}
    assert of_type(records, EpochRow)[0].metrics == {"closs": 3.25}


def test_an_order_is_answered_when_the_script_executed_it(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path) as emitter:
        emitter.commands()
        source = SocketSource(path)
        while source.info is None or not source.info.control:
            source.read(0.1)
        source.send(Command("order-1", "checkpoint", {"reason": "test"}))
        commands = []
        while not commands:
            source.read(0.02)
            commands = list(emitter.commands())
        assert (commands[0].name, commands[0].args) == ("checkpoint", {"reason": "test"})
        commands[0].done({"step": 12})
        records = read_until(source, Reply)
    (reply,) = of_type(records, Reply)
    assert (reply.id, reply.ok, reply.result) == ("order-1", True, {"step": 12})


def test_the_end_of_a_run_reaches_its_monitor(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path) as emitter:
        source = SocketSource(path)
        read_until(source, RunInfo)
        emitter.log(1, closs=2.0)
    records = []
    while source._link is None or source._link.state != "ended":
        records += source.read(0.1)
    assert [event.kind for event in of_type(records, Event)] == ["end"]
    assert of_type(records, Link)[-1].state == "ended"
    assert list(tmp_path.iterdir()) == []


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
        source = SocketSource(beside)
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


def test_what_no_reader_can_use_is_left_out_at_the_edge(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(0, epoch=math.inf, closs=1.0, **{"a\nb": 2.0, "\x1b]0;x": 3.0})
        emitter.log(1 << 60, closs=1.0)
        emitter.event("eval\n\x1b[2J")
        emitter.log_epoch(math.inf, "train", {"closs": 1.0})
        emitter.status(eta=math.nan, steps_per_second=math.inf)
        emitter.set_weights({"closs": math.nan})
    found = journal_of(tmp_path)
    (block,) = of_type(found, BatchBlock)
    assert math.isnan(block.epoch[0])
    assert list(block.columns) == ["closs"]
    assert all(event.kind.isprintable() for event in of_type(found, Event))
    assert of_type(found, EpochRow) == []
    assert all(status.eta is None for status in of_type(found, Status))
    assert emitter.weights == {}
    assert emitter.swallowed == 6


def test_a_thousand_metrics_of_the_longest_names_are_all_in_the_journal(tmp_path: Path) -> None:
    names = [f"{number:03}" + "\N{ROCKET}" * 49 for number in range(1000)]
    with Emitter(None, run_dir=tmp_path, weights=dict.fromkeys(names, 1.0)) as emitter:
        for step in range(200):
            emitter.log(step, **dict.fromkeys(names, 0.1 * step))
    assert len(rows_of(journal_of(tmp_path))) == 200
    assert emitter.swallowed == 0


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


@pytest.mark.parametrize(
    "call",
    [
        lambda emitter: emitter.log("x", closs=1.0),
        lambda emitter: emitter.log(None, closs=1.0),
        lambda emitter: emitter.log(1 << 80, closs=1.0),
        lambda emitter: emitter.log(1, epoch="first", closs=1.0),
        lambda emitter: emitter.log(1, closs=object()),
        lambda emitter: emitter.log(1, **{"\ud800": 1.0}),
        lambda emitter: emitter.log(1, **{"n" * 300: 1.0}),
        lambda emitter: emitter.log_epoch("x", "train", {"closs": 1.0}),
        lambda emitter: emitter.log_epoch(0, "train", 7),
        lambda emitter: emitter.event("note", step="x"),
        lambda emitter: emitter.set_weights({"closs": "heavy"}),
        lambda emitter: emitter.set_attempt("x"),
        lambda emitter: emitter.status(state="flying"),
        lambda emitter: emitter.status(mood="good"),
        lambda emitter: emitter.status(snapshots=[3]),
    ],
)
def test_a_wrong_call_is_counted_and_told_and_never_raises(tmp_path: Path, call: Any) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        call(emitter)
        emitter.log(5, closs=2.0)
    assert emitter.swallowed == 1
    assert len(emitter.swallowed_by_reason) == 1
    found = journal_of(tmp_path)
    assert of_type(found, BatchBlock)[-1].columns["closs"].values[-1] == 2.0
    (told,) = [event for event in of_type(found, Event) if event.severity == "warn"]
    assert "left something out" in told.text


def test_what_is_swallowed_a_thousand_times_is_told_twice(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(1000):
            emitter.log(step, closs="high")
    assert emitter.swallowed == 1000
    told = [event.text for event in of_type(journal_of(tmp_path), Event) if event.kind == "note"]
    assert len(told) == 2
    assert "1000 × closs is a text" in told[1]


def test_a_call_of_the_wrong_shape_is_counted_and_never_raises(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(closs=1.0)
        emitter.log(1, 0.5, 2.0, 3.0, closs=1.0)  # type: ignore[call-arg]
        emitter.log(2, closs=1.0)
    assert emitter.swallowed == 2
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == [2]


@pytest.mark.parametrize(
    "mistake",
    [
        {"path": 5},
        {"path": b"/tmp/vla.sock"},
        {"run_dir": 5},
        {"weights": {"closs": "heavy"}},
        {"weights": ["closs"]},
        {"total_steps": "many"},
        {"vocab": math.inf},
    ],
)
def test_a_wrong_argument_is_one_sentence(mistake: dict[str, Any]) -> None:
    with pytest.raises(EmitterError, match=rf"^{next(iter(mistake))} must be .*\.$"):
        Emitter(**mistake)


def test_a_launcher_that_sets_nonsense_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "")
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(3, closs=1.0)
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == [3]


def test_a_step_that_falls_begins_another_attempt(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in (0, 1, 2, 1, 2):
            emitter.log(step, closs=1.0)
        emitter.set_attempt(5)
        emitter.log(0, closs=1.0)
        assert emitter.attempt == 5
    blocks = of_type(journal_of(tmp_path), BatchBlock)
    assert [(block.attempt, step) for block in blocks for step in block.step.tolist()] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 1), (1, 2)),
        (5, 0),
    ]


def test_a_restart_is_told_where_the_run_was(tmp_path: Path) -> None:
    for first in (0, 5):
        with Emitter(None, run_dir=tmp_path) as emitter:
            emitter.log(first, closs=1.0)
            emitter.log(first + 4, closs=1.0)
    (again,) = [
        event
        for event in of_type(journal_of(tmp_path), Event)
        if event.text == "the training started again: attempt 1"
    ]
    assert (again.step, again.attempt) == (4, 1)


def test_weights_stand_at_the_row_from_which_they_are_in_force(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path, weights={"closs": 1.0}) as emitter:
        emitter.log(0, closs=1.0)
        emitter.set_weights({"closs": 0.5})
        emitter.log(1, closs=1.0)
    blocks = of_type(journal_of(tmp_path), BatchBlock)
    assert [dict(block.weights) for block in blocks] == [{"closs": 1.0}, {"closs": 0.5}]


def test_a_status_is_what_was_set_and_what_the_batches_say(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path, total_steps=100) as emitter:
        emitter.log(9, epoch=0.25, closs=1.0)
        emitter.status(
            state="paused",
            phase="step",
            snapshots=[Snapshot(5, "ring", True), {"step": 6, "where": "ring", "trusted": False}],
            budget=2,
            guard="ask",
            deadline=12.5,
        )
        source = SocketSource(path, rows=False)
        status = of_type(read_until(source, Status), Status)[-1]
        while status.state != "paused":  # one that the sidecar made between the two calls
            status = of_type(read_until(source, Status), Status)[-1]
    assert (status.state, status.phase, status.step, status.epoch) == ("paused", "step", 9, 0.25)
    assert [(item.step, item.trusted) for item in status.snapshots] == [(5, True), (6, False)]
    assert (status.budget, status.guard, status.deadline) == (2, "ask", 12.5)


def test_a_run_that_is_over_has_no_time_left(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path, total_steps=100) as emitter:
        emitter.log(9, closs=1.0)
        emitter.status(eta=21.7)
    last = of_type(journal_of(tmp_path), Status)[-1]
    assert (last.state, last.eta) == ("ended", None)


def test_an_order_is_written_down_with_who_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path, run_dir=tmp_path / "run") as emitter:
        emitter.commands()
        source = SocketSource(path)
        while source.info is None or not source.info.control:
            source.read(0.1)
        source.send(Command("c-1", "rollback", {"to": 3}))
        ordered: list[Any] = []
        while not ordered:
            source.read(0.02)
            ordered = list(emitter.commands())
        ordered[0].refuse("no trusted snapshot yet")
        ordered[0].done()  # too late: answered once
        (reply,) = of_type(read_until(source, Reply), Reply)
        assert (reply.ok, reply.error) == (False, "no trusted snapshot yet")
    (event,) = [e for e in of_type(journal_of(tmp_path / "run"), Event) if e.kind == "control"]
    assert (event.data["command"], event.data["args"]) == ("rollback", {"to": 3})
    assert (event.data["uid"], event.data["pid"]) == (os.geteuid(), os.getpid())


@pytest.mark.parametrize("read_only", [True, False])
def test_a_read_only_run_takes_no_orders(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path, read_only=read_only) as emitter:
        emitter.commands()
        source = SocketSource(path)
        read_until(source, RunInfo)
        if not read_only:
            return
        assert source._talk is not None
        source._talk.ask(Command("c", "pause"))
        (reply,) = of_type(read_until(source, Reply), Reply)
        assert "read-only" in reply.error


def test_under_torchrun_only_rank_zero_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Emitter(tmp_path / "vla.sock", run_dir=tmp_path / "run") as emitter:
        emitter.log(0, closs=1.0)
        emitter.event("note")
        assert emitter.commands() == ()
        assert list(tmp_path.iterdir()) == []
    with Emitter(str(tmp_path / "vla-{rank}.sock")) as emitter:
        assert (tmp_path / "vla-1.sock").exists()


def test_whatever_a_script_names_and_counts_with_monitors_still_get_in(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "vla.sock"
    odd = {"weights": {"\ud800": 1.0, "closs": np.float32(2)}, "total_steps": np.int64(10)}
    with Emitter(path, run="\ud800 run", run_dir=tmp_path / "run", **odd) as emitter:
        for step in range(3):
            emitter.log(np.int64(step), **{"\ud800": 1.0, "closs": 1.0, "": 2.0})
        emitter.event("no\udfff kind", text="\ud800", data={"\ud800": {1, 2}, 3: object()})
        emitter.event("note", data={str(key): "x" * 8000 for key in range(1000)})  # over a frame
        emitter.status(guard="\ud800", snapshots=[Snapshot(np.int64(3), "ring", True)])
        source = SocketSource(path)
        found = read_until(source, BatchBlock)
        while len(of_type(found, Event)) < 4:
            found += source.read(0.1)
    assert sorted(of_type(found, BatchBlock)[0].columns) == ["", "closs"]
    texts = [event.text for event in of_type(found, Event)]
    assert any("characters that cannot be shown" in text for text in texts)
    assert any("the data of an event" in text for text in texts)


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/home/me/train.py", "train"),
        ("/site-packages/trainer/__main__.py", "trainer"),
        ("-c", "training"),
        ("", "training"),
    ],
)
def test_a_run_that_nobody_named_is_called_after_its_script(
    script: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    for variable in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"):
        monkeypatch.delenv(variable, raising=False)

    with Emitter("auto"):
        assert (tmp_path / "vlamon" / f"{name}.sock").exists()

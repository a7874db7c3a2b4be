"""The emitter end to end: what a script logs arrives at a monitor, exactly."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, read_until, rows_of
from vlamon import Emitter
from vlamon.protocol.commands import Command
from vlamon.records import BatchBlock, EpochRow, Event, Link, Reply, RunInfo, Snapshot, Status
from vlamon.sources.socket import socket_source


def test_what_is_logged_arrives_exactly(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(
        path, run="goal", weights={"closs": 1.0, "loss_ct": 10.0}, total_steps=9
    ) as emitter:
        emitter.log(7, epoch=0.5, closs=1 / 3, loss_ct=None, l1_loss_action=[0.1, 0.2])
        emitter.log(8, closs=math.inf, loss_ct=math.nan)
        emitter.log_epoch(0, "val_ind", {"closs": 3.25}, step=8)
        source = socket_source(path)
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


def test_a_command_is_answered_when_the_script_executed_it(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path) as emitter:
        emitter.commands()
        source = socket_source(path)
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
        source = socket_source(path)
        read_until(source, RunInfo)
        emitter.log(1, closs=2.0)
    records = []
    while source._link is None or source._link.state != "ended":
        records += source.read(0.1)
    assert [event.kind for event in of_type(records, Event)] == ["end"]
    assert of_type(records, Link)[-1].state == "ended"
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_metrics_of_the_longest_names_are_all_in_the_journal(tmp_path: Path) -> None:
    names = [f"{number:03}" + "\N{ROCKET}" * 49 for number in range(1000)]
    with Emitter(None, run_dir=tmp_path, weights=dict.fromkeys(names, 1.0)) as emitter:
        for step in range(200):
            emitter.log(step, **dict.fromkeys(names, 0.1 * step))
    assert len(rows_of(journal_of(tmp_path))) == 200
    assert emitter.swallowed == 0


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


def test_a_restart_knows_where_the_run_was(tmp_path: Path) -> None:
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
        source = socket_source(path, rows=False)
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


def test_a_command_is_written_down_with_who_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path, run_dir=tmp_path / "run") as emitter:
        emitter.commands()
        source = socket_source(path)
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
def test_a_read_only_run_takes_no_commands(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path, read_only=read_only) as emitter:
        emitter.commands()
        source = socket_source(path)
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
        source = socket_source(path)
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
def test_a_run_without_a_name_is_named_after_its_script(
    script: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    for variable in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"):
        monkeypatch.delenv(variable, raising=False)

    with Emitter("auto"):
        assert (tmp_path / "vlamon" / f"{name}.sock").exists()

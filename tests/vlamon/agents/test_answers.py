"""What an agent is told fits its budget, and says what it leaves out."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tests.vlamon.commands.training import vlamon
from vlamon import Emitter
from vlamon.agents import answers
from vlamon.agents.where import find_run
from vlamon.errors import VlamonError
from vlamon.records import BatchBlock, Column, Event, RunInfo
from vlamon.store import RunStore


def store_of(rows: int) -> RunStore:
    store = RunStore()
    store.apply(RunInfo("id", "goal", "boot"))
    steps = np.arange(rows)
    values = 2.0 + np.sin(steps / 7.0)
    values[rows // 2] = math.nan
    columns = {"closs": Column(values), "z_loss": Column(values * 10)}
    store.apply(BatchBlock(0, 0, steps, steps / 100, 1e9 + steps, columns))
    store.apply(Event("e-1", "explode", rows // 2, 0, 1e9, "error", "closs nan"))
    return store


def test_a_million_rows_fit_the_budget_and_keep_mean_range_and_nan() -> None:
    found = answers.metrics(store_of(1_000_000), points=200)
    curves = found["metrics"]
    assert sum(len(curve) for curve in curves.values()) <= 200
    rows = sum(point[5] for point in curves["closs"])
    assert rows == found["rows"] == 1_000_000
    assert [point[6] for point in curves["closs"]].count(True) == 1, "the NaN is not averaged away"
    for first, last, mean, low, high, _, _ in curves["closs"]:
        assert first <= last
        assert low <= mean <= high


def test_few_steps_are_given_one_by_one() -> None:
    found = answers.metrics(store_of(1000), ["closs"], first_step=10, last_step=14)
    assert [(point[0], point[1]) for point in found["metrics"]["closs"]] == [
        (step, step) for step in range(10, 15)
    ]
    assert found["metrics"]["closs"][0][2] == pytest.approx(2.0 + math.sin(10 / 7), rel=1e-5)


def test_around_a_step_each_batch_has_its_own_values_and_events_are_there() -> None:
    found = answers.around_step(store_of(1000), 500, radius=1)
    assert [batch["step"] for batch in found["batches"]] == [499, 500, 501]
    assert found["batches"][0]["metrics"]["closs"] == pytest.approx(2.0 + math.sin(499 / 7), 1e-6)
    assert [event["event"] for event in found["events"]] == ["explode"]


def test_what_is_not_there_is_said_with_what_is() -> None:
    store = store_of(100)
    with pytest.raises(VlamonError, match="it has 0 to 99"):
        answers.around_step(store, 5000)
    with pytest.raises(VlamonError, match="there are closs"):
        answers.metrics(store, ["clos"])
    assert answers.explain("clos")["near"][0] == "closs"
    with pytest.raises(VlamonError, match="no run is called 'nope'"):
        find_run("nope")


def test_events_are_the_newest_and_the_others_are_counted() -> None:
    store = RunStore()
    for number in range(80):
        store.apply(Event(f"e-{number}", "note", number, 0, 1e9, "info", f"note {number}"))
    found = answers.events(store, limit=10)
    assert [event["step"] for event in found["events"]] == list(range(70, 80))
    assert (found["left_out"], found["kinds"]) == (70, {"note": 80})
    assert answers.events(store, ["explode"])["events"] == []


def test_query_answers_for_a_run_that_is_over(tmp_path: Path) -> None:
    with Emitter(None, run="goal", run_dir=tmp_path / "run", weights={"closs": 1.0}) as emitter:
        for step in range(600):
            emitter.log(step, closs=95.0 if step == 500 else 2.0 + 0.01 * (step % 7))

    def asked(*arguments: str) -> dict[str, object]:
        done = vlamon(["query", *arguments, "--json"])
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert done.stdout.count("\n") == 1
        return answer

    run = str(tmp_path / "run")
    status = asked("status", run)
    assert (status["running"], status["step"]) == (False, 599)
    explosions = asked("events", run, "--kinds", "explode")["events"]
    assert [event["step"] for event in explosions] == [500]  # type: ignore[attr-defined]
    assert asked("diagnose", run)["verdict"] == "explosion"
    assert asked("compare", run, run)["same"] is True
    assert asked("metrics", run, "--points", "7")["rows"] == 600
    assert asked("explain", "closs")["known"] is True
    mistake = vlamon(["query", "status", "nope", "--json"])
    assert (mistake.returncode, mistake.stderr.count("\n")) == (2, 1)


def test_an_agent_is_refused_what_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "zero.log").symlink_to("/dev/zero")
    for name in (tmp_path / "pipe.log", tmp_path / "zero.log"):
        with pytest.raises(VlamonError, match="is not a regular file: name a directory"):
            find_run(str(name))


def test_a_name_that_no_file_can_have_is_a_sentence() -> None:
    for name in ("\0", "a,\0b", "runs/\0/run.vlaj"):
        with pytest.raises(VlamonError, match="holds a NUL"):
            find_run(name)
    with pytest.raises(VlamonError):
        find_run("x" * 5000)

"""`vlamon runs` and `vlamon slurm example`."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.vlamon.commands.training import training, vlamon
from vlamon.commands.runs import table
from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.records import RunInfo, Status
from vlamon.sources import discovery
from vlamon.sources.discovery import ProbedSocket
from vlamon.sources.known_runs import known_runs


def test_a_run_is_listed_with_the_command_that_opens_it(tmp_path: Path) -> None:
    home = {"VLAMON_HOME": str(tmp_path / "home")}
    socket, journal = tmp_path / "vla.sock", tmp_path / "run.vlaj"
    journal.touch()
    forged = RunEntry("b", "bad\n\x1b]0;x\x07", ended=9.0, journal=str(journal))
    registry.write(forged, str(tmp_path / "home" / "runs"))
    over = vlamon(["runs"], **home).stdout
    assert over.endswith(f"vlamon watch {journal}\n")
    assert all(line.isprintable() for line in over.splitlines())
    (found,) = [
        each
        for each in map(json.loads, vlamon(["runs", "--json"], **home).stdout.splitlines())
        if each["boot"] == "b"
    ]
    assert (found["running"], found["open"]) == (False, ["vlamon", "watch", str(journal)])
    with training(socket, **home):
        while len(registry.entries(str(tmp_path / "home" / "runs"))) < 2:
            time.sleep(0.01)
        lines = vlamon(["runs"], **home).stdout.splitlines()
    assert any(
        line.startswith("demo") and line.endswith(f"vlamon watch --socket {socket}")
        for line in lines
    )


def test_status_and_ctl_find_a_job_by_its_number(tmp_path: Path) -> None:
    home = {"VLAMON_HOME": str(tmp_path / "home"), "SLURM_JOB_ID": "77"}
    with training(tmp_path / "vla.sock", **home):
        while not registry.entries(str(tmp_path / "home" / "runs")):
            time.sleep(0.01)
        asked = vlamon(["status", "--job", "77"], **home)
        done = vlamon(["ctl", "--job", "77", "checkpoint", "--reason", "reboot"], **home)
        both = vlamon(["status", "--job", "77", "--ssh", "node"], **home)
    assert asked.stdout.startswith("demo  training  step "), asked.stderr
    assert done.stdout.startswith("checkpoint done: step "), done.stderr
    assert (both.returncode, "exclude each other" in both.stderr) == (2, True)


def test_a_run_that_answers_is_listed_with_the_step_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path))
    registry.write(RunEntry("b", "a", "here", socket="/tmp/vla-a.sock"), str(tmp_path / "runs"))
    status = Status("paused", 4711)
    answering = [
        ProbedSocket("/tmp/vla-a.sock", RunInfo("r", "a", boot="b"), status),
        ProbedSocket("/tmp/vla-c.sock", RunInfo("r", "c", boot="d"), status),
    ]
    monkeypatch.setattr(discovery, "serving", lambda: answering)
    new, old = known_runs()
    assert (new.name, old.name) == ("c", "a"), "each of them once"
    assert (old.state, old.step) == ("paused", 4711)


def test_a_node_that_died_leaves_a_run_that_is_lost_and_opened_from_the_shared_disk(
    tmp_path: Path,
) -> None:
    journal, now = tmp_path / "run.vlaj", time.time()
    journal.touch()
    listed = [
        RunEntry(
            *("a", "kept", "n7", 1, 1.0, now - 3600),
            journal=str(journal),
            socket="/tmp/a.sock",
            step=207,
        ),
        RunEntry("b", "gone", "n8", 1, 2.0, now - 3600, socket="/tmp/b.sock"),
        RunEntry("c", "alive", "n9", 1, 3.0, now - 30, socket="/tmp/c.sock"),
    ]
    for entry in listed:
        registry.write(entry, str(tmp_path / "runs"))
    shown = vlamon(["runs", "--all"], VLAMON_HOME=str(tmp_path)).stdout.splitlines()
    words = {line.split()[0]: line for line in shown[1:]}
    assert (" lost " in words["kept"], " lost " in words["gone"]) == (True, True)
    assert words["kept"].endswith(f"vlamon watch {journal}")
    assert " ≥ 207 " in words["kept"], "its last minute is not in the list"
    assert words["gone"].endswith("–"), "a socket of a node that is gone opens nothing"
    assert words["alive"].endswith("vlamon watch --ssh n9:/tmp/c.sock")


def test_runs_that_ended_without_a_journal_are_counted(tmp_path: Path) -> None:
    home = {"VLAMON_HOME": str(tmp_path)}
    registry.write(RunEntry("b", "a", ended=9.0), str(tmp_path / "runs"))
    (ended,) = registry.entries(str(tmp_path / "runs"))
    shown = list(table([], "here", 10.0, ended=1))
    assert (
        shown[0] == "No run is alive, and of 1 that ended none kept a journal, as --run-dir does."
    )
    assert not ended.journal
    assert "–" in vlamon(["runs", "--all"], **home).stdout


def test_the_example_for_slurm_is_a_script_that_bash_reads() -> None:
    done = vlamon(["slurm", "example"])
    assert done.stdout.startswith("#!/bin/bash\n#SBATCH")
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0

"""A job's training is found in the list of runs, else where Slurm says that it runs."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.sources import SourceError
from vlamon.sources.discovery import NoTrainer
from vlamon.sources.jobs import RunLocation, job_source, place_of_job, served_by
from vlamon.sources.ssh import CarriedEndpoint
from vlamon.sources.stream import StreamSource

HOST = socket.gethostname()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def squeue(home: Path, answer: str, status: int = 0) -> None:
    """A Slurm that answers this."""
    (home / "bin").mkdir()
    program = home / "bin" / "squeue"
    out = ">&2" if status else ""
    program.write_text(f"#!/bin/sh\necho '{answer}' {out}\nexit {status}\n")
    program.chmod(0o755)


def listed(home: Path, entry: RunEntry) -> None:
    registry.write(entry, str(home / "runs"))


def test_a_running_one_is_opened_live_here_or_through_ssh(home: Path) -> None:
    now = time.time()
    listed(home, RunEntry("a", host=HOST, pid=os.getpid(), socket="/tmp/a.sock", job="12"))
    listed(home, RunEntry("b", host="n7", updated=now, socket="/tmp/b.sock", array_job="30_4"))
    assert place_of_job("12") == RunLocation(socket="/tmp/a.sock")
    assert place_of_job("30_4") == RunLocation(ssh="n7:/tmp/b.sock")


def test_one_that_is_over_is_opened_from_its_journal(home: Path) -> None:
    journal = home / "run.vlaj"
    journal.touch()
    listed(home, RunEntry("a", host="n7", updated=1.0, job="12", journal=str(journal)))
    assert place_of_job("12") == RunLocation(journal=str(journal))


def test_a_requeued_job_is_opened_at_its_running_boot(home: Path) -> None:
    journal = home / "run.vlaj"
    journal.touch()
    listed(home, RunEntry("a", host="n7", ended=9.0, started=9.0, job="12", journal=str(journal)))
    listed(home, RunEntry("b", host="n8", updated=time.time(), socket="/tmp/b.sock", job="12"))
    assert place_of_job("12") == RunLocation(ssh="n8:/tmp/b.sock")


def test_one_that_is_not_listed_is_asked_of_slurm(home: Path) -> None:
    squeue(home, "4711|RUNNING|n9")
    assert place_of_job("4711") == RunLocation(ssh="n9:/tmp/vla-job4711.sock")


def test_a_job_on_this_node_needs_no_ssh(home: Path) -> None:
    squeue(home, f"4711|RUNNING|{HOST}")
    assert place_of_job("4711") == RunLocation(socket="/tmp/vla-job4711.sock")


@pytest.mark.parametrize(
    ("job", "answer", "status", "sentence"),
    [
        ("4711", "4711|PENDING|", 0, "job 4711 has not started"),
        ("4711", "1|RUNNING|n1 2|RUNNING|n2", 0, "an array of 2 tasks"),
        ("4711", "", 0, "it is not queued any more"),
        ("4711", "slurm_load_jobs error: Invalid job id specified", 1, "Invalid job id"),
        ("-o Proxy", "", 0, "is not a job"),
    ],
)
def test_what_is_known_of_a_job_is_one_sentence(
    home: Path, job: str, answer: str, status: int, sentence: str
) -> None:
    squeue(home, answer, status)
    with pytest.raises(SourceError, match=sentence):
        place_of_job(job)


def test_without_slurm_and_list_the_way_out_is_said(home: Path) -> None:
    with pytest.raises(SourceError, match="no squeue to ask: use --ssh"):
        place_of_job("4711")


def test_one_that_is_over_has_nobody_to_talk_to_and_says_where_its_journal_is(home: Path) -> None:
    journal = home / "run.vlaj"
    journal.touch()
    listed(home, RunEntry("a", host=HOST, ended=9.0, job="12", journal=str(journal)))
    with pytest.raises(NoTrainer, match=f"does not run now: vlamon watch {journal}"):
        served_by("12")


def carrier_of(job: str) -> str:
    source = job_source(job)
    assert isinstance(source, StreamSource)
    assert isinstance(source.endpoint, CarriedEndpoint)
    return source.endpoint.command[0]


def test_the_user_chooses_between_ssh_and_srun(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(home, RunEntry("b", host="n7", updated=time.time(), socket="/tmp/b.sock", job="12"))
    assert carrier_of("12") == "ssh"
    monkeypatch.setenv("VLAMON_JOBS", "srun")
    assert carrier_of("12") == "srun"
    with pytest.raises(SourceError, match="cannot run srun"):
        job_source("12").read(0.1)
    monkeypatch.setenv("VLAMON_JOBS", "telnet")
    with pytest.raises(SourceError, match="must be ssh or srun"):
        job_source("12")

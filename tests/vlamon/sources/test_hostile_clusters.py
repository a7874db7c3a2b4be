"""A `squeue`, a list of runs and a far end that mean no good: a sentence, and nothing is run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.records import Link
from vlamon.sources import SourceError, jobs
from vlamon.sources import ssh as ssh_module
from vlamon.sources.jobs import RunLocation, job_source, place_of_job
from vlamon.sources.ssh import ssh_source
from vlamon.sources.stream import StreamSource


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLAMON_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(home: Path, name: str, script: str) -> None:
    path = home / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def read_until_given_up(source: StreamSource) -> str:
    """The sentence with which a source gives up; only links come before it."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        try:
            found = source.read(0.1)
        except SourceError as error:
            return str(error)
        assert all(isinstance(record, Link) for record in found)
        if any(isinstance(record, Link) and record.state == "failed" for record in found):
            return str(found[-1])
    return ""


NODES = (
    "-oProxyCommand=touch$IFS$9ran", "$(touch ran)", "`touch ran`", "n1;touch", "root@elsewhere",
    "n1:/tmp/other.sock", "../n1", "", "n\x1b[2J", "損失", "n" * 3 + "|x", "%h", "[::1]", "n1/..",
)  # fmt: skip


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_is_no_host_is_never_handed_to_ssh(home: Path, node: str) -> None:
    answer = home / "answer"
    answer.write_bytes(f"4711|RUNNING|{node}\n".encode())
    program(home, "squeue", f"cat {answer}")
    program(home, "ssh", f"touch {home}/ran")
    with pytest.raises(SourceError):
        place_of_job("4711")
    assert not (home / "ran").exists()


@pytest.mark.parametrize("number", ["../../home/x", "", "-1", "4711/../x", "\x1b[2J"])
def test_a_number_that_is_no_job_leads_to_no_socket(home: Path, number: str) -> None:
    answer = home / "answer"
    answer.write_bytes(f"{number}|RUNNING|n1\n".encode())
    program(home, "squeue", f"cat {answer}")
    with pytest.raises(SourceError):
        place_of_job("4711")


@pytest.mark.parametrize("answer", [b"\xff\xfe\x00|\xff|\xff\n", b"\xff" * 100_000, b"\0\n"])
@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_answer_that_is_no_text_is_a_sentence(home: Path, answer: bytes, stream: str) -> None:
    (home / "answer").write_bytes(answer)
    program(home, "squeue", f"cat {home}/answer >&{stream}; exit 1")
    with pytest.raises(SourceError):
        place_of_job("4711")


def test_a_squeue_that_hangs_is_given_up_with_what_it_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ANSWER", 0.3)
    program(home, "squeue", "sleep 60 & sleep 60")
    began = time.monotonic()
    with pytest.raises(SourceError, match="did not answer"):
        place_of_job("4711")
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("job", ["١٢٣", "4711\n", "4711 --me", "-M all", "$(id)", "1_2_3", ""])
def test_what_is_no_job_asks_nobody(home: Path, job: str) -> None:
    program(home, "squeue", f"touch {home}/ran")
    with pytest.raises(SourceError, match="is not a job"):
        place_of_job(job)
    assert not (home / "ran").exists()


@pytest.mark.parametrize("host", ["-oProxyCommand=id", "$(id)", "a b", "", "n1;id", "\x1b[2J"])
def test_a_listed_host_that_is_none_is_not_opened(home: Path, host: str) -> None:
    now = time.time()
    entry = RunEntry("b", host=host, updated=now, socket="/tmp/b.sock", job="12")
    registry.write(entry, str(home / "runs"))
    assert jobs.place_of(entry, "here", now) == RunLocation()


def test_the_path_of_a_socket_is_one_word_at_the_far_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_JOBS", "srun")
    program(
        home, "srun", f'for word; do last=$word; done; echo "$last" > {home}/said; eval "$last"'
    )
    program(home, "vlamon", f"touch {home}/ran")
    socket = f"/tmp/a'; touch {home}/hurt; echo '"
    entry = RunEntry("b", host="n7", updated=time.time(), socket=socket, job="12")
    registry.write(entry, str(home / "runs"))
    source = job_source("12")
    end = time.monotonic() + 10.0
    while not (home / "ran").exists() and time.monotonic() < end:
        try:
            source.read(0.1)
        except SourceError:
            break
    source.close()
    assert (home / "ran").exists()
    assert not (home / "hurt").exists()


def test_a_far_end_that_complains_without_an_end_fills_no_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_module, "_COMPLAINTS", 1 << 20)
    program(home, "ssh", "exec head -c 300000000 /dev/zero >&2")
    monkeypatch.setenv("TMPDIR", str(home))
    source = ssh_source("n7", "/tmp/a.sock")
    before = os.statvfs(home)
    said = read_until_given_up(source)
    taken = (before.f_bavail - os.statvfs(home).f_bavail) * before.f_frsize
    source.close()
    assert "n7" in said
    assert taken < 100 << 20


def test_a_far_end_that_answers_with_anything_but_frames_is_given_up(home: Path) -> None:
    program(home, "ssh", "exec head -c 300000000 /dev/urandom")
    source = ssh_source("n7", "/tmp/a.sock")
    assert read_until_given_up(source)
    source.close()

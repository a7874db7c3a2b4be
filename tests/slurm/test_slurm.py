"""On a real Slurm: every task knows its rank, and a job is found and requeued by its number."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster, NoSlurm, cluster, missing
from tests.slurm.job import LAST
from tests.vlamon.commands.training import environment
from tests.vlamon.emitter.emitted import journal_of, of_type
from vlamon.records import BatchBlock, Event, Record
from vlamon.sources.srun import srun_source

ROOT = Path(__file__).parents[2]
TASK = f"cd {ROOT} && exec {sys.executable} -m tests.slurm.job"

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "a Slurm can be started")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with cluster(tmp_path_factory.mktemp("slurm")) as found:
            yield found
    except NoSlurm as why:
        pytest.skip(str(why))


def submit(slurm: Cluster, body: str, *options: str) -> str:
    """The number of the job."""
    script = slurm.folder / f"job-{time.monotonic_ns()}.sh"
    script.write_text(f"#!/bin/bash\n{body}\n")
    out = slurm.run("sbatch", "--parsable", *options, str(script))
    return out.strip()


def asked(slurm: Cluster, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A vlamon command on the login node."""
    return subprocess.run(
        [sys.executable, "-m", "vlamon", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env=environment(SLURM_CONF=slurm.environment["SLURM_CONF"], **more),
    )  # fmt: skip


def status_of(slurm: Cluster, job: str, **more: str) -> dict[str, Any]:
    """What `vlamon query status JOB` says once the training serves."""
    end = time.monotonic() + 90
    while True:
        done = asked(slurm, "query", "status", job, "--json", **more)
        if done.returncode == 0 and json.loads(done.stdout)["running"]:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        assert time.monotonic() < end, done.stderr + done.stdout
        time.sleep(0.5)


def until_over(slurm: Cluster, job: str) -> None:
    end = time.monotonic() + 90
    while job in slurm.run("squeue", "--noheader", "--format", "%F").split():
        assert time.monotonic() < end, slurm.run("squeue")
        time.sleep(0.5)


def test_srun_without_torchrun_gives_each_task_its_rank_and_rank_0_the_journal(
    slurm: Cluster, tmp_path: Path
) -> None:
    slurm.run("srun", "-n", "4", "bash", "-c", f"{TASK} {tmp_path} 20")
    places = [(tmp_path / f"rank-{rank}").read_text() for rank in range(4)]
    assert places == [f"{rank} 4 {rank}" for rank in range(4)]
    blocks = of_type(journal_of(tmp_path), BatchBlock)
    assert sum(block.rows for block in blocks) == 20, "one rank writes, and none fails"


def test_a_job_is_found_by_its_number_with_and_without_a_list_of_runs(
    slurm: Cluster, tmp_path: Path
) -> None:
    job = submit(slurm, f"{TASK} {tmp_path / 'run'} 100000")
    try:
        home = str(tmp_path / "home")
        for known in (home, ""):
            status = status_of(slurm, job, VLAMON_HOME=known)
            assert status["run"]["name"] == "slurm"
        watched = subprocess.Popen(
            [sys.executable, "-m", "vlamon", "watch", "--job", job, "--json"],
            stdout=subprocess.PIPE, text=True,
            env=environment(SLURM_CONF=slurm.environment["SLURM_CONF"], VLAMON_HOME=""),
        )  # fmt: skip
        assert watched.stdout is not None
        kinds = {json.loads(watched.stdout.readline())["kind"] for _ in range(20)}
        watched.kill()
        watched.wait()
        watched.stdout.close()
        assert {"run", "batch"} <= kinds
    finally:
        slurm.run("scancel", job)
    until_over(slurm, job)
    gone = asked(slurm, "watch", "--job", job, "--json", VLAMON_HOME="")
    assert gone.returncode == 2
    assert job in gone.stderr


def test_a_node_without_logins_is_reached_by_a_step_of_the_job(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(slurm, f"{TASK} {tmp_path / 'run'} 100000")
    try:
        status = status_of(slurm, job, VLAMON_HOME="")
        for name, value in environment(**slurm.environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("VLAMON_REMOTE", f"{sys.executable} -m vlamon relay")
        source = srun_source(job, status["run"]["host"], f"/tmp/vla-job{job}.sock")
        found: list[Record] = []
        end = time.monotonic() + 60
        while sum(block.rows for block in of_type(found, BatchBlock)) < 20:
            found += source.read(0.1)
            assert time.monotonic() < end, found[-3:]
        source.close()
        steps = [step for block in of_type(found, BatchBlock) for step in block.step.tolist()]
        assert steps == list(range(len(steps)))
    finally:
        slurm.run("scancel", job)
    until_over(slurm, job)


def test_each_task_of_an_array_is_a_run_of_its_own(slurm: Cluster, tmp_path: Path) -> None:
    folder = f"{tmp_path}/task-$SLURM_ARRAY_TASK_ID"
    job = submit(slurm, f"{TASK} {folder} 100000", "--array=0-1", "--ntasks=1")
    try:
        first = status_of(slurm, f"{job}_0", VLAMON_HOME="")
        second = status_of(slurm, f"{job}_1", VLAMON_HOME="")
        assert first["run"]["pid"] != second["run"]["pid"]
        whole = asked(slurm, "query", "status", job, VLAMON_HOME="")
        assert whole.returncode == 2
        assert f"{job}_0" in whole.stderr, "which task is meant must be said"
    finally:
        slurm.run("scancel", job)
    until_over(slurm, job)


def story(slurm: Cluster, job: str) -> str:
    """What Slurm knows of a job, what it wrote and what the daemons said."""
    asked = ["scontrol", "show", "job", job]
    shown = subprocess.run(
        asked, capture_output=True, text=True, env=slurm.environment, check=False
    )
    files = [slurm.folder / f"slurm-{job}.out", *slurm.folder.glob("slurm*.log")]
    texts = [file.read_text(errors="replace")[-4000:] for file in files if file.exists()]
    return "\n".join([shown.stdout + shown.stderr, *texts])


def test_a_requeued_job_goes_on_in_its_journal(slurm: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    job = submit(slurm, f"{TASK} {run_dir} 100000", "--requeue", "--open-mode=append")
    status_of(slurm, job, VLAMON_HOME="")
    slurm.run("scancel", "--signal=USR1", "--batch", job)
    end = time.monotonic() + 90
    # Slurm holds a requeued job back for two minutes; an administrator need not wait so long. But
    # in the second of its end the node refuses it: "Job credential revoked".
    held = True
    while state := slurm.run("squeue", "--noheader", "--jobs", job, "--format", "%t").strip():
        if state == "PD" and held:
            slurm.run("scontrol", "update", f"jobid={job}", "StartTime=now+3")
            held = False
        assert time.monotonic() < end, story(slurm, job)
        time.sleep(0.5)
    records = journal_of(run_dir)
    blocks = of_type(records, BatchBlock)
    assert {block.attempt for block in blocks} == {0, 1}, story(slurm, job)
    steps = [step for block in blocks for step in block.step.tolist()]
    assert steps == list(range(len(steps))), "nothing is lost and nothing is done twice"
    assert sum(block.rows for block in blocks if block.attempt == 1) == LAST
    ends = [event.text for event in of_type(records, Event) if event.kind in ("end", "note")]
    assert any("ended by the scheduler" in text for text in ends)

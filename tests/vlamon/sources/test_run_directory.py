"""`tail DIR` and `analyze DIR` take one view of the newest run, and say which and why."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vlamon.sources import SourceError
from vlamon.sources.run_directory import find_logs

ROWS = "".join(f"step: {step}, loss: {4 - step / 10}\n" for step in range(1, 20))
NOW = 1_700_000_000.0


def put(path: Path, text: str = ROWS, *, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))
    return path


def taken(directory: Path, *, follow: bool = False) -> list[str]:
    return [
        os.path.relpath(path, directory) for path in find_logs(str(directory), follow=follow).paths
    ]


def test_a_jobs_stdout_and_stderr_are_one_run_and_the_newest_job_is_taken(tmp_path: Path) -> None:
    for job, age in ((123, 9000), (124, 0)):
        put(tmp_path / f"slurm-{job}.out", age=age)
        put(tmp_path / f"slurm-{job}.err", "a warning\n", age=age)
    found = find_logs(str(tmp_path))
    assert taken(tmp_path) == ["slurm-124.out", "slurm-124.err"]
    assert "newest of 2" in found.why
    assert "left out: slurm-123.out" in found.sentence(str(tmp_path))


def test_the_jobs_number_decides_where_a_copy_gave_all_files_one_time(tmp_path: Path) -> None:
    for job in (99, 100):
        put(tmp_path / "logs" / f"train_{job}.out")
    assert taken(tmp_path) == ["logs/train_100.out"]


def test_the_output_of_pbs_is_found(tmp_path: Path) -> None:
    put(tmp_path / "vla.o77")
    put(tmp_path / "vla.e77", "warning\n")
    assert taken(tmp_path) == ["vla.o77", "vla.e77"]


def test_the_highest_version_of_lightning_is_taken(tmp_path: Path) -> None:
    for version in (2, 10, 9):
        put(tmp_path / "lightning_logs" / f"version_{version}" / "metrics.csv")
    assert taken(tmp_path) == ["lightning_logs/version_10/metrics.csv"]


def test_wandbs_history_goes_before_what_was_printed_and_the_latest_run_first(
    tmp_path: Path,
) -> None:
    for run in ("run-20260101_000000-aaaa", "run-20260201_000000-bbbb"):
        put(tmp_path / "wandb" / run / "files" / "output.log")
        put(tmp_path / "wandb" / run / "files" / "wandb-summary.json", '{"loss": 1}')
    (tmp_path / "wandb" / "latest-run").symlink_to("run-20260201_000000-bbbb")
    assert taken(tmp_path) == ["wandb/latest-run/files/output.log"]
    assert taken(tmp_path / "wandb") == ["latest-run/files/output.log"]
    put(tmp_path / "wandb" / "run-20260201_000000-bbbb" / "run-bbbb.wandb", ":W&B")
    assert taken(tmp_path / "wandb" / "latest-run") == ["run-bbbb.wandb"]


def test_event_files_of_one_folder_are_one_run(tmp_path: Path) -> None:
    for name in ("events.out.tfevents.1.host", "events.out.tfevents.2.host"):
        put(tmp_path / "runs" / "Feb01_host" / name)
    put(tmp_path / "runs" / "Jan01_host" / "events.out.tfevents.0.host", age=9000)
    assert taken(tmp_path) == [
        "runs/Feb01_host/events.out.tfevents.1.host",
        "runs/Feb01_host/events.out.tfevents.2.host",
    ]


def test_the_last_checkpoints_state_has_every_row_and_comes_last_where_the_run_goes_on(
    tmp_path: Path,
) -> None:
    for step in (500, 1000):
        put(tmp_path / f"checkpoint-{step}" / "trainer_state.json", '{"log_history": []}')
    put(tmp_path / "runs" / "host" / "events.out.tfevents.1.host")
    assert taken(tmp_path) == ["checkpoint-1000/trainer_state.json"]
    assert taken(tmp_path, follow=True) == ["runs/host/events.out.tfevents.1.host"]


def test_a_view_that_an_older_run_left_is_not_taken(tmp_path: Path) -> None:
    put(tmp_path / "trainer_state.json", '{"log_history": []}', age=86400)
    put(tmp_path / "slurm-5.out")
    assert taken(tmp_path) == ["slurm-5.out"]


def test_json_lines_of_a_data_set_are_not_a_log(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", '{"instruction": "pick up the cup", "id": "a"}\n')
    rows = [{"current_steps": step, "loss": 2.0 / step} for step in range(1, 9)]
    put(tmp_path / "trainer_log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert taken(tmp_path) == ["trainer_log.jsonl"]


def test_the_newest_run_of_a_directory_of_runs_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "outputs" / "2026-01-01" / "09-00-00" / "train.log", age=9000)
    put(tmp_path / "outputs" / "2026-01-02" / "09-00-00" / "train.log")
    assert taken(tmp_path) == ["outputs/2026-01-02/09-00-00/train.log"]


def test_the_reference_is_waited_for_where_only_one_of_its_logs_is_there(tmp_path: Path) -> None:
    put(tmp_path / "output.log")
    put(tmp_path / "log_eval_ind.txt")
    assert taken(tmp_path) == ["output.log", "log_eval_ind.txt"]
    assert taken(tmp_path, follow=True) == ["log_train.txt", "output.log", "log_eval_ind.txt"]


def test_a_directory_without_a_log_says_what_was_looked_for(tmp_path: Path) -> None:
    put(tmp_path / "requirements.txt", "numpy==1.26\n")
    with pytest.raises(SourceError, match=r"no training log .*metrics\.csv.*; name the file"):
        find_logs(str(tmp_path))


def test_the_streams_of_a_job_may_be_named_in_full(tmp_path: Path) -> None:
    put(tmp_path / "logs" / "job.7.stdout")
    put(tmp_path / "logs" / "job.7.stderr", "a warning\n")
    assert taken(tmp_path) == ["logs/job.7.stdout", "logs/job.7.stderr"]


def test_of_one_log_a_rank_the_first_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "train_rank0.log", age=5)
    put(tmp_path / "train_rank1.log")
    put(tmp_path / "train_rank10.log")
    assert taken(tmp_path) == ["train_rank0.log"]


def test_links_that_lead_nowhere_hide_no_log_and_end_nothing(tmp_path: Path) -> None:
    """A name that no file can have raises another error than one that is missing."""
    put(tmp_path / "train.log")
    for name in ("aaa.log", "slurm-1.out", "wandb", "swanlog", "lightning_logs", "logs"):
        (tmp_path / name).symlink_to("x" * 300)
    assert taken(tmp_path) == ["train.log"]
    put(tmp_path / "run-1" / "train.log")
    (tmp_path / "run-1" / "loop.log").symlink_to("loop.log")
    assert taken(tmp_path / "run-1") == ["train.log"]

"""`vlamon run` before launchers: rank 0 is seen, every rank ends as it would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import RunInfo

SCRIPT = """
import os
from misc import MetricLogger
rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
if {all_log} or rank == "0":
    logger = MetricLogger()
    for step in range(60):
        logger.update(loss=5 / (step + 1) + int(rank))
os.write(1, f"done {{rank}}\\n".encode())  # whole, whoever else writes
"""
METERS = """
class MetricLogger:
    def update(self, **values): pass
    def log_every(self, batches): yield from batches
"""


def command(folder: Path, *launcher: str, all_log: bool = True) -> list[str]:
    script = folder / "train.py"
    script.write_text(SCRIPT.format(all_log=all_log))
    (folder / "misc.py").write_text(METERS)
    return [
        *(sys.executable, "-m", "vlamon", "run", "--socket", str(folder / "s.sock")),
        *("--run-dir", str(folder / "run"), "--", *launcher, str(script)),
    ]


def assert_rank_0_is_seen(folder: Path, said: str = "") -> None:
    records = journal_of(folder / "run")
    found = [values["loss"] for _, values in rows_of(records)]
    assert found == [5 / (n + 1) for n in range(60)], said
    assert of_type(records, RunInfo)[0].world_size == 2, said


@pytest.mark.parametrize(("launcher", "all_log"), [("torchrun", True), ("accelerate", False)])
def test_a_launcher_of_two_ranks(tmp_path: Path, launcher: str, all_log: bool) -> None:
    pytest.importorskip("accelerate" if launcher == "accelerate" else "torch")
    words = {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu",
                       "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"],
    }[launcher]  # fmt: skip
    done = subprocess.run(
        command(tmp_path, sys.executable, *words, all_log=all_log),
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert sorted(done.stdout.split("\n"))[-2:] == ["done 0", "done 1"], said
    assert_rank_0_is_seen(tmp_path, said)


def tasks(folder: Path, *environments: dict[str, str]) -> list[subprocess.Popen[str]]:
    words = command(folder, sys.executable)
    started = [
        subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env={**os.environ, **environment})
        for environment in environments
    ]  # fmt: skip
    for task in started:
        task.wait(100)
    return started


def test_tasks_of_srun_without_torchrun(tmp_path: Path) -> None:
    both = [{"SLURM_NTASKS": "2", "SLURM_PROCID": str(rank)} for rank in range(2)]
    assert [task.returncode for task in tasks(tmp_path, *both)] == [0, 0]
    assert_rank_0_is_seen(tmp_path)


def test_two_processes_that_know_of_no_ranks_both_train_and_both_are_kept(tmp_path: Path) -> None:
    assert [task.returncode for task in tasks(tmp_path, {}, {})] == [0, 0]
    kept = sorted((tmp_path / "run").glob("*.vlaj"))
    rows = [row for path in kept for row in rows_of(journal_of(path.parent, path.name))]
    assert len(rows) == 120

"""Under a real torchrun each process knows its rank, before there is a process group and after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type
from vlamon.records import BatchBlock, RunInfo

pytest.importorskip("torch")

SCRIPT = """
import sys, time
import torch.distributed as dist
from vlamon import Emitter
from vlamon.ranks import ranks

before = ranks()
emitter = Emitter(None, run="torchrun", run_dir=sys.argv[1])
dist.init_process_group("gloo")
assert ranks() == before, (ranks(), before)
for step in range(100):
    emitter.log(step, closs=2.0 + before.rank)
    time.sleep(0.05)
dist.barrier()
emitter.close()
print("place", before.rank, before.world_size, before.local_rank, flush=True)
"""


def test_torchrun(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            str(script), str(tmp_path / "run"),
        ],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLAMON_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    places = sorted(line for line in done.stdout.splitlines() if line.startswith("place"))
    assert places == ["place 0 2 0", "place 1 2 1"]
    records = journal_of(tmp_path / "run")
    assert of_type(records, RunInfo)[0].world_size == 2
    blocks = of_type(records, BatchBlock)
    assert sum(block.rows for block in blocks) == 100
    columns = [block.columns.get("ranks_closs_max") for block in blocks]
    most = [column for column in columns if column is not None]
    assert most, "rank 1 reports over the agent's store, too"
    assert {float(value) for column in most for value in column.values if value == value} == {3.0}

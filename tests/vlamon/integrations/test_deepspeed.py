"""DeepSpeed's engine, ZeRO stage 2, on a CPU: the lines of docs/integrations/deepspeed.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed", reason="needs deepspeed (DS_BUILD_OPS=0 pip install deepspeed)")

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import Event

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys, torch, deepspeed
sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would be compiled
from tests.vlamon.integrations.toy import Policy, Rows
deepspeed.init_distributed("gloo")
policy = Policy()
engine, optimizer, _, _ = deepspeed.initialize(
    model=policy, optimizer=torch.optim.AdamW(policy.parameters(), 1e-3),
    config={"train_batch_size": 4, "zero_optimization": {"stage": 2},
            "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False})
rows = Rows()
batches = ([rows[4 * step % 240 + i] for i in range(4)] for step in range(400))
loader = [{key: torch.stack([row[key] for row in batch]) for key in batch[0]} for batch in batches]
for batch in loader[300:]:
    batch["labels"] += 500.0
"""
GUARD = """
from vlamon.guard import Guard
try:
    Guard(engine, optimizer)
except TypeError as refused:
    print(refused)
"""


def test_every_batch_is_seen_an_explosion_is_told_and_a_guard_is_refused(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "integrations" / "deepspeed.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    script = tmp_path / "train.py"
    after = 'json.dump(policy.seen, open("seen.json", "w"))\n'
    script.write_text(SCRIPT + code + after + GUARD)
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={**os.environ, **alone, "MASTER_PORT": "29583", "PYTHONPATH": str(ROOT),
             "VLAMON_SOCKET": str(tmp_path / "s.sock")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "DeepSpeedZeroOptimizer is no torch.optim.Optimizer" in done.stdout
    records = journal_of(tmp_path / "runs" / "a")
    assert [step for step, _ in rows_of(records)] == list(range(400))
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [values["closs"] for _, values in rows_of(records)] == [row["closs"] for row in seen]
    exploded = [event.step for event in of_type(records, Event) if event.kind == "explode"]
    assert exploded[:1] == [300]

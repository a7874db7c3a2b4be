"""A rollback is read back from a real W&B run and a real SwanLab run, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vlamon.records import BatchBlock
from vlamon.sources.formats.leveldb_log import Records
from vlamon.sources.read_all import read_log
from vlamon.store.lines import cells_of

SCRIPT = """
import sys, time
from vlamon import Emitter
{start}
with Emitter(None, run_dir=sys.argv[1], annotate=True) as emitter:
    for step in range(6):
        {log}
        emitter.log(step, closs=5.0 + step)
        if step == 3:
            emitter.event("explode", step, text="8.6x the median", value=43.0)
            emitter.event("rollback", step, text="returned to step 2", to=2)
            time.sleep(2.0)  # the sidecar, and the tracker's thread
{finish}
"""


def trained(tmp_path: Path, **parts: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(**parts))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")],
        capture_output=True, text=True, timeout=300, cwd=tmp_path, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not annotated" not in done.stdout + done.stderr


@pytest.mark.parametrize("step", ["", ", step=step * 10"])
def test_wandb_has_the_rollback_in_its_history_and_every_row_of_the_script(
    tmp_path: Path, step: str
) -> None:
    if find_spec("wandb") is None:
        pytest.skip("needs wandb (make test-integrations)")
    trained(
        tmp_path,
        start="import wandb; run = wandb.init(project='p', mode='offline')",
        log="run.log({'loss': 5.0 + step}" + step + ")",
        finish="run.finish()",
    )
    rows, alerts = wandb_records(next(tmp_path.glob("wandb/offline-run-*/run-*.wandb")))
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0], "no row of the script is lost or split"
    steps = [row["_step"] for row in rows]
    assert steps == [each * 10 if step else each for each in range(6)]
    (marked,) = [row for row in rows if "vlamon/rollback" in row]
    assert marked["vlamon/rollback"] == 2.0
    assert marked["vlamon/explode"] == 43.0
    assert marked["vlamon/event"] == "rollback: returned to step 2"
    assert "vlamon: rollback at step 3" in alerts


def wandb_records(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """History rows and titles of alerts, by W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    rows, alerts = [], []
    for data in Records().feed(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(bytes(data))
        if record.HasField("history"):
            items = record.history.item
            rows.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
        if record.HasField("alert"):
            alerts.append(record.alert.title)
    return rows, alerts


def test_swanlab_has_the_rollback_as_a_scalar_at_its_step(tmp_path: Path) -> None:
    if find_spec("swanlab") is None:
        pytest.skip("needs swanlab (make test-integrations)")
    trained(
        tmp_path,
        start="import swanlab; swanlab.init(project='p', mode='local', logdir='swan')",
        log="swanlab.log({'loss': 5.0 + step})",
        finish="swanlab.finish()",
    )
    rows: list[tuple[int, dict[str, float]]] = []
    for block in read_log(str(next(tmp_path.glob("swan/**/*.swanlab")))).records:
        if isinstance(block, BatchBlock):
            rows += zip(
                block.step.tolist(),
                (cells_of(block.columns, row) for row in range(block.rows)),
                strict=True,
            )
    assert [(step, values["loss"]) for step, values in rows] == [(n, 5.0 + n) for n in range(6)]
    marked = {step: values for step, values in rows if "vlamon/rollback" in values}
    assert marked[3]["vlamon/rollback"] == 2.0
    assert marked[3]["vlamon/explode"] == 43.0
    assert len(marked) == 1

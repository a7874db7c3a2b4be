"""`vlamon run` around scripts that know nothing of vlamon: their own trackers, offline."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, rows_of

BODIES = {
    "wandb": (
        "run = wandb.init(project='p', mode={mode!r})\n"
        "for step in range(60): wandb.log({{'train/closs': 5 / (step + 1), 'lr': 1e-4}})\n"
        "run.finish()\n"
    ),
    "trackio": (
        "trackio.init(project='p')\n"
        "for step in range(60): trackio.log({{'train/closs': 5 / (step + 1), 'lr': 1e-4}})\n"
        "trackio.finish()\n"
    ),
    "swanlab": (
        "swanlab.init(project='p', mode={mode!r})\n"
        "for step in range(60):\n"
        "    swanlab.log({{'train/closs': 5 / (step + 1), 'lr': 1e-4}}, step=step)\n"
        "swanlab.finish()\n"
    ),
    "mlflow": (
        "mlflow.set_tracking_uri('file://' + {folder!r} + '/ml')\n"
        "with mlflow.start_run():\n"
        "    for step in range(60):\n"
        "        mlflow.log_metrics({{'train/closs': 5 / (step + 1), 'lr': 1e-4}}, step=step)\n"
    ),
}


def seen(tmp_path: Path, body: str) -> list[tuple[int, dict[str, float]]]:
    script = tmp_path / "train.py"
    script.write_text(body)
    run = tmp_path / "run"
    result = subprocess.run(
        [sys.executable, "-m", "vlamon", "run", "--socket", str(tmp_path / "s.sock"),
         "--run-dir", str(run), "--", sys.executable, str(script)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRACKIO_DIR": str(tmp_path / "trackio"),
             "MLFLOW_ALLOW_FILE_STORE": "true"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return rows_of(journal_of(run))


@pytest.mark.parametrize(
    ("tracker", "mode"),
    [
        ("wandb", "offline"),
        ("wandb", "disabled"),
        ("trackio", ""),
        ("swanlab", "local"),
        ("swanlab", "disabled"),
        ("mlflow", ""),
    ],
)
def test_what_a_tracker_is_handed_is_seen_row_by_row(
    tmp_path: Path, tracker: str, mode: str
) -> None:
    if find_spec(tracker) is None:
        pytest.skip(f"needs {tracker} (make test-integrations)")
    body = f"import {tracker}\n" + BODIES[tracker].format(mode=mode, folder=str(tmp_path))
    rows = seen(tmp_path, body)
    assert [step for step, _ in rows] == list(range(60))
    assert [values for _, values in rows] == [
        {"closs": 5 / (step + 1), "lr": 1e-4} for step in range(60)
    ]


HUGGING_FACE = """
from transformers import Trainer, TrainingArguments
from tests.vlamon.integrations.toy import Policy, Rows
arguments = TrainingArguments(
    "out", max_steps=60, logging_steps=10, per_device_train_batch_size=4, use_cpu=True,
    report_to={report!r}, save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
)
model = Policy()
Trainer(model, arguments, train_dataset=Rows()).train()
import json
json.dump(model.seen, open("seen.json", "w"))
"""


@pytest.mark.parametrize("report", ["none", "tensorboard"])
def test_hugging_faces_trainer_shows_every_batch_and_its_tracker_nothing_twice(
    tmp_path: Path, report: str
) -> None:
    pytest.importorskip("accelerate", reason="needs the extra accelerate")
    rows = seen(tmp_path, HUGGING_FACE.format(report=report))
    import json

    batches = json.loads((tmp_path / "seen.json").read_text())
    assert [step for step, _ in rows] == list(range(1, 61))
    for name in ("closs", "loss_ct", "loss"):
        assert [values[name] for _, values in rows] == [batch[name] for batch in batches]


LIGHTNING = """
import json, lightning as L
from tests.vlamon.integrations.test_lightning import Module, DataLoader
from tests.vlamon.integrations.toy import Rows
module = Module()
trainer = L.Trainer(max_steps=60, accelerator="cpu", logger=True, enable_progress_bar=False,
                    enable_checkpointing=False)
trainer.fit(module, DataLoader(Rows(), 4))
json.dump(module.policy.seen, open("seen.json", "w"))
"""


def test_lightning_shows_every_batch(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs the extra lightning")
    rows = seen(tmp_path, LIGHTNING)
    import json

    batches = json.loads((tmp_path / "seen.json").read_text())
    assert [step for step, _ in rows] == list(range(1, 61))
    for name in ("closs", "loss_ct", "loss"):
        assert [values[name] for _, values in rows] == [batch[name] for batch in batches]

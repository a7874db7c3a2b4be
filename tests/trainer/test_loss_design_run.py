"""A real training with energy model, pull and a learning weighting, as a monitor reads it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = [
    "objectives.energy=hinge",
    "objectives.energy_width=32",
    "objectives.coupling=cache+ema_target",
    "objectives.weighting=uncertainty",
    "objectives.pull_every=3",
    "weights.masked_codes=0.1",
    "loss_ct_weight=0:10,4:2",
    "validation_samples=0",
]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_energy_pull_and_live_weights_reach_the_journal(tmp_path: Path) -> None:
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    run("trainer", "--preset", "micro", "--steps", "7", "--run-dir", str(tmp_path), *changes)
    table = tmp_path / "rows.csv"
    run("vlamon", "export", str(tmp_path / "run.vlaj"), "-o", str(table), "--as", "csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert len(rows) == 7
    assert all(float(row["energy"]) > 0 for row in rows if row["loss_ct"])
    assert [index for index, row in enumerate(rows) if row["pull_closs"]] == [0, 3, 6]
    shares = [float(v) for name, v in rows[0].items() if name.startswith("pull_") and v]
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert -1 <= float(rows[0]["conflict_closs_masked_codes"]) <= 1
    logged = (tmp_path / "log_train.txt").read_text("utf-8")
    assert "train_energy_positive" in logged
    assert "pull_" not in logged

"""A run whose epoch lines explode beside a flat batch log: the epoch lines are what is wrong.

The numbers are those of a real run of the reference project; its batch log is rebuilt around the
averages that it printed at each epoch's end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run

EPOCH_LINES = Path(__file__).parents[2] / "fixtures" / "logs" / "log_train.txt"
CLOSS = (13.18, 8.61, 8.56, 8.55, 8.55, 8.54, 8.54, 8.53, 8.53, 8.52, 8.52, 8.52, 8.51)
LOSS_CT = (0.344, 0.251, 0.207, 0.19, 0.18, 0.17, 0.165, 0.155, 0.15, 0.145, 0.14, 0.135, 0.129)


@pytest.fixture
def batch_log(tmp_path: Path) -> Path:
    log = tmp_path / "output.log"
    lines = []
    for epoch, (closs, loss_ct) in enumerate(zip(CLOSS, LOSS_CT, strict=True)):
        for iteration in range(0, 1320, 110):
            stamp = f"2025-11-24 {epoch:02}:{iteration // 22:02}:00,000"
            meters = f"closs: {closs:.4f} ({closs:.4f})  loss_ct: {loss_ct:.4f} ({loss_ct:.4f})"
            where = f"Epoch: [{epoch}]  [{iteration}/1312]"
            lines.append(f"[rank0:INFO|misc.py:146] {stamp} >> {where}  lr: 0.000005  {meters}")
    log.write_text("\n".join(lines) + "\n")
    return log


def report(capfdbinary: pytest.CaptureFixture[bytes], *files: Path) -> dict[str, Any]:
    run(["analyze", *map(str, files), "--format", "json"])
    found: dict[str, Any] = json.loads(capfdbinary.readouterr()[0])
    return found


def test_epoch_lines_that_the_batches_refute_are_the_headline(
    capfdbinary: pytest.CaptureFixture[bytes], batch_log: Path
) -> None:
    code = run(["analyze", str(EPOCH_LINES), str(batch_log)])
    out = " ".join(capfdbinary.readouterr()[0].decode().split())
    assert code == 10
    assert "reference-output WARNINGS · the epoch lines are wrong" in out
    assert "closs 3.259 ↔ 13.18 (epoch 0)" in out
    assert "EXPLOSION" not in out


def test_refuted_epoch_lines_are_not_judged_against_themselves(
    capfdbinary: pytest.CaptureFixture[bytes], batch_log: Path
) -> None:
    found = report(capfdbinary, EPOCH_LINES, batch_log)
    assert found["anomalies"] == []
    ids = {diagnosis["id"] for diagnosis in found["diagnoses"]}
    assert {"epoch-line-disagrees-with-batches", "alternating-levels"} <= ids
    assert not ids & {"closs-explosion", "loss-ct-steady-during-spike"}
    assert "explosion" not in {line["status"] for line in found["epochs"]}


def test_epoch_lines_alone_still_explode(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = report(capfdbinary, EPOCH_LINES)
    assert found["exit_code"] == 20
    assert {a["value"] for a in found["anomalies"] if a["metric"] == "closs"} == {95.19, 37.74}


def test_an_explosion_in_the_batches_is_one_whatever_the_epoch_lines_are(
    capfdbinary: pytest.CaptureFixture[bytes], batch_log: Path
) -> None:
    lines = batch_log.read_text().splitlines()
    for row in range(12 * 4 + 6, 12 * 5):  # 110 batches at 98.55 in epoch 4
        iteration = 110 * (row - 12 * 4)
        average = f"({8.55 + 90 * 110 / (iteration + 1):.4f})"
        lines[row] = lines[row].replace("(8.5500)", average)
    batch_log.write_text("\n".join(lines) + "\n")
    assert report(capfdbinary, EPOCH_LINES, batch_log)["exit_code"] == 20


def test_shares_never_mix_epochs_silently(
    capfdbinary: pytest.CaptureFixture[bytes], batch_log: Path, tmp_path: Path
) -> None:
    both = report(capfdbinary, EPOCH_LINES, batch_log)
    assert both["contributions_at"] == "epoch 0", "z_loss has no other epoch"
    values = {term["metric"]: term["value"] for term in both["contributions"]}
    assert values == pytest.approx({"closs": 13.18, "loss_ct": 0.344, "z_loss": 39.86})
    assert report(capfdbinary, batch_log)["contributions_at"] is None
    log = tmp_path / "apart" / "log_train.txt"
    log.parent.mkdir()
    log.write_text('{"train_closs": 8, "epoch": 0}\n{"train_loss_ct": 0.1, "epoch": 1}\n')
    assert report(capfdbinary, log)["contributions_at"] == "closs epoch 0, loss_ct epoch 1"


def test_settings_that_the_log_prints_go_before_defaults_and_name_their_place(
    capfdbinary: pytest.CaptureFixture[bytes], batch_log: Path
) -> None:
    rows = batch_log.read_text()
    said = "Namespace(lr=5e-06, clip_grad=25.0, loss_ct_weights=3, vocab_size=65536)\n"
    batch_log.write_text(said + rows)
    found = report(capfdbinary, batch_log)
    weights = {term["metric"]: term["weight"] for term in found["contributions"]}
    assert weights == {"closs": 1.0, "loss_ct": 3.0}
    assert found["settings"]["weight of loss_ct 3"] == "output.log:1, loss_ct_weights=3"
    assert found["settings"]["clip 25"] == "output.log:1, clip_grad=25.0"
    assert found["assumed_weights"] is False
    run(["analyze", str(batch_log)])
    out = " ".join(capfdbinary.readouterr()[0].decode().split())
    assert "From the log: clip 25 (output.log:1, clip_grad=25.0)" in out
    run(["analyze", str(batch_log), "--weight", "loss_ct=7", "--format", "json"])
    own = json.loads(capfdbinary.readouterr()[0])
    assert {t["metric"]: t["weight"] for t in own["contributions"]}["loss_ct"] == 7.0
    assert not any("loss_ct" in name for name in own["settings"])

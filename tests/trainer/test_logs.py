"""The logs, held against files that the reference project's own logger wrote."""

from __future__ import annotations

import json
import logging
import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch

from trainer.epoch_means import EpochMeans
from trainer.log_files import LogFiles
from trainer.logs import EpochLog, Meter, epoch_line, run_logger
from vlamon.records import EpochBlock, IntervalBlock, Record
from vlamon.sources.multi_file import opened

SAMPLE = Path(__file__).parents[1] / "fixtures" / "metriclogger" / "sample"


def epoch(run_dir: Path, values: list[dict[str, float]], first: int = 0) -> dict[str, float]:
    """One epoch of batches through the log."""
    files = LogFiles()
    log = EpochLog(logger_to(run_dir, files), 2, 260, EpochMeans(260))
    for i, row in enumerate(values, start=first):
        log.update(i, row, seconds=0.25, data_seconds=0.01, samples=8)
    means = log.finish()
    files.close()
    return means


def logger_to(run_dir: Path, files: LogFiles) -> logging.Logger:
    return run_logger(0, partial(files.append, run_dir / "output.log"))


def shape(line: str) -> str:
    """A line with its numbers and moments taken out."""
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "WHEN", line)
    line = re.sub(r"\|\w+\.py:\d+\]", "|FILE]", line)
    return re.sub(r"-?\d+\.\d+|\d+(?=[]/ ]|$)", "N", line)


def reference_values() -> dict[str, float]:
    line = json.loads((SAMPLE / "log_train.txt").read_text().splitlines()[0])
    return {key.removeprefix("train_"): value for key, value in line.items() if key != "epoch"}


def test_every_line_has_the_shape_of_the_reference_loggers(tmp_path: Path) -> None:
    epoch(tmp_path, [reference_values()] * 21)
    ours = [shape(line) for line in (tmp_path / "output.log").read_text().splitlines()]
    theirs = [shape(line) for line in (SAMPLE / "output.log").read_text().splitlines()]
    assert ours[0] == theirs[0]
    assert set(ours) == set(theirs[:29])


def test_keys_stand_in_the_order_in_which_the_reference_meets_the_metrics(tmp_path: Path) -> None:
    values = reference_values()
    jumbled = {name: values[name] for name in sorted(values)}
    means = epoch(tmp_path, [{**jumbled, "action_outside": 0.0}] * 2)
    theirs = (SAMPLE / "log_train.txt").read_text().splitlines()[0]
    ours = [key for key in json.loads(epoch_line("train", means, 0)) if "outside" not in key]
    assert ours == list(json.loads(theirs))
    assert list(means)[-1] == "action_outside"


def test_metrics_that_a_later_batch_is_the_first_to_have_come_last_as_in_the_reference(
    tmp_path: Path,
) -> None:
    """The order of the fixture with ragged ranks, whose first batch had no action."""
    world = {"lr": 1.0, "closs": 2.0, "loss_ct": 0.0, "grad_norm": 3.0, "acc_image_9": 0.1}
    policy = {"lr": 1.0, "closs": 2.0, "l1_loss_action_9": 0.3, "acc_action_9": 0.2}
    means = epoch(tmp_path, [world, policy])
    last = ["acc_action_9", "l1_loss_action_9"]
    assert list(means) == ["lr", "acc_image_9", "grad_norm", "closs", "loss_ct", *last]


def test_the_mean_of_the_last_updates_is_a_float32_mean_as_in_the_reference() -> None:
    meter = Meter()
    values = [0.1 * i for i in range(700)]
    for value in values:
        meter.update(value)
    assert meter.recent == torch.tensor(values, dtype=torch.float32).mean().item()
    assert meter.overall == sum(values) / 700


def test_every_tenth_batch_is_printed_and_no_other(tmp_path: Path) -> None:
    epoch(tmp_path, [{"lr": 1e-4, "closs": 2.0}] * 35)
    printed = re.findall(r"\[(\d+)/260\]", (tmp_path / "output.log").read_text())
    assert printed == ["0", "10", "20", "30"]


def test_a_line_shows_the_mean_of_a_thousand_updates_and_that_of_all(tmp_path: Path) -> None:
    epoch(tmp_path, [{"lr": 1e-4, "closs": float(i)} for i in range(1501)])
    last = (tmp_path / "output.log").read_text().splitlines()[-4]
    assert "closs: 1000.5000 (750.0000)" in last
    assert "lr: 0.000100" in last


def test_after_a_rollback_the_epoch_line_averages_every_batch_that_counts(tmp_path: Path) -> None:
    kept, files = EpochMeans(260), LogFiles()
    logger = logger_to(tmp_path, files)

    def train(log: EpochLog, first: int, values: list[float]) -> None:
        for i, value in enumerate(values, start=first):
            log.update(i, {"closs": value}, seconds=0.1, data_seconds=0.01, samples=8)

    log = EpochLog(logger, 0, 260, kept)
    train(log, 0, [9.0] * 13 + [95.0] * 4)
    log.go_back(13)
    log = EpochLog(logger, 0, 260, kept)
    train(log, 13, [7.0] * 13)
    assert log.finish() == {"closs": 8.0}
    files.close()
    # The means printed on the way start over, as those of the reference's logger after a resume.
    lines = (tmp_path / "output.log").read_text().splitlines()
    assert "closs: 7.0000 (7.0000)" in next(line for line in lines if "[20/260]" in line)
    assert "closs: 7.0000 (8.0000)" in lines[-1]


def test_going_back_over_an_epochs_end_writes_its_line_again_from_what_counts() -> None:
    kept = EpochMeans(4)
    for step, closs in enumerate([1.0, 1.0, 3.0, 5.0, 50.0, 60.0]):
        kept.add(step, {"closs": closs})
    assert kept.means(0) == {"closs": 2.5}
    kept.forget_from(3)
    for step, closs in enumerate([7.0, 2.0], start=3):
        kept.add(step, {"closs": closs})
    assert kept.means(0) == {"closs": 3.0}
    assert kept.means(1) == {"closs": 2.0}


def test_a_metric_that_a_batch_lacks_does_not_move_its_mean(tmp_path: Path) -> None:
    rows = [{"lr": 1.0, "closs": 2.0, **({"acc_action_9": 0.5} if i % 2 else {})} for i in range(9)]
    assert epoch(tmp_path, rows)["acc_action_9"] == 0.5


def test_tensors_are_read_when_a_line_is_printed_and_come_out_as_floats(tmp_path: Path) -> None:
    means = epoch(tmp_path, [{"lr": 1.0, "closs": torch.tensor(0.5)}] * 3)
    assert means == {"lr": 1.0, "closs": 0.5}


def test_nan_and_infinity_appear_as_bare_words() -> None:
    line = epoch_line("train", {"closs": math.nan, "loss_ct": math.inf}, 3)
    assert line == '{"train_closs": NaN, "train_loss_ct": Infinity, "epoch": 3}'


def read(path: Path) -> list[Record]:
    source = opened(str(path), follow=False, format_name=None)
    found: list[Record] = []
    while not source.finished:
        found += source.read(0.1)
    return found


def test_vlamon_recovers_from_the_log_the_spike_that_its_means_hide(tmp_path: Path) -> None:
    truth = [3.0 + (i == 15) * 40.0 for i in range(60)]
    epoch(tmp_path, [{"lr": 1e-4, "closs": value} for value in truth])
    blocks = [r for r in read(tmp_path / "output.log") if isinstance(r, IntervalBlock)]
    means = [float(v) for block in blocks for v in block.metrics["closs"].values]
    assert means == pytest.approx([3.0, 3.0, 7.0, 3.0, 3.0, 3.0], abs=0.01)


def test_vlamon_reads_the_epoch_lines(tmp_path: Path) -> None:
    path = tmp_path / "log_eval_ood.txt"
    path.write_text(epoch_line("val", {"closs": 2.5}, 7) + "\n")
    blocks = [r for r in read(path) if isinstance(r, EpochBlock)]
    assert [(b.split, b.epoch.tolist(), b.columns["closs"].values.tolist()) for b in blocks] == [
        ("val_ood", [7.0], [2.5])
    ]

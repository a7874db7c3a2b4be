"""Lines for people."""

from __future__ import annotations

import math

import pytest

from tests.vlamon.store.blocks import batches
from vlamon.hardware import GpuSample
from vlamon.records import EpochRow, Event, Gap, Interval, Link, Record, RunInfo, Status
from vlamon.views.plain_lines import Thinned, number_text, plain_lines


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            batches({"lr": [5e-6], "closs": [8.5]}, first_step=3, epochs=[0.5], attempt=1),
            "step 3  epoch 0.5  attempt 1  closs 8.5000  lr 5.000e-06",
        ),
        (EpochRow(7.0, "train", {"closs": 95.19}), "epoch 7  train  closs 95.190"),
        (
            Interval(2, None, 10, {"closs": 9.0}, {}, {"closs": (8.0,), "acc": (0.5,)}),
            "epoch 2  batches ?..10  closs 9.0000  acc 0.5000",
        ),
        (
            EpochRow(0.0, "train", {f"l1_loss_action_{slot}": slot / 10 for slot in (5, 6, 7)}),
            "epoch 0  train  l1_loss_action_5..7 mean 0.6000",
        ),
        (Event("1", "explode", 7, 0, 0.0, text="closs 95"), "! explode at step 7: closs 95"),
        (Event("1", "explode", 7, 0, 0.0, text="closs 95", counted=False), "! explode: closs 95"),
        (Gap(3, 4, 6, "too slow"), "# 3 rows are missing, steps 4 to 6: too slow"),
        (RunInfo("i", "libero", host="n17", total_steps=9), "# run libero  on n17  9 steps"),
        (Link("waiting", "waiting for x"), "# waiting for x"),
    ],
)
def test_a_record_is_a_line(record: Record, text: str) -> None:
    assert list(plain_lines(record)) == [text]


def test_a_fast_training_is_thinned_but_no_odd_batch_is_left_out() -> None:
    thinned = Thinned(1.0)
    cells = [8.0, 8.0, 8.0, math.nan, 8.0, 8.0]
    block = batches({"closs": cells}, times=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25])

    steps = [line.split("step ")[1].split()[0] for line in thinned.lines(block)]

    assert steps == ["0", "3", "4"]
    assert list(thinned.lines(Gap(1, None, None, "slow"))) == ["# 1 rows are missing: slow"]


@pytest.mark.parametrize("record", [Status("training", 3), GpuSample(0.0, ())])
def test_what_comes_every_second_is_no_line(record: Record) -> None:
    assert list(plain_lines(record)) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.13, "0.1300"),
        (8.5123, "8.5123"),
        (95.19, "95.190"),
        (1234.5, "1234.50"),
        (1e5, "1.000e+05"),
        (5e-6, "5.000e-06"),
        (-0.5, "-0.5000"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_keeps_digits_that_matter(value: float, text: str) -> None:
    assert number_text(value) == text

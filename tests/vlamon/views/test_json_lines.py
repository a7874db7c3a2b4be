"""The schema of docs/json.md."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.store.blocks import batches, column
from vlamon.hardware import GpuSample, Process
from vlamon.records import (
    EpochBlock,
    EpochRow,
    Event,
    Gap,
    Interval,
    Link,
    MetricSpec,
    Record,
    Reply,
    RunInfo,
    Status,
)
from vlamon.store.lines import interval_block
from vlamon.views.json_lines import json_lines


def lines(record: Record) -> list[dict[str, Any]]:
    written = list(json_lines(record))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    return [json.loads(line) for line in written]


def test_a_batch_is_a_line_with_what_it_logged() -> None:
    block = batches(
        {"closs": [8.5, math.nan], "loss_ct": [None, math.inf], "z": [-math.inf, None]},
        first_step=7,
        attempt=1,
        epochs=[0.5, 0.75],
        times=[100.25, math.nan],
        weights={"loss_ct": 10.0},
    )

    assert lines(block) == [
        {
            "kind": "batch",
            "attempt": 1,
            "epoch": 0.5,
            "step": 7,
            "time": 100.25,
            "metrics": {"closs": 8.5, "z": "-inf"},
            "weights": {"loss_ct": 10.0},
        },
        {
            "kind": "batch",
            "attempt": 1,
            "epoch": 0.75,
            "step": 8,
            "time": None,
            "metrics": {"closs": "nan", "loss_ct": "inf"},
        },
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_values_read_back_exactly(values: list[float]) -> None:
    found = [line["metrics"]["closs"] for line in lines(batches({"closs": values}))]

    assert found == values


def test_an_epoch_is_the_same_alone_and_in_a_block() -> None:
    row = EpochRow(7.0, "val_ind", {"closs": 95.19, "bad": math.nan}, attempt=2)
    block = EpochBlock(
        "val_ind",
        np.array([7.0]),
        {"closs": column([95.19]), "bad": column([math.nan]), "gone": column([None])},
        attempt=2,
    )

    assert lines(row) == lines(block)
    assert lines(row) == [
        {
            "kind": "epoch",
            "epoch": 7,
            "split": "val_ind",
            "metrics": {"closs": 95.19, "bad": "nan"},
            "attempt": 2,
        }
    ]


def test_an_interval_is_the_same_alone_and_in_a_block() -> None:
    row = Interval(
        epoch=0,
        first=None,
        last=10,
        metrics={"closs": 13.1},
        bound={"closs": 6e-5},
        printed={"closs": (13.18, 13.18), "acc_action_5": (0.1, math.nan)},
        not_inverted=("acc_action_5",),
    )

    assert lines(row) == lines(interval_block(row))
    (line,) = lines(row)
    assert line["first"] is None
    assert line["printed"] == {"closs": [13.18, 13.18], "acc_action_5": [0.1, "nan"]}
    assert line["bound"] == {"closs": 6e-5}


def test_an_events_own_kind_is_under_event() -> None:
    event = Event(
        "e1", "explode", 39210, 0, 1.5, "error", "closs 95.2", {"z": math.inf, "s": (1, 2)}
    )

    assert lines(event) == [
        {
            "kind": "event",
            "event": "explode",
            "id": "e1",
            "step": 39210,
            "attempt": 0,
            "time": 1.5,
            "severity": "error",
            "text": "closs 95.2",
            "data": {"z": "inf", "s": [1, 2]},
        }
    ]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (RunInfo("id", "libero", metrics=(MetricSpec("closs", "trained", 1.0),)), "run"),
        (GpuSample(1.0, (), Process(1, 2.0, 3, 4)), "gpu"),
        (Status("training", 5), "status"),
        (Gap(3, 1, None, "slow"), "gap"),
    ],
)
def test_every_documented_kind_has_every_documented_key(record: Record, kind: str) -> None:
    (line,) = lines(record)
    assert line["kind"] == kind
    docs = (Path(__file__).parents[3] / "docs" / "json.md").read_text()
    (row,) = (text for text in docs.splitlines() if text.startswith(f"| `{kind}` |"))
    for key in line.keys() - {"kind"}:
        assert f"`{key}`" in row


@pytest.mark.parametrize("record", [Reply("1", True), Link("live", "connected")])
def test_what_is_no_part_of_the_schema_has_no_line(record: Record) -> None:
    assert lines(record) == []


def test_what_a_log_does_not_say_of_an_event_is_null() -> None:
    (line,) = lines(Event("a", "explode", 7, 0, 0.0, data={"epoch": 7.0}, counted=False))
    assert (line["step"], line["time"], line["data"]) == (None, None, {"epoch": 7.0})
    assert "counted" not in line
    (line,) = lines(Event("a", "explode", 7, 0, 12.5))
    assert (line["step"], line["time"]) == (7, 12.5)

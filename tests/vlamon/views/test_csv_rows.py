"""CSV: exact values, and columns that do not take each other's place."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable

import pytest

from tests.vlamon.store.blocks import batches
from vlamon.errors import VlamonError
from vlamon.records import EpochRow, Event, Interval, Record
from vlamon.views.csv_rows import csv_rows


def table(records: Iterable[Record], kind: str | None = None) -> list[dict[str, str]]:
    held = list(records)
    text = b"".join(csv_rows(lambda: held, kind, "run.vlaj")).decode()
    return list(csv.DictReader(text.splitlines()))


def test_values_are_exact_and_missing_cells_empty() -> None:
    rows = table(
        [
            batches({"closs": [0.1 + 0.2, math.nan]}, times=[1e9 + 0.1, 1e9]),
            batches({"closs": [math.inf], "late": [1e-300]}, first_step=2),
        ]
    )

    assert [float(row["closs"]) for row in rows[:1]] == [0.1 + 0.2]
    assert [row["closs"] for row in rows[1:]] == ["nan", "inf"]
    assert [row["late"] for row in rows] == ["", "", "1e-300"]
    assert float(rows[0]["time"]) == 1e9 + 0.1
    assert rows[2]["time"] == ""


def test_batches_go_before_epochs_unless_asked_for() -> None:
    records = [batches({"closs": [1.0]}), EpochRow(0.0, "val_ind", {"closs": 2.0})]

    assert [row["closs"] for row in table(records)] == ["1.0"]
    assert table(records, "epoch")[0]["split"] == "val_ind"


def test_a_meter_called_time_keeps_out_of_the_time_stamps_column() -> None:
    row = Interval(0, 1, 10, {"closs": 9.0}, {}, {"time": (2.9,), "closs": (8.0,)}, time=1.5e9)

    (found,) = table([row])

    assert found["time"] == "1500000000.0"
    assert found["metric_time"] == "2.9"
    assert found["closs"] == "9.0"


def test_events_can_be_exported() -> None:
    (row,) = table([Event("1", "note", 3, 0, 2.0, text='a "note", with commas')], "event")

    assert row["event"] == "note"
    assert row["text"] == 'a "note", with commas'


def test_no_name_and_no_text_is_a_formula_and_values_stay_exact() -> None:
    (row,) = table([batches({"=cmd|'/C calc'!A0": [-0.1], "@SUM(1)": [1e-300]})])
    (event,) = table([Event("1", "note", 3, 0, 2.0, text="+1\x1b[2J\nx")], "event")

    assert row["'=cmd|'/C calc'!A0"] == "-0.1"
    assert row["'@SUM(1)"] == "1e-300"
    assert event["text"] == "'+1·[2J x"


def test_rows_that_are_not_there_are_named() -> None:
    with pytest.raises(VlamonError, match="holds no batch rows; there is 1 epoch"):
        table([EpochRow(0.0, "train", {"closs": 2.0})], "batch")

"""W&B's local history: a LevelDB log of protobuf records, written here as W&B writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.vlamon.sources.formats.leveldb import BLOCK, field, log
from vlamon.records import BatchBlock, EpochRow
from vlamon.sources.formats import sniff
from vlamon.sources.formats.wandb import FORMAT


def history(row: Mapping[str, Any], nested: tuple[str, ...] = ()) -> bytes:
    items = b""
    for name, value in row.items():
        key = b"".join(field(2, part.encode()) for part in name.split("/")) if nested else b""
        items += field(1, (key or field(1, name.encode())) + field(16, json.dumps(value).encode()))
    return field(1, 7) + field(2, items)


def losses(records: list[Any]) -> dict[int, float]:
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    return {
        int(step): float(value)
        for block in blocks
        for step, value in zip(block.step, block.columns["train/loss"].values, strict=True)
    }


ROWS = [
    {"train/loss": 5 / (n + 1), "lr": 1e-4, "_step": 10 * n, "_timestamp": 1.7e9 + n, "_runtime": n}
    for n in range(900)
]


@pytest.mark.parametrize("size", [1, 1000, 40_000, 10_000_000])
def test_every_row_is_read_exactly_however_the_file_grows(size: int) -> None:
    run = field(17, b"x" * 50_000)  # the run's own record, longer than a block
    data = log(b":W&B", [run, *map(history, ROWS[: 40 if size == 1 else None])])
    parser = FORMAT.open("run-a.wandb")
    records = [r for at in range(0, len(data), size) for r in parser.feed(data[at : at + size])]
    wanted = ROWS[:40] if size == 1 else ROWS
    assert losses(records) == {row["_step"]: row["train/loss"] for row in wanted}
    assert parser.unknown.count == 0


def test_evaluations_and_nested_names_keep_their_step() -> None:
    row = {"train/global_step": 20, "train/loss": 1.5, "eval/loss": 2.5, "_step": 3}
    parser = FORMAT.open("run-a.wandb")
    records = parser.feed(log(b":W&B", [history(row, nested=("nested",))]))
    assert losses(records) == {20: 1.5}
    (evaluation,) = [record for record in records if isinstance(record, EpochRow)]
    assert (evaluation.split, evaluation.step, evaluation.metrics) == ("eval", 20, {"loss": 2.5})


def test_not_a_number_is_a_value_and_an_image_is_none() -> None:
    row = {"train/loss": float("nan"), "image": {"_type": "image-file"}, "note": "x", "_step": 1}
    (block,) = FORMAT.open("run-a.wandb").feed(log(b":W&B", [history(row)]))
    assert isinstance(block, BatchBlock)
    assert list(block.columns) == ["train/loss"]
    assert np.isnan(block.columns["train/loss"].values).all()


def test_reading_goes_on_behind_a_damaged_block() -> None:
    data = bytearray(log(b":W&B", list(map(history, ROWS))))
    data[BLOCK + 6] = 9
    parser = FORMAT.open("run-a.wandb")
    found = losses(parser.feed(bytes(data)))
    assert parser.unknown.count
    assert found[ROWS[-1]["_step"]] == ROWS[-1]["train/loss"]
    assert found.items() <= {row["_step"]: row["train/loss"] for row in ROWS}.items()


def test_the_file_is_known_by_its_first_bytes() -> None:
    assert sniff(log(b":W&B", [history(ROWS[0])]), "run-a.wandb") is FORMAT

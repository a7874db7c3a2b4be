"""SwanLab's local runs: scalars one by one, as protobuf messages or, in older files, as JSON."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tests.vlamon.sources.formats.leveldb import field, log
from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff
from vlamon.sources.formats.swanlab import FORMAT

SCALARS = [
    (name, 10 * n, value)
    for n in range(300)
    for name, value in (("train/loss", 5 / (n + 1)), ("lr", 1e-4), ("zero", 0.0))
]


def message(name: str, step: int, value: float) -> bytes:
    number = b"" if value == 0 else bytes([1 << 3 | 1]) + struct.pack("<d", value)
    counted = field(2, step) if step else b""
    return field(1, 7) + field(13, field(1, name.encode()) + counted + field(5, number))


def line(name: str, step: int, value: float) -> bytes:
    data = {"metric": {"index": 0, "data": value}, "key": name, "step": step, "epoch": 1}
    return json.dumps({"model_type": "Scalar", "data": data}).encode() + b"\n"


def values(records: list[Any], metric: str) -> dict[int, float]:
    return {
        int(step): float(value)
        for block in records
        if isinstance(block, BatchBlock)
        for step, value in zip(block.step, block.columns[metric].values, strict=True)
    }


@pytest.mark.parametrize("write", [message, line])
@pytest.mark.parametrize("size", [777, 10_000_000])
def test_the_scalars_of_a_step_are_one_row(write: Any, size: int) -> None:
    own = [write("__swanlab__.cpu.pct", 0, 50.0)]
    data = log(b":SWL", own + [write(*scalar) for scalar in SCALARS])
    assert sniff(data, "backup.swanlab") is FORMAT
    parser = FORMAT.open("backup.swanlab")
    records = [r for at in range(0, len(data), size) for r in parser.feed(data[at : at + size])]
    records += parser.finish()
    for metric in ("train/loss", "lr", "zero"):
        wanted = {step: value for name, step, value in SCALARS if name == metric}
        assert values(records, metric) == wanted
    assert {name for block in records for name in block.columns} == {"train/loss", "lr", "zero"}

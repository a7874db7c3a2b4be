"""pyarrow reads the Parquet that `vlamon export` writes."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.store.blocks import batches
from vlamon.cli import run
from vlamon.records import Event, Record
from vlamon.views import parquet as written

LOG = Path(__file__).parents[2] / "fixtures" / "logs" / "log_train.txt"


def read(records: list[Record], kind: str | None = None) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, the consumer")
    out = io.BytesIO()
    written.write_parquet(out, lambda: records, kind, "run.vlaj")
    return parquet.read_table(io.BytesIO(out.getvalue()))


def test_values_are_exact_and_missing_cells_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "GROUP", 2)
    table = read(
        [
            batches({"=closs": [0.1 + 0.2, math.nan, -math.inf]}, times=[1e9 + 0.1, 1e9, 1e9]),
            batches({"=closs": [1.0], "first": [1e-300]}, first_step=3),
        ]
    )
    rows = table.to_pydict()

    assert rows["=closs"][0] == 0.1 + 0.2
    assert math.isnan(rows["=closs"][1])
    assert rows["=closs"][2:] == [-math.inf, 1.0]
    assert rows["first"] == [None, None, None, 1e-300]
    assert rows["step"] == [0, 1, 2, 3]
    assert rows["time"][3] is None
    assert [str(table.schema.field(n).type) for n in ("step", "time")] == ["int64", "double"]


def test_events_are_texts() -> None:
    rows = read([Event("1", "note", 3, 0, 2.0, text="=1\x1b")], "event").to_pydict()

    assert (rows["event"], rows["text"], rows["step"]) == (["note"], ["=1\x1b"], [3])


def test_the_command_writes_it_by_the_name(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, the consumer")
    out = tmp_path / "x.parquet"

    assert run(["export", str(LOG), "-o", str(out)]) == 0
    assert 95.19 in parquet.read_table(out)["closs"].to_pylist()


def test_without_pyarrow_the_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert run(["export", str(LOG), "-o", str(tmp_path / "x.parquet")]) == 2
    assert "pip install 'vlamon[parquet]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

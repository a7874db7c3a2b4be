"""`metrics.csv` with bad rows, headers that come again, and files that are no CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vlamon.sources.formats.reading import parsed, rows, rows_of
from vlamon.sources import SourceError
from vlamon.sources.formats import SURE, sniff
from vlamon.sources.formats.lightning import recognises
from vlamon.sources.read_all import drained

HEADER = "epoch,step,train_loss,val_loss\n"
LOGS = Path(__file__).parents[3] / "fixtures" / "logs"


def test_a_row_that_lacks_a_cell_is_unknown_and_the_others_are_read() -> None:
    text = HEADER + "0,0,1.5,\n0,1,1.4\n0,2,1.3,\n"
    found = sniff(text.encode(), "metrics.csv")
    assert found is not None
    assert found.name == "lightning"
    parser, records = parsed("lightning", text)
    assert [step for step, _ in rows_of(records)] == [0, 2]
    assert parser.unknown.samples == [(3, "0,1,1.4")]


def test_a_header_that_comes_again_names_the_rows_below_it() -> None:
    text = "epoch,step,train_loss\n0,1,2.0\n" + HEADER + "0,2,1.0,1.1\n"
    found = sniff(text.encode(), "metrics.csv")
    assert found is not None
    assert found.name == "lightning"
    expected = [(1, {"train_loss": 2.0}), (2, {"train_loss": 1.0, "val_loss": 1.1})]
    assert rows("lightning", text) == expected


def test_a_table_of_other_things_is_none_of_lightnings() -> None:
    assert recognises(b"epoch,step,name\n" + b"some, prose, here\n" * 3 + b"1,2,3\n", "x") == 0
    assert recognises(b"take one step, then the other\n", "x") == 0


def test_a_header_alone_waits_for_its_rows() -> None:
    assert 0 < recognises(HEADER.encode(), "x") < SURE


@pytest.mark.parametrize(
    "text",
    ["hello world\nnothing here\n", "hello, world\n", (LOGS / "log_train.txt").read_text()],
    ids=["words", "one line", "objects"],
)
def test_a_file_that_is_no_csv_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    log = tmp_path / "words.txt"
    log.write_text(text)
    with pytest.raises(SourceError, match=r"words.txt:1: no line is in the format lightning"):
        drained(str(log), "lightning")


def test_a_cell_beyond_reason_is_unknown() -> None:
    parser, records = parsed("lightning", HEADER + '0,0,"' + "x" * 200_000 + '",\n0,1,1.4,\n')
    assert [step for step, _ in rows_of(records)] == [1]
    assert parser.unknown.count == 1

"""`metrics.csv` with bad rows, headers that come again, and files that are no CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vlamon.sources.formats.reading import parsed, rows, rows_of
from vlamon.records import BatchBlock
from vlamon.sources import SourceError
from vlamon.sources.formats import SURE, sniff
from vlamon.sources.formats.csv_table import recognises
from vlamon.sources.read_all import read_log

HEADER = "epoch,step,train_loss,val_loss\n"
LOGS = Path(__file__).parents[3] / "fixtures" / "logs"


def test_a_row_that_lacks_a_cell_is_unknown_and_the_others_are_read() -> None:
    text = HEADER + "0,0,1.5,\n0,1,1.4\n0,2,1.3,\n"
    found = sniff(text.encode(), "metrics.csv")
    assert found is not None
    assert found.name == "csv"
    parser, records = parsed("csv", text)
    assert [step for step, _ in rows_of(records)] == [0, 2]
    assert parser.unknown.samples == [(3, "0,1,1.4")]


def test_a_header_that_comes_again_names_the_rows_below_it() -> None:
    text = "epoch,step,train_loss\n0,1,2.0\n" + HEADER + "0,2,1.0,1.1\n"
    found = sniff(text.encode(), "metrics.csv")
    assert found is not None
    assert found.name == "csv"
    expected = [(1, {"train_loss": 2.0}), (2, {"train_loss": 1.0, "val_loss": 1.1})]
    assert rows("csv", text) == expected


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
    with pytest.raises(SourceError, match=r"words.txt:1: no line is in the format csv"):
        read_log(str(log), "csv")


def test_a_cell_beyond_reason_is_unknown() -> None:
    parser, records = parsed("csv", HEADER + '0,0,"' + "x" * 200_000 + '",\n0,1,1.4,\n')
    assert [step for step, _ in rows_of(records)] == [1]
    assert parser.unknown.count == 1


SB3 = """\
rollout/ep_rew_mean,time/iterations,time/total_timesteps,train/loss,eval/mean_reward
-1183.5,1,2048,,
-1286.5,2,4096,549.5,
,,10000,385.25,-900.5
-1000.5,3,6144,499.25,
"""


def blocks(text: str) -> list[BatchBlock]:
    return [record for record in parsed("csv", text)[1] if isinstance(record, BatchBlock)]


def test_stable_baselines_counts_environment_steps() -> None:
    found = sniff(SB3.encode(), "progress.csv")
    assert found is not None
    assert found.name == "csv"
    assert [(step, row.get("train/loss")) for step, row in rows("csv", SB3)][:3] == [
        *((2048, None), (4096, 549.5), (10000, 385.25)),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_with_or_without_a_count_makes_a_table(delimiter: str) -> None:
    for text in (HEADER + "0,10,1.5,\n0,20,1.25,\n", "loss,acc,val_loss\n1.5,0.5,2.5\n"):
        table = text.replace(",", delimiter)
        found = sniff(table.encode())
        assert found is not None
        assert found.name == "csv"
        losses = [row.get("train_loss", row.get("loss")) for _, row in rows("csv", table)]
        assert losses == ([1.5, 1.25] if "step" in text else [1.5])


def test_rows_of_epochs_say_that_they_are_means() -> None:
    results = "  epoch,  train/box_loss,  val/box_loss\n  1,  2.5,  1.5\n  2,  2.25,  1.25\n"
    (block,) = blocks(results)
    assert (block.averaged, block.epoch.tolist()) == (True, [1, 2])
    history = ",loss,val_loss\n0,2.5,1.5\n1,2.25,1.25\n"
    (block,) = blocks(history)
    assert (block.averaged, block.epoch.tolist()) == (True, [0, 1])
    (block,) = blocks(HEADER + "0,10,1.5,\n")
    assert not block.averaged


def test_a_cell_that_may_be_two_numbers_is_left_out() -> None:
    text = 'step;loss;acc\n10;0,5;0.25\n20;"1,234";0.5\n'
    assert rows("csv", text) == [(10, {"acc": 0.25}), (20, {"acc": 0.5})]


def test_the_spread_in_an_export_is_no_metric() -> None:
    text = '"Step","run - loss","run - loss__MIN","run - loss__MAX"\n"10","0.5","0.5","0.5"\n'
    assert rows("csv", text) == [(10, {"run - loss": 0.5})]

"""A step or an epoch that cannot be one makes its line unknown, whatever the format."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.vlamon.sources.formats.reading import rows
from vlamon.records import BatchBlock, EpochBlock, EpochRow, IntervalBlock, Record
from vlamon.sources import SourceError
from vlamon.sources.alerts import JudgedLog
from vlamon.sources.formats import format_named, sniff
from vlamon.sources.logfile import LogFile
from vlamon.sources.read_all import read_log
from vlamon.store import RunStore

LINES = {
    "json-lines": '{"step": COUNT, "loss": 0.5}',
    "json-lines epoch": '{"step": 3, "epoch": COUNT, "loss": 0.5}',
    "prismatic": '{"VLA Train/Loss": 1.2, "VLA Train/Step": COUNT}',
    "prismatic epoch": '{"VLA Train/Loss": 1.2, "VLA Train/Step": 3, "VLA Train/Epoch": COUNT}',
    "deit": '{"train_loss": 6.9, "test_loss": 6.5, "n_parameters": 5, "epoch": COUNT}',
    "reference-epoch": '{"train_closs": 8.5, "train_loss_ct": 0.1, "epoch": COUNT}',
    "hf-trainer": "{'loss': 0.5, 'epoch': 0.5, 'step': COUNT}",
    "hf-trainer epoch": "{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': COUNT}",
    "hf-trainer bar": "\r  3%|3   | COUNT/300 [00:05<02:30,  1.9it/s]\r{'loss': 0.5, 'epoch': 0.1}",
    "hf-trainer-state": '{"log_history": [{"epoch": 0.1, "loss": 1.2, "step": COUNT}]}',
    "hf-trainer-state total": '{"log_history": [{"loss": 1, "step": 1}], "max_steps": COUNT}',
    "lerobot": "INFO step:COUNT smpl:2K ep:4 epch:0.32 loss:1.234",
    "lerobot rounded": "INFO step:COUNTQ smpl:2K ep:4 epch:0.32 loss:1.234",
    "openpi": "Step COUNT: grad_norm=0.5, loss=0.1",
    "csv": "epoch,step,train_loss\n0,COUNT,0.5\n",
    "csv epoch": "epoch,step,train_loss\nCOUNT,3,0.5\n",
    "nanogpt": "iter COUNT: loss 3.21, time 45.1ms, mfu 30%",
    "nanogpt evaluation": "step COUNT: train loss 3.21, val loss 3.3",
    "key-values": "step=COUNT loss=0.5",
    "key-values epoch": "epoch=COUNT loss=0.5",
    "reference-output": "Epoch: [0]  [COUNT/1312]  lr: 0.1  closs: 3.1 (3.2)",
    "reference-output epoch": "Epoch: [COUNT]  [10/1312]  lr: 0.1  closs: 3.1 (3.2)",
    "reference-output total": "Epoch: [0]  [10/COUNT]  lr: 0.1  closs: 3.1 (3.2)",
    "reference-output rank": "[rankCOUNT: x] Epoch: [0]  [10/12]  lr: 0.1  closs: 3.1 (3.2)",
}
ABSURD = ("99999999999999999999", "12345678901234567890", "1" * 400, "7" * 5000)
ROWS = (BatchBlock, EpochBlock, EpochRow, IntervalBlock)


def read(which: str, count: str) -> tuple[int, list[Record]]:
    """Unknown lines, and the rows among the records."""
    text = (LINES[which].replace("COUNT", count) + "\n").encode()
    sniff(text, "x")
    parser = format_named(which.split()[0]).open("x")
    records = parser.feed(text) + parser.finish()
    return parser.unknown.count, [record for record in records if isinstance(record, ROWS)]


@pytest.mark.parametrize("which", LINES)
def test_a_sound_count_is_read(which: str) -> None:
    unknown, records = read(which, "0" if which.endswith(("rank", "rounded")) else "12")
    assert (unknown, len(records) > 0) == (0, True)


@pytest.mark.parametrize("count", ABSURD, ids=len)
@pytest.mark.parametrize("which", [w for w in LINES if not w.endswith(("bar", "state total"))])
def test_an_absurd_count_makes_its_line_unknown(which: str, count: str) -> None:
    unknown, records = read(which, count)
    assert (unknown, records) == (1, [])


@pytest.mark.parametrize("count", ["1e30", "Infinity", "-Infinity", "NaN", "-1"])
@pytest.mark.parametrize("which", ["json-lines", "prismatic", "json-lines epoch", "deit"])
def test_what_is_no_count_makes_its_line_unknown(which: str, count: str) -> None:
    assert read(which, count) == (1, [])


@pytest.mark.parametrize("count", ["1e30", "inf", "nan", "-3"])
@pytest.mark.parametrize("which", ["csv", "csv epoch"])
def test_a_cell_that_is_no_count_makes_its_row_unknown(which: str, count: str) -> None:
    assert read(which, count) == (1, [])


def test_a_bar_that_is_no_count_tells_no_step() -> None:
    unknown, (block,) = read("hf-trainer bar", ABSURD[0])
    assert isinstance(block, BatchBlock)
    assert (unknown, block.step.tolist()) == (0, [0])


literals = st.one_of(
    st.integers().map(str),
    st.integers(10**15, 10**60).map(str),
    st.floats().map(str),
    st.floats().map(lambda value: f"{value:e}"),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "true", "null", '"12"', "[]", "1e999", "-0"]),
)


@pytest.mark.parametrize("which", LINES)
@settings(max_examples=50, deadline=None)
@given(count=literals)
@example(count="7" * 5000)
def test_no_number_in_a_counts_place_breaks_a_parser(which: str, count: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for record in read(which, count)[1]:
            if isinstance(record, BatchBlock | IntervalBlock) and record.step is not None:
                assert (record.step >= 0).all()


@pytest.mark.parametrize("which", LINES)
@pytest.mark.parametrize("count", [*ABSURD, "9007199254740991", "2147483647", "999999999"], ids=len)
def test_a_log_with_a_huge_count_is_tailed_to_its_end(
    which: str, count: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text(LINES[which].replace("COUNT", count) + "\n" * 2)
    store, source = RunStore(), JudgedLog(LogFile(str(log), follow=False))
    with warnings.catch_warnings(), contextlib.suppress(SourceError):
        warnings.simplefilter("error")
        while not source.finished:
            for record in source.read(0.1):
                store.apply(record)
    assert source.finished


def test_the_rows_around_an_absurd_step_stay() -> None:
    text = "".join(f'{{"step": {n}, "loss": 1}}\n' for n in (1, 10**30, 3))
    assert [step for step, _ in rows("json-lines", text)] == [1, 3]


def test_lerobot_keeps_its_rhythm_across_an_absurd_step() -> None:
    line = "step:{} smpl:2K ep:4 epch:0.32 loss:1.234\n"
    text = "".join(line.format(n) for n in ("600", "800", "9999999Q", "oops", "1K", "1K"))
    assert [step for step, _ in rows("lerobot", text)] == [600, 800, 1000, 1200]


@pytest.mark.parametrize(
    "deep",
    [lambda n: "[" * n + "]" * n, lambda n: '{"epoch":' * n + "1" + "}" * n],
    ids=["list", "object"],
)
@pytest.mark.parametrize("which", ["json-lines", "reference-epoch", "deit", "prismatic"])
def test_a_line_nested_beyond_reason_is_unknown(
    which: str, deep: Callable[[int], str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    good = LINES[which].replace("COUNT", "1")
    log.write_text(f"{deep(3000)}\n{good}\n")
    read = read_log(str(log))
    assert read.format == which
    assert read.unknown.count == 1

"""A name of its own on each line is damage: the reference's logs keep a bounded number of names."""

from __future__ import annotations

from vlamon.records import EpochBlock, IntervalBlock
from vlamon.sources.formats import format_named
from vlamon.sources.formats.rows import MOST_NAMES

LINES = MOST_NAMES + 200


def test_the_meters_of_an_output_log_are_bounded() -> None:
    line = "Epoch: [0]  [%d/99999]  lr: 0.000005  closs: 13.1817 (13.1817)  n%d: 1.0000 (1.0000)\n"
    data = "".join(line % (n, n) for n in range(LINES)).encode()
    parser = format_named("reference-output").open("output.log")
    blocks = [r for r in parser.feed(data) if isinstance(r, IntervalBlock)]
    assert sum(block.rows for block in blocks) == LINES
    assert len({name for block in blocks for name in block.printed}) <= 2 * MOST_NAMES


def test_the_metrics_of_epoch_lines_are_bounded() -> None:
    line = '{"epoch": %d, "train_closs": 1.0, "train_n%d": 1.0}\n'
    data = "".join(line % (n, n) for n in range(LINES)).encode()
    parser = format_named("reference-epoch").open("log_train.txt")
    blocks = [r for r in parser.feed(data) if isinstance(r, EpochBlock)]
    assert sum(block.rows for block in blocks) == LINES
    assert len({name for block in blocks for name in block.columns}) == MOST_NAMES

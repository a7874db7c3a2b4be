"""log_train.txt: lines in any order of keys, of any size, become epoch blocks."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.records import EpochBlock, EpochRow
from vlamon.sources.formats import sniff
from vlamon.sources.formats.reference_epoch import FORMAT, EpochLineParser, validation_split
from vlamon.store.lines import epoch_rows

NAMES = st.sampled_from(["train_closs", "train_loss_ct", "train_z_loss", "val_closs", "train_lr"])
ROWS = st.lists(st.dictionaries(NAMES, st.floats(), min_size=1), min_size=1, max_size=30)


def parsed(data: bytes, path: str = "log_train.txt") -> list[EpochRow]:
    records = EpochLineParser(path).feed(data)
    assert all(isinstance(record, EpochBlock) for record in records)
    return [row for block in records if isinstance(block, EpochBlock) for row in epoch_rows(block)]


@settings(max_examples=150, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_value_arrives_exactly_under_its_name(
    rows: list[dict[str, float]], shuffle: object
) -> None:
    lines = []
    for epoch, row in enumerate(rows):
        items = [*row.items(), ("epoch", epoch)]
        shuffle.shuffle(items)  # type: ignore[attr-defined]
        lines.append(json.dumps(dict(items)))

    found: dict[tuple[float, str, str], float] = {}
    for one in parsed(("\n".join(lines) + "\n").encode()):
        for name, value in one.metrics.items():
            found[one.epoch, one.split, name] = value

    wanted = {
        (float(epoch), *key.split("_", 1)): value
        for epoch, row in enumerate(rows)
        for key, value in row.items()
    }
    np.testing.assert_equal(found, wanted)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_raise(data: bytes, cut: int) -> None:
    parser = EpochLineParser("log_train.txt")
    for part in (data[:cut] + b"\n", data[cut:] + b"\n"):
        parser.feed(part)
    parser.finish()
    sniff(data, "log_train.txt")


def test_lines_that_join_into_other_json_are_looked_at_one_by_one() -> None:
    data = b'{"train_closs": 1.0, "epoch": 0},{"train_closs": 2.0, "epoch": 1}\n'
    parser = EpochLineParser("log_train.txt")

    assert parser.feed(data) == []
    assert parser.unknown.count == 1


def test_an_epoch_that_comes_again_is_another_attempt() -> None:
    lines = [{"train_closs": 8.0 - i, "epoch": epoch} for i, epoch in enumerate([0, 1, 2, 1, 2])]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()

    assert [row.attempt for row in parsed(data)] == [0, 0, 0, 1, 1]

    parser = EpochLineParser("log_train.txt")
    attempts = []
    for line in data.splitlines(keepends=True):
        attempts += [block.attempt for block in parser.feed(line) if isinstance(block, EpochBlock)]
    assert attempts == [0, 0, 0, 1, 1]


def test_a_metric_that_starts_later_is_absent_before() -> None:
    rows = parsed(
        b'{"train_closs": 8.0, "epoch": 0}\n{"train_closs": 7.0, "train_new": 1, "epoch": 1}\n'
    )

    assert [row.metrics for row in rows] == [{"closs": 8.0}, {"closs": 7.0, "new": 1.0}]


def test_text_and_null_in_a_line_are_no_values() -> None:
    (row,) = parsed(b'{"train_closs": null, "train_note": "x", "train_lr": 1e-5, "epoch": 3}\n')

    assert row == EpochRow(3.0, "train", {"lr": 1e-5})


def test_the_split_of_an_evaluation_is_in_the_files_name() -> None:
    assert validation_split("runs/a/log_eval_ind.txt") == "val_ind"
    assert validation_split("log_eval_ood.txt.gz") == "val_ood"
    assert validation_split("log_train.txt") == "val"
    (row,) = parsed(b'{"val_closs": 5.0, "epoch": 0}\n', "log_eval_ood.txt")
    assert row.split == "val_ood"


def test_the_format_is_found_behind_a_torn_or_strange_line() -> None:
    head = b'{"train_clo\nwarning: something\n{"train_closs": NaN, "epoch": 0}\n'

    found = sniff(head, "anything")

    assert found is FORMAT
    assert math.isnan(parsed(head)[0].metrics["closs"])

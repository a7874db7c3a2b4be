"""Several files of one run: rows that two of them have count once, attempts are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlamon.records import BatchBlock, Column, EpochRow, Record
from vlamon.sources.one_run import OneRun


def batches(
    steps: Sequence[int], losses: Sequence[float], attempt: int = 0, **more: Sequence[float]
) -> BatchBlock:
    columns = {"loss": losses, **more}
    return BatchBlock(
        seq=0,
        attempt=attempt,
        step=np.array(steps),
        epoch=np.full(len(steps), np.nan),
        time=np.full(len(steps), np.nan),
        columns={name: Column(np.array(values, float)) for name, values in columns.items()},
    )


def rows(records: Sequence[Record]) -> list[Any]:
    return [
        (int(step), block.attempt)
        for block in records
        if isinstance(block, BatchBlock) and "loss" in block.columns
        for step in block.step
    ]


def test_a_row_that_stdout_and_stderr_both_have_counts_once() -> None:
    run = OneRun()
    assert rows(run.take(0, [batches([10, 20, 30], [3.0, 2.0, 1.0])])) == [
        (10, 0),
        (20, 0),
        (30, 0),
    ]
    assert rows(run.take(1, [batches([10, 20, 30, 40], [3.0, 2.0001, 1.0, 0.5])])) == [(40, 0)]


def test_what_only_the_second_file_has_of_a_repeated_row_is_kept() -> None:
    run = OneRun()
    run.take(0, [batches([10, 20], [3.0, 2.0])])
    (extra,) = run.take(1, [batches([10, 20], [3.0, 2.0], lr=[0.1, 0.2])])
    assert isinstance(extra, BatchBlock)
    assert list(extra.columns) == ["lr"]
    assert extra.attempt == 0


def test_repeats_are_seen_in_whichever_file_they_come_first() -> None:
    run = OneRun()
    first = run.take(0, [batches([10], [3.0])])
    ahead = run.take(1, [batches([10, 20], [3.0, 2.0])])
    behind = run.take(0, [batches([20, 30], [2.0, 1.0])])
    assert rows([*first, *ahead, *behind]) == [(10, 0), (20, 0), (30, 0)]


def test_a_requeued_job_goes_on_or_begins_another_attempt() -> None:
    run = OneRun()
    run.take(0, [batches([10, 20], [3.0, 2.0])])
    assert rows(run.take(1, [batches([30, 40], [1.9, 1.8])])) == [(30, 0), (40, 0)]
    assert rows(run.take(2, [batches([35, 45], [1.7, 1.6])])) == [(35, 1), (45, 1)]


def test_the_attempts_of_a_file_count_on_from_those_before() -> None:
    run = OneRun()
    run.take(0, [batches([10, 20], [3.0, 2.0]), batches([15, 25], [2.5, 1.5], 1)])
    later = [batches([20, 30], [9.0, 1.0]), batches([22, 32], [8.0, 0.9], 1)]
    assert rows(run.take(1, later)) == [(20, 2), (30, 2), (22, 3), (32, 3)]


def test_files_with_other_metrics_stand_beside_each_other() -> None:
    run = OneRun()
    run.take(0, [batches([10, 20], [3.0, 2.0])])
    speed = BatchBlock(
        seq=0,
        attempt=0,
        step=np.array([10, 20]),
        epoch=np.full(2, np.nan),
        time=np.full(2, np.nan),
        columns={"tokens_per_second": Column(np.array([100.0, 101.0]))},
    )
    assert run.take(1, [speed]) == [speed]


def test_an_epoch_that_begins_again_in_another_file_is_an_attempt() -> None:
    run = OneRun()
    run.take(0, [EpochRow(epoch, "train", {"loss": 9.0 - epoch}) for epoch in range(3)])
    again = run.take(1, [EpochRow(1, "train", {"loss": 5.5}), EpochRow(2, "train", {"loss": 5.0})])
    assert [record.attempt for record in again if isinstance(record, EpochRow)] == [1, 1]

"""Interval means recovered from running averages lie within their stated bound of the truth."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.records import IntervalBlock
from vlamon.sources.formats.reference_output import OutputLogParser

SAMPLES = Path(__file__).parents[2] / "fixtures" / "metriclogger"
METERS = ("closs", "loss_ct", "z_loss", "grad_norm")


def blocks_of(data: bytes, pieces: int = 1, *, middle: bool = False) -> list[IntervalBlock]:
    parser = OutputLogParser("output.log", middle=middle)
    lines = data.splitlines(keepends=True)
    size = -(-len(lines) // pieces)
    records = []
    for at in range(0, len(lines), size):
        records += parser.feed(b"".join(lines[at : at + size]))
    return [record for record in records if isinstance(record, IntervalBlock)]


class Run:
    """A MetricLogger in a few lines: prints what the real one prints."""

    def __init__(self, values: np.ndarray, epoch: int = 0, total: int = 5000) -> None:
        self.values, self.epoch, self.total = values, epoch, total

    def lines(self, start: int = 0, stop: int | None = None, every: int = 10) -> bytes:
        out = []
        seen: list[float] = []
        for iteration in range(start, len(self.values) if stop is None else stop):
            seen.append(float(self.values[iteration]))
            if iteration % every == 0:
                window = np.float32(np.mean(np.array(seen[-1000:], np.float32)))
                average = sum(seen) / len(seen)
                out.append(
                    f"Epoch: [{self.epoch}]  [{iteration}/{self.total}]  lr: 0.000005  "
                    f"closs: {window:.4f} ({average:.4f})  time: 0.5000  data: 0.0100\n"
                )
        return "".join(out).encode()

    def mean(self, first: int, last: int) -> float:
        return float(np.mean(self.values[first : last + 1]))


def check(blocks: list[IntervalBlock], run: Run) -> int:
    checked = 0
    for block in blocks:
        if "closs" not in block.metrics:
            # Not a line of it can be undone, as where the count of its process is in doubt.
            continue
        column, bound = block.metrics["closs"], block.bound["closs"]
        for row in range(block.rows):
            if column.present is not None and not column.present[row]:
                continue
            if block.first[row] < 0:
                continue
            truth = run.mean(int(block.first[row]), int(block.last[row]))
            assert abs(column.values[row] - truth) <= bound.values[row] * (1 + 1e-9)
            checked += 1
    return checked


@pytest.mark.parametrize("sample", ["sample", "sample_ragged_ranks"])
@pytest.mark.parametrize("pieces", [1, 13])
def test_recovered_means_of_real_logs_lie_within_their_bound(sample: str, pieces: int) -> None:
    truth: dict[tuple[int, int], dict[str, str]] = {}
    with (SAMPLES / sample / "truth.csv").open() as rows:
        for line in csv.DictReader(rows):
            truth[int(line["epoch"]), int(line["iter"])] = line
    checked = 0
    for block in blocks_of((SAMPLES / sample / "output.log").read_bytes(), pieces):
        for row in range(block.rows):
            span = range(int(block.first[row]), int(block.last[row]) + 1)
            for name in METERS:
                real = np.mean([float(truth[int(block.epoch[row]), k][name]) for k in span])
                off = abs(block.metrics[name].values[row] - real)
                assert off <= block.bound[name].values[row]
                checked += 1
    assert checked == len(truth) // 10 * len(METERS)


def test_the_spike_that_the_printed_mean_hides_is_at_its_right_place() -> None:
    blocks = blocks_of((SAMPLES / "sample" / "output.log").read_bytes())
    values = np.concatenate([block.metrics["closs"].values for block in blocks])
    printed = np.concatenate([block.printed["closs"][1].values for block in blocks])
    last = np.concatenate([block.epoch * 260 + block.last for block in blocks])
    peak = int(np.argmax(values))
    with (SAMPLES / "sample" / "truth.csv").open() as rows:
        truth = [float(line["closs"]) for line in csv.DictReader(rows)]
    assert last[peak] == 710
    assert values[peak] == pytest.approx(np.mean(truth[701:711]), abs=0.01)
    assert values[peak - 1] == pytest.approx(np.mean(truth[691:701]), abs=0.01)
    assert values[peak] > 30
    assert printed.max() < 15


def test_the_bound_is_the_rounding_of_both_averages() -> None:
    (block,) = blocks_of(Run(np.full(300, 8.5)).lines())
    after = block.last.astype(float) + 1
    before = after - 10
    expected = 5e-5 * (before + after) / 10
    assert np.allclose(block.bound["closs"].values[1:], expected[1:])


def test_meters_updated_on_some_batches_are_named_and_not_guessed() -> None:
    (block, *_) = blocks_of((SAMPLES / "sample" / "output.log").read_bytes())
    assert "acc_action_5" in block.not_inverted
    assert "acc_action_5" not in block.metrics
    assert [column.values[0] for column in block.printed["acc_action_5"]] == [0.0208, 0.0208]


def test_a_resume_leaves_the_first_iteration_unknown_and_the_bound_says_so() -> None:
    rng = np.random.default_rng(4)
    run = Run(8.5 + rng.normal(0, 0.3, 2000))
    for start in (501, 505, 510):
        blocks = blocks_of(run.lines(start, 1200))
        assert int(blocks[0].first[0]) == -1
        assert check(blocks, run) > 50
        blocks = blocks_of(run.lines(0, 511) + run.lines(start, 1200))
        assert [block.attempt for block in blocks] == [0, 1]
        assert int(blocks[1].first[0]) == -1
        assert check(blocks, run) == 52 + 68
        # Further on the doubt of up to nine batches fades.
        assert blocks[-1].bound["closs"].values[1] > blocks[-1].bound["closs"].values[-1] / 10


def test_past_the_window_both_printed_numbers_bound_the_mean() -> None:
    rng = np.random.default_rng(5)
    values = 8.5 + rng.normal(0, 0.3, 4000)
    values[2005:2015] += 60
    run = Run(values)
    blocks = blocks_of(run.lines(), pieces=3)
    assert check(blocks, run) == 400
    bounds = np.concatenate([block.bound["closs"].values for block in blocks])
    alone = 5e-5 * (2 * np.concatenate([block.last for block in blocks]) + 2 - 10) / 10
    assert np.all(bounds[1:] <= alone[1:] * (1 + 1e-9))
    assert np.mean(bounds[110:] < 0.95 * alone[110:]) > 0.3


def test_an_average_that_turned_nan_says_so_once_and_nothing_after() -> None:
    values = np.full(100, 8.5)
    values[42] = np.nan
    (block,) = blocks_of(Run(values).lines())
    column = block.metrics["closs"]
    assert column.present is not None
    assert np.isnan(column.values[5])
    assert column.present.tolist() == [True] * 6 + [False] * 4


def test_a_missing_line_makes_a_longer_interval() -> None:
    run = Run(np.linspace(9, 8, 200))
    lines = run.lines().splitlines(keepends=True)
    del lines[7]
    (block,) = blocks_of(b"".join(lines))
    assert (int(block.first[7]), int(block.last[7])) == (61, 80)
    assert check([block], run) == 19


def test_a_new_process_in_the_same_epoch_is_seen_by_its_clock() -> None:
    run = Run(np.linspace(9, 8, 1000))

    def stamped(lines: bytes, base: float) -> bytes:
        out = []
        for index, line in enumerate(lines.splitlines(keepends=True)):
            at = base + 5.0 * index
            clock = f"{int(at // 3600):02d}:{int(at // 60 % 60):02d}:{at % 60:06.3f}"
            out.append(
                f"[rank0:INFO|misc.py:146] 2025-11-24 {clock.replace('.', ',')} >> ".encode()
            )
            out.append(line)
        return b"".join(out)

    log = stamped(run.lines(0, 401), 3600) + stamped(run.lines(410, 800), 4200)
    blocks = blocks_of(log)
    assert [block.attempt for block in blocks] == [0, 1]
    assert int(blocks[1].first[0]) == -1
    assert check(blocks, run) == 41 + 38


def test_a_resume_without_a_sign_is_seen_where_the_two_averages_part() -> None:
    rng = np.random.default_rng(6)
    run = Run(8.5 + rng.normal(0, 0.3, 2500))
    for start in (1403, 1410):
        blocks = blocks_of(run.lines(0, 1401) + run.lines(start), pieces=3)
        assert [block.attempt for block in blocks][-1] == 1
        (begins,) = [block.first[0] for block in blocks if block.attempt == 1][:1]
        assert begins == -1
        assert check(blocks, run) == 141 + 108


def test_a_spike_of_a_resumed_epoch_is_found_though_the_log_begins_there() -> None:
    rng = np.random.default_rng(7)
    run = Run(8.5 + rng.normal(0, 0.3, 1312))
    run.values[901:911] = 95
    (block,) = blocks_of(run.lines(640))
    assert int(block.first[0]) == -1
    assert check([block], run) > 60
    spike = int(np.flatnonzero(block.last == 910)[0])
    column, bound = block.metrics["closs"], block.bound["closs"]
    assert abs(column.values[spike] - 95) <= bound.values[spike] < 5


def test_a_first_number_that_never_leaves_the_average_is_no_window_and_no_resume() -> None:
    rng = np.random.default_rng(3)
    run = Run(8.5 + rng.normal(0, 0.3, 3000))
    once = re.sub(rb"closs: \S+ \((\S+)\)", rb"closs: \1 (\1)", run.lines())
    blocks = blocks_of(once, pieces=4)
    assert {block.attempt for block in blocks} == {0}
    assert check(blocks, run) == 300


def test_a_log_that_turns_out_to_lack_its_head_is_no_longer_taken_for_a_resume() -> None:
    rng = np.random.default_rng(9)
    run = Run(8.5 + rng.normal(0, 0.3, 2500))
    blocks = blocks_of(b"".join(run.lines().splitlines(keepends=True)[80:]), pieces=5)
    assert {block.attempt for block in blocks} == {0}
    last = np.concatenate([block.last for block in blocks])
    bound = np.concatenate([block.bound["closs"].values for block in blocks])
    # The window moves from iteration 1000 on, which a process resumed at 800 could not show yet.
    late = [block for block in blocks if block.last[0] > 1100]
    assert check(late, run) > 100
    assert bound[last == 1300] < 0.03


def test_a_file_that_lost_its_head_claims_nothing_that_a_resume_would_refute() -> None:
    rng = np.random.default_rng(7)
    values = 8.5 + rng.normal(0, 0.3, 2500)
    values[903:913] += 60
    run = Run(values)
    cut = b"".join(run.lines().splitlines(keepends=True)[80:])
    blocks = blocks_of(cut, pieces=3, middle=True)
    assert int(blocks[0].first[0]) == -1
    assert check(blocks, run) > 150
    bound = np.concatenate([block.bound["closs"].values for block in blocks])
    last = np.concatenate([block.last for block in blocks])
    # How much of the spike is real hangs on the count: it is not said.
    assert np.isnan(bound[last == 910])
    # From here on the window has moved, so it is known that the count began with the epoch.
    assert bound[last == 1100] < 0.03


def test_a_file_that_a_resumed_process_began_is_undone_once_that_is_sure() -> None:
    rng = np.random.default_rng(8)
    run = Run(8.5 + rng.normal(0, 0.3, 2900))
    for start in (501, 1495):
        blocks = blocks_of(run.lines(start), pieces=4, middle=True)
        assert int(blocks[0].first[0]) == -1
        assert check(blocks, run) > 100
        # Nothing is said of the first lines: their doubt is larger than what they could say.
        assert np.isnan(blocks[0].bound["closs"].values[1:10]).any()
        assert blocks[-1].bound["closs"].values[-1] < 0.1


def test_a_count_that_the_numbers_refute_is_dropped_though_a_meter_stays_plausible() -> None:
    # Inside the window the two averages are the same whoever counts; a loss below zero is not.
    run = Run(np.r_[np.full(605, 8.5), np.full(395, 8.2)])
    blocks = blocks_of(run.lines(0, 601) + run.lines(607))
    assert [block.attempt for block in blocks] == [0, 1]
    assert check(blocks, run) >= 61
    assert np.nanmin(blocks[1].metrics["closs"].values) > 8


@pytest.mark.parametrize("pieces", [1, 40])
def test_a_line_that_only_repeats_the_one_before_is_ignored(pieces: int) -> None:
    run = Run(np.linspace(9, 8, 200))
    doubled = b"".join(line * 2 for line in run.lines().splitlines(keepends=True))
    blocks = blocks_of(doubled, pieces)
    assert {block.attempt for block in blocks} == {0}
    assert np.concatenate([block.last for block in blocks]).tolist() == list(range(0, 200, 10))
    assert check(blocks, run) == 20


def test_a_run_that_begins_again_with_other_numbers_is_no_repetition() -> None:
    first, second = Run(np.linspace(9, 8, 15)), Run(np.linspace(7, 6, 15))
    blocks = blocks_of(first.lines(0, 1) + second.lines())
    assert [block.attempt for block in blocks] == [0, 1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    start=st.integers(0, 40),
    length=st.integers(2, 1500),
    scale=st.floats(0.01, 500),
    pieces=st.integers(1, 7),
)
def test_any_run_is_recovered_within_its_bound(
    seed: int, start: int, length: int, scale: float, pieces: int
) -> None:
    rng = np.random.default_rng(seed)
    run = Run(scale * rng.lognormal(0, 0.7, start + length))
    lines = run.lines(start)
    if lines:
        check(blocks_of(lines, pieces), run)

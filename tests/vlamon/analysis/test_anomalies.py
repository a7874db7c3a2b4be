"""A stretch of high values has a begin, a worst value and an end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vlamon.analysis.anomalies import Anomaly, anomalies, within
from vlamon.analysis.diagnosis import diagnose
from vlamon.analysis.evidence import gather
from vlamon.records import BatchBlock, Column, EpochBlock, IntervalBlock, Record


def epochs(values: Sequence[float], attempt: int = 0, **others: Sequence[float]) -> EpochBlock:
    columns = {"closs": Column(np.array(values, float))}
    columns |= {name: Column(np.array(other, float)) for name, other in others.items()}
    return EpochBlock("train", np.arange(len(values), dtype=float), columns, attempt)


def batches(values: Sequence[float], per_epoch: int = 100) -> BatchBlock:
    step = np.arange(len(values))
    nowhere = np.full(len(values), math.nan)
    columns = {"loss": Column(np.array(values, float))}
    return BatchBlock(0, 0, step, (step / per_epoch), nowhere, columns)


def intervals(values: Sequence[float]) -> IntervalBlock:
    last = 10 * np.arange(len(values))
    return IntervalBlock(
        epoch=np.zeros(len(values), np.int64),
        first=np.maximum(last - 9, 0),
        last=last,
        metrics={"closs": Column(np.array(values, float))},
        bound={},
        printed={},
        step=last,
    )


def only(*records: Record) -> Anomaly:
    (one,) = anomalies(gather(records))
    return one


def ids(*records: Record) -> set[str]:
    return {diagnosis.id for diagnosis in diagnose(gather(records))}


def test_a_run_that_stays_up_exploded_where_it_jumped() -> None:
    one = only(epochs([3, 3, 3, 3, 3, 30, 31, 32, 33, 34]))
    assert (one.onset, one.where, one.value, one.usual) == ("epoch 5", "epoch 9", 34.0, 3.0)
    assert (one.length, one.lasting) == (5, True)


def test_a_blow_up_that_goes_on_rising_is_one_stretch() -> None:
    one = only(epochs([3] * 8 + [10, 30, 90, 200]))
    assert (one.onset, one.length, one.usual) == ("epoch 8", 4, 3.0)


def test_batches_that_stay_up_are_held_against_what_was_before() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.02, 600)
    one = only(batches(np.where(np.arange(600) < 300, 3, 30) * noise))
    assert (one.onset_step, one.length, one.lasting) == (300, 300, True)
    assert one.usual == pytest.approx(3, rel=0.02)
    assert one.ratio > 9


def test_a_slow_divergence_is_held_against_the_level_that_it_left() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.01, 1400)
    rise = np.clip(1.004 ** (np.arange(1400) - 500.0), 1, 12)
    one = only(batches(3 * rise * noise))
    assert one.usual == pytest.approx(3, rel=0.1)
    assert one.lasting


def test_a_stretch_ends_where_the_loss_is_back() -> None:
    one = only(epochs([3] * 6 + [40, 38, 30] + [3.2] * 6))
    assert (one.onset, one.where, one.length, one.lasting) == ("epoch 6", "epoch 6", 3, False)


def test_one_lucky_batch_does_not_end_a_stretch_of_batches() -> None:
    values = 3 * np.random.default_rng(0).lognormal(0, 0.02, 400)
    values[300:340] = 60
    values[310], values[320] = 3.1, 3.0
    one = only(batches(values))
    assert one.onset_step == 300
    assert 40 <= one.length < 60


def test_the_epochs_of_a_stretch_are_all_within_it() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.02, 600)
    inside = (np.arange(600) >= 250) & (np.arange(600) < 420)
    one = only(batches(np.where(inside, 40, 3) * noise))
    where = within([one], np.arange(6.0))
    assert where.tolist() == [False, False, True, True, True, False]
    assert not within([], np.arange(6.0)).any()


def test_an_attempt_is_held_against_itself() -> None:
    assert anomalies(gather([epochs([3, 3, 3, 3]), epochs([9, 9, 9, 9], attempt=1)])) == []


@pytest.mark.parametrize("tau", [30, 10, 100])
def test_a_training_may_begin_far_above_a_guess_and_fall(tau: float) -> None:
    closs = 2 + 40 * np.exp(-np.arange(0, 1300, 10) / tau)
    assert anomalies(gather([intervals(closs)])) == []


def test_a_first_value_that_the_second_does_not_continue_is_an_explosion() -> None:
    one = only(epochs([95, 8.5, 8.4, 8.5, 8.4]))
    assert (one.onset, one.length) == ("epoch 0", 1)
    assert anomalies(gather([epochs([15, 5, 5, 5, 5])])) == [], "near a guess, it is a begin"


def test_a_loss_below_zero_explodes_and_has_no_multiple() -> None:
    values = -3 + np.random.default_rng(0).normal(0, 0.05, 60)
    values[40:43] = 30
    log = intervals(values)
    one = only(log)
    assert (one.onset_step, one.length) == (400, 3)
    assert math.isnan(one.ratio)
    (said,) = [d.evidence for d in diagnose(gather([log])) if d.id == "closs-explosion"]
    assert "up to 30:" in said
    assert "inf" not in said


def test_a_loss_around_zero_counts_in_its_noise() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.5, 400)
    assert anomalies(gather([intervals(values)])) == []
    values[300] = 30
    assert only(intervals(values)).onset_step == 3000


def test_the_advice_points_before_the_begin() -> None:
    log = epochs([3, 3, 3, 3, 3, 30, 31, 32])
    (said,) = [d for d in diagnose(gather([log])) if d.id == "closs-explosion"]
    assert "from epoch 5, worst epoch 7: 32" in said.evidence
    assert "last checkpoint before epoch 5" in said.advice


@pytest.mark.parametrize("end", [[30], [30] * 5, [math.nan] * 5, [math.inf]])
def test_a_run_whose_end_is_broken_has_not_converged(end: list[float]) -> None:
    calm = [3.0] * 5
    assert "converged" in ids(epochs(calm))
    assert not ids(epochs(calm + end)) & {"converged", "not-converged"}
    assert "converged" in ids(epochs([*calm, 30.0, *calm]))


def test_batches_whose_end_is_broken_have_not_converged() -> None:
    values = np.full(600, 3.0)
    assert "converged" in ids(batches(values))
    values[500:] = 30
    assert not ids(batches(values)) & {"converged", "not-converged"}
    values[500:] = math.nan
    assert not ids(batches(values)) & {"converged", "not-converged"}


def test_a_loss_of_exactly_zero_has_converged() -> None:
    assert "converged" in ids(epochs([0.0] * 6))
    assert "not-converged" in ids(epochs([0.0, 0.0, 0.0, 0.1, 0.0]))


def test_a_value_loss_that_runs_away_for_no_better_reward_is_an_explosion() -> None:
    count = 320
    step, nowhere = np.arange(count), np.full(count, math.nan)
    loss = np.where(step < 200, 3.0, 4000.0) * np.random.default_rng(1).lognormal(0, 0.1, count)
    for reward, expected in ((np.where(step < 200, 10.0, 1.0), 1), (step * 1.0, 0)):
        columns = {
            "train/value_loss": Column(loss),
            "rollout/ep_rew_mean": Column(np.asarray(reward, float)),
        }
        found = anomalies(gather([BatchBlock(0, 0, step, nowhere, nowhere, columns)]))
        assert len(found) == expected


def test_a_few_rows_of_an_epoch_do_not_refute_its_line() -> None:
    step = np.arange(200, 2400, 200)
    loss = 9 * np.exp(-step / 1200)
    columns = {"loss": Column(loss)}
    fine = BatchBlock(0, 0, step, step / 480, np.full(len(step), math.nan), columns)
    means = 9 * np.exp(-np.array([130.0, 700.0, 1200.0, 1600.0]) / 1200)
    lines = EpochBlock("train", np.arange(4.0), {"loss": Column(means)})
    assert "epoch-line-disagrees-with-batches" not in ids(fine, lines)

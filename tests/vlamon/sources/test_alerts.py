"""A log that only holds numbers still raises its explosions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.vlamon.sources.scripted import ScriptedSource
from vlamon.records import BatchBlock, Column, EpochBlock, Event, RunInfo
from vlamon.sources.alerts import JudgedLog
from vlamon.sources.logfile import LogFile

FIXTURES = Path(__file__).parents[2] / "fixtures"


def explosions(source: object) -> list[Event]:
    alerting = JudgedLog(source)  # type: ignore[arg-type]
    found: list[Event] = []
    while not alerting.finished:
        found += [r for r in alerting.read(0.1) if isinstance(r, Event) and r.kind == "explode"]
    alerting.close()
    return found


def epochs(values: Sequence[float], first: int = 0, attempt: int = 0) -> EpochBlock:
    numbers = np.arange(first, first + len(values), dtype=float)
    return EpochBlock("train", numbers, {"closs": Column(np.array(values))}, attempt)


def test_both_explosions_of_twelve_epochs_are_reported() -> None:
    found = explosions(LogFile(str(FIXTURES / "logs" / "log_train.txt"), follow=False))
    assert [(event.step, event.data["value"]) for event in found] == [(7, 95.19), (10, 37.74)]


@pytest.mark.parametrize(("sample", "count"), [("sample", 1), ("sample_ragged_ranks", 0)])
def test_a_smeared_explosion_is_reported_once_and_none_is_made_up(sample: str, count: int) -> None:
    path = FIXTURES / "metriclogger" / sample / "output.log"
    assert len(explosions(LogFile(str(path), follow=False))) == count


def test_it_does_not_matter_how_the_lines_come() -> None:
    values = [3.0, 3.1, 2.9, 3.0, 40.0, 50.0, 45.0, 3.0, 3.1, 60.0]
    at_once = explosions(ScriptedSource([epochs(values)]))
    one_by_one = explosions(ScriptedSource(*[[epochs([v], i)] for i, v in enumerate(values)]))
    assert [event.step for event in at_once] == [4, 9]
    assert [event.id for event in one_by_one] == [event.id for event in at_once]


def test_an_epochs_explosion_stands_at_its_last_step_where_that_is_known() -> None:
    info = RunInfo("x", "x", steps_per_epoch=100)
    (event,) = explosions(ScriptedSource([info, epochs([3.0, 3.1, 2.9, 95.0])]))
    assert event.step == 399
    assert "epoch 3" in event.text


def test_a_new_attempt_has_a_level_of_its_own() -> None:
    high = epochs([9.0, 9.1, 9.0], attempt=1)
    assert explosions(ScriptedSource([epochs([3.0, 3.1, 2.9]), high])) == []


def test_values_that_are_no_numbers_explode() -> None:
    (event,) = explosions(ScriptedSource([epochs([3.0, float("nan"), 3.0])]))
    assert event.text.startswith("closs is nan")


def test_a_noisy_batch_is_no_explosion_and_a_broken_one_is() -> None:
    values = 0.1 * np.random.default_rng(2).lognormal(0, 0.5, 400)
    values[300] = 30.0
    block = BatchBlock(
        0, 0, np.arange(400), np.zeros(400), np.full(400, np.nan), {"loss": Column(values)}
    )
    assert [event.step for event in explosions(ScriptedSource([block]))] == [300]


def batches(values: np.ndarray) -> BatchBlock:
    count = len(values)
    nowhere = np.full(count, np.nan)
    return BatchBlock(0, 0, np.arange(count), nowhere, nowhere, {"loss": Column(values)})


def test_the_text_is_what_the_judge_saw() -> None:
    values = 0.1 * np.random.default_rng(2).lognormal(0, 0.05, 400)
    values[300:] *= 2.4  # below any level times three, and an explosion by its length
    (event,) = explosions(ScriptedSource([batches(values)]))
    assert event.text.endswith(": 3 batches in a row above 2× the median")
    assert event.data["ratio"] == pytest.approx(2.4, rel=0.2)


def test_a_slow_rise_is_reported_by_its_rule_not_by_a_multiple_below_one() -> None:
    noise = np.random.default_rng(4).lognormal(0, 0.5, 3000)
    found = explosions(
        ScriptedSource([batches(np.clip(1.002 ** (np.arange(3000) - 500.0), 1, 20) * noise)])
    )
    assert found
    for event in found:
        assert "× its level" not in event.text
        assert "up 1.8× over" in event.text or "× the median" in event.text


def test_a_mean_of_a_loss_below_zero_is_reported_without_a_multiple() -> None:
    (event,) = explosions(ScriptedSource([epochs([-3.0, -3.1, -2.9, -3.0, 30.0])]))
    assert event.text == "closs 30, far above its level of -3 (mean of epoch 4)"


def test_a_log_of_epochs_alone_counts_no_steps() -> None:
    (event,) = explosions(ScriptedSource([epochs([3.0, 3.1, 2.9, 95.0])]))
    assert (event.counted, event.data["epoch"]) == (False, 3.0)
    info = RunInfo("x", "x", steps_per_epoch=100)
    (event,) = explosions(ScriptedSource([info, epochs([3.0, 3.1, 2.9, 95.0])]))
    assert event.counted

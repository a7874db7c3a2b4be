"""`tail`, which sees what came before, and `analyze`, which sees all, agree on explosions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.vlamon.sources.scripted import ScriptedSource
from vlamon.analysis.anomalies import anomalies
from vlamon.analysis.evidence import gather
from vlamon.records import BatchBlock, Column, EpochBlock, EpochRow, Event, IntervalBlock, Record
from vlamon.sources.alerts import JudgedLog

Floats = np.ndarray


def tailed(*records: Record) -> list[Event]:
    """Explosions that `tail` reports."""
    alerting = JudgedLog(ScriptedSource(*[[record] for record in records]))
    found: list[Event] = []
    while not alerting.finished:
        found += [r for r in alerting.read(0.1) if isinstance(r, Event) and r.kind == "explode"]
    return found


def analyzed(*records: Record) -> list[int]:
    """Steps at which explosions of the main loss begin, by `analyze`."""
    evidence = gather(records)
    return [
        a.onset_step
        for a in anomalies(evidence)
        if a.level == "explode" and a.metric in evidence.mains
    ]


def epochs(values: Floats) -> Record:
    numbers = np.arange(len(values))
    return EpochBlock("train", numbers.astype(float), {"closs": Column(values)}, step=numbers)


def intervals(values: Floats) -> Record:
    last = 10 * np.arange(len(values))
    return IntervalBlock(
        epoch=np.zeros(len(values), np.int64),
        first=np.maximum(last - 9, 0),
        last=last,
        metrics={"closs": Column(values)},
        bound={},
        printed={},
        step=last,
    )


def rows(values: Floats, stride: int = 1, averaged: bool = False, name: str = "loss") -> Record:
    count = len(values)
    return BatchBlock(
        0,
        0,
        stride * np.arange(count),
        np.full(count, np.nan),
        np.full(count, np.nan),
        {name: Column(values)},
        averaged=averaged,
    )


def strided(values: Floats) -> Record:
    return rows(values, 50)


def means(values: Floats) -> Record:
    return rows(values, 50, averaged=True)


GRAINS = (epochs, intervals, rows, strided, means)


def shaped(shape: str, random: np.random.Generator) -> tuple[Floats, int | None]:
    """Values of a random log, and where it certainly explodes, None where it certainly does not."""
    count, level = int(random.integers(120, 400)), float(random.uniform(0.05, 9))
    values = level * random.lognormal(0, float(random.uniform(0.005, 0.08)), count)
    at = int(random.integers(60, count - 20))
    factor = float(random.uniform(9, 30))
    if shape == "noise":
        return values, None
    if shape == "fall":
        return values * (1 + 4 * np.exp(-np.arange(count) / random.uniform(20, 90))), None
    if shape == "drift":
        return values * np.linspace(1, 1.5, count), None
    if shape == "spike":
        values[at : at + int(random.integers(1, 4))] *= factor
    elif shape == "jump":
        values[at:] *= factor
    elif shape == "climb":  # a jump that goes on to rise
        values[at:] *= factor * np.linspace(1, 3, count - at)
    elif shape == "hump":
        width = int(random.integers(4, 15))
        values[at : at + width] *= factor * np.geomspace(1, 2, width)
    elif shape == "broken":
        values[at:] = np.nan
    elif shape == "below zero":
        values -= 2 * level
        values[at : at + 3] = factor * level
    return values, at


SHAPES = ("noise", "fall", "drift", "spike", "jump", "climb", "hump", "broken", "below zero")


@pytest.mark.parametrize("grain", GRAINS, ids=lambda grain: grain.__name__)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_say_whether_and_where_a_run_exploded(
    shape: str, grain: Callable[[Floats], Record]
) -> None:
    random = np.random.default_rng(SHAPES.index(shape))
    for _ in range(4):
        values, at = shaped(shape, random)
        log = grain(values)
        seen, written = [event.step for event in tailed(log)], analyzed(log)
        where = None if at is None else int(strides(log)[at])
        assert (seen[:1], written[:1]) == (([], []) if where is None else ([where], [where]))


def strides(log: Record) -> np.ndarray:
    assert isinstance(log, EpochBlock | IntervalBlock | BatchBlock)
    assert log.step is not None
    return log.step


@pytest.mark.parametrize("grain", GRAINS, ids=lambda grain: grain.__name__)
def test_a_slow_rise_is_judged_alike(grain: Callable[[Floats], Record]) -> None:
    random = np.random.default_rng(5)
    for growth in (1.005, 1.02, 1.05, 1.2):
        values = 3 * random.lognormal(0, 0.02, 300)
        values[150:] *= np.minimum(growth ** np.arange(150), 40)
        log = grain(values)
        assert [event.step for event in tailed(log)][:1] == analyzed(log)[:1]


def test_batches_printed_every_fifty_steps_are_batches() -> None:
    noisy = 0.1 * np.random.default_rng(3).lognormal(0, 0.6, 2000)
    for grain in (rows, strided):
        assert (tailed(grain(noisy)), analyzed(grain(noisy))) == ([], [])
    assert analyzed(means(noisy)), "as means, these values would have exploded"


def test_means_explode_at_two_and_a_half_times_their_level() -> None:
    values = np.full(60, 4.0)
    values[30] = 10.0
    for grain in (epochs, intervals, means):
        assert len(tailed(grain(values))) == len(analyzed(grain(values))) == 1
    assert tailed(rows(values, averaged=True)) == [], "a mean over one step is a batch"


@pytest.mark.parametrize("name", ["train/loss", "loss/total_train", "train_loss_step"])
def test_both_find_the_loss_of_a_log_with_its_own_names(name: str) -> None:
    values = np.full(320, 3.0)
    values[300] = 90.0
    log = rows(values, name=name)
    assert ([event.step for event in tailed(log)], analyzed(log)) == ([300], [300])


def test_batches_and_epoch_lines_may_call_their_loss_differently() -> None:
    values = np.full(320, 3.0)
    values[300] = 90.0
    batches = rows(values, name="train_loss_step")
    ends = [EpochRow(float(n), "train", {"loss": 3.0 if n != 5 else 40.0}) for n in range(8)]
    assert [event.data["metric"] for event in tailed(batches, *ends)] == ["train_loss_step", "loss"]
    assert sorted(analyzed(batches, *ends))[-1] == 300
    assert len(analyzed(batches, *ends)) == 2


def test_a_hard_sample_near_zero_is_no_explosion_and_a_loss_that_stays_up_is() -> None:
    random = np.random.default_rng(11)
    values = 0.001 * random.lognormal(0, 0.5, 2000)
    values[:300] = np.geomspace(12, 0.001, 300)
    single = values.copy()
    single[[900, 1200, 1500]] = 0.8
    assert (tailed(rows(single)), analyzed(rows(single))) == ([], [])
    lasting = values.copy()
    lasting[1500:] = 0.8 * random.lognormal(0, 0.1, 500)
    found = analyzed(rows(lasting))
    assert found
    assert 1500 <= found[0] < 1512
    half = values.copy()
    half[900] = 6.0
    assert [event.step for event in tailed(rows(half))] == analyzed(rows(half)) == [900]


@pytest.mark.parametrize(
    "others", [("rollout/ep_rew_mean", "train/entropy_loss"), ("train/loss_d", "train/loss_g")]
)
def test_a_loss_against_a_moving_target_explodes_only_where_it_breaks(
    others: tuple[str, str],
) -> None:
    values = np.full(320, 3.0)
    values[200] = 90.0
    broken = values.copy()
    broken[300] = np.nan
    for loss, expected in ((values, []), (broken, [300])):
        block = rows(loss, name="train/loss")
        steady = {name: Column(np.linspace(1, 2, 320)) for name in others}
        log = replace(block, columns={**block.columns, **steady})
        assert [event.step for event in tailed(log)] == expected
        assert analyzed(log) == expected


def test_a_batch_of_the_higher_of_two_kinds_is_no_explosion() -> None:
    steps = np.arange(600)

    def falling(low: float, high: float, seed: int) -> Floats:
        noise = np.random.default_rng(seed).lognormal(0, 0.05, 2000)[:600]
        return (low + (high - low) * np.exp(-steps / 200)) * noise

    higher = np.random.default_rng(6).random(2000)[:600] >= 0.5
    values = np.where(higher, falling(3, 9, 2), falling(0.3, 2, 1))
    assert (tailed(rows(values)), analyzed(rows(values))) == ([], [])
    values[500] = 40.0
    assert [event.step for event in tailed(rows(values))] == analyzed(rows(values)) == [500]

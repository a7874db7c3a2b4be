"""What a monitor sees in a run that does not judge itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vlamon.detect.auto_rollback import AutoRollback
from vlamon.detect.monitor import AFTER, ExplosionMonitor, _stretches
from vlamon.detect.rules import rules_with
from vlamon.records import BatchBlock, Column, Event, Link, MetricSpec, Record, RunInfo, Status

RUN = RunInfo(
    run_id="r",
    name="plain",
    boot="b00t" * 8,
    metrics=(
        MetricSpec("closs", "trained", 1.0),
        MetricSpec("loss_ct", "trained", 10.0),
        MetricSpec("z_loss", "trained", 1e-5),
    ),
)


def batches(first: int, attempt: int = 0, **metrics: Sequence[float]) -> BatchBlock:
    rows = len(next(iter(metrics.values())))
    step = np.arange(first, first + rows)
    columns = {name: Column(np.asarray(values, np.float64)) for name, values in metrics.items()}
    return BatchBlock(first, attempt, step, step / 100, 1.7e9 + step, columns)


def level(rows: int, around: float = 8.0, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).normal(around, around / 80, rows))


def one_by_one(values: Sequence[float], first: int = 0, attempt: int = 0) -> list[Record]:
    return [batches(first + n, attempt, closs=[value]) for n, value in enumerate(values)]


def seen(
    records: Iterable[Record], monitor: ExplosionMonitor | None = None
) -> list[tuple[str, int]]:
    """What is told of these records until their source ends."""
    monitor, records = monitor or ExplosionMonitor(), [*records, Link("ended")]
    return [(event.kind, event.step) for record in records for event in monitor.observe(record)]


def test_the_explosion_of_a_script_that_only_emits_is_reported_once() -> None:
    values = [*level(200).tolist(), 45.0, 46.0, 47.0, *level(100, seed=1).tolist()]
    assert seen([RUN, *one_by_one(values)]) == [("warn", 200), ("explode", 201)]


def test_one_batch_twenty_times_as_high_explodes_at_once_and_nan_from_the_first_step() -> None:
    assert seen([RUN, *one_by_one([*level(100).tolist(), 200.0])]) == [("explode", 100)]
    assert seen([RUN, *one_by_one([math.nan])]) == [("explode", 0)]


def test_an_event_says_what_it_saw_and_who_saw_it() -> None:
    monitor = ExplosionMonitor()
    alive = Status("training", 0)
    records = [RUN, batches(0, closs=[8.0]), alive, *one_by_one([*level(100).tolist(), 200.0])]
    (event,) = [event for record in records for event in monitor.observe(record)]
    assert event.id.startswith("b00tb00t-")
    assert event.severity == "error"
    assert event.text.startswith("closs 200: 25× the median")
    assert event.time == 1.7e9 + 100
    assert event.data["metric"] == "closs"
    assert event.data["value"] == 200.0
    assert event.data["by"] == "monitor"


@pytest.mark.parametrize("guard", ["auto", "ask", "watch"])
def test_a_trainer_that_judges_itself_has_the_only_say(guard: str) -> None:
    spiky = one_by_one([*level(100).tolist(), 200.0])
    assert seen([RUN, Status("training", 0, guard=guard), *spiky]) == []


def test_a_guard_that_is_off_leaves_it_to_the_monitor() -> None:
    spiky = one_by_one([*level(100).tolist(), 200.0])
    assert seen([RUN, Status("training", 0, guard="off"), *spiky]) == [("explode", 100)]


def test_an_explosion_that_the_run_reported_itself_is_not_reported_again() -> None:
    own = Event("1", "explode", 10, 0, 1.7e9)
    assert seen([RUN, own, *one_by_one([*level(100).tolist(), 200.0])]) == []


def test_a_history_that_comes_before_its_first_status_is_left_to_the_guard() -> None:
    spiky = one_by_one([*level(100).tolist(), 200.0])
    guarded = Status("training", 101, guard="auto")
    own = Event("1", "explode", 100, 0, 1.7e9)
    assert seen([RUN, Status("training", 0), *spiky, guarded]) == []
    assert seen([RUN, *spiky, own]) == []
    resumed = replace(RUN, boot="n3w" * 8)
    assert seen([RUN, *spiky, resumed, *one_by_one([8.0], 101, 1), guarded]) == []


def test_explosions_of_a_history_are_reported_once_no_guard_is_known() -> None:
    monitor = ExplosionMonitor()
    told = [
        [(event.kind, event.step) for event in monitor.observe(record)]
        for record in (
            RUN,
            batches(0, closs=[*level(5000), 200.0]),
            Status("training", 5000),
            batches(5001, closs=[*level(60), 200.0]),
        )
    ]
    assert told == [[], [], [("explode", 5000)], [("explode", 5061)]]


def test_another_boot_is_judged_anew() -> None:
    monitor = ExplosionMonitor()
    assert seen([RUN, Status("training", 0, guard="auto")], monitor) == []
    spiky = one_by_one([*level(100).tolist(), 200.0])
    assert seen([replace(RUN, boot="n3w" * 8), *spiky], monitor) == [("explode", 100)]


def test_another_attempt_is_another_explosion() -> None:
    first = one_by_one([*level(100).tolist(), 200.0])
    again = one_by_one([*level(20, seed=1).tolist(), 200.0], first=70, attempt=1)
    assert seen([RUN, *first, *again]) == [("explode", 100), ("explode", 90)]


def test_a_long_history_is_looked_through_for_what_stands_out() -> None:
    rows, at = 100_000, (70_001, 70_002, 90_000)
    closs, loss_ct = level(rows), level(rows, 0.1, seed=1)
    closs[list(at)] = 70.0, 75.0, math.inf
    cuts = range(0, rows, 4096)
    blocks = [
        batches(cut, closs=closs[cut : cut + 4096], loss_ct=loss_ct[cut : cut + 4096])
        for cut in cuts
    ]
    judged = 0
    monitor = ExplosionMonitor()
    observe = monitor._detectors.observe

    def counted(*given: object) -> object:
        nonlocal judged
        judged += 1
        return observe(*given)  # type: ignore[arg-type]

    monitor._detectors.observe = counted  # type: ignore[method-assign,assignment]
    assert seen([replace(RUN, boot=""), *blocks], monitor) == [
        ("explode", 70_001),
        ("explode", 90_000),
    ]
    assert judged < 1000, "the rest of a hundred thousand was passed over"


def test_live_batches_behind_a_history_are_judged_by_its_level() -> None:
    history = batches(0, closs=level(5000))
    assert seen([RUN, history, *one_by_one([200.0], first=5000)]) == [("explode", 5000)]


def test_a_falling_loss_and_a_noisy_term_raise_nothing() -> None:
    rng = np.random.default_rng(2)
    step = np.arange(6000)
    closs = 8 + 4 * np.exp(-step / 400) + rng.normal(0, 0.2, 6000)
    noisy = rng.lognormal(-2, 0.2, 6000)
    history = batches(0, closs=closs[:4096], loss_ct=noisy[:4096])
    live = [
        batches(n, closs=[closs[n]], loss_ct=[noisy[n]])  # type: ignore[list-item]
        for n in range(4096, 6000)
    ]
    assert [kind for kind, _ in seen([RUN, history, *live]) if kind == "explode"] == []


def test_a_cell_that_was_not_logged_is_no_nan() -> None:
    values = level(300)
    present = np.ones(300, np.bool_)
    values[::7], present[::7] = math.nan, False
    block = replace(batches(0, closs=values), columns={"closs": Column(values, present)})
    assert seen([RUN, block]) == []


def test_the_automatic_rollback_is_requested_once_for_what_the_monitor_saw_too() -> None:
    monitor, acting = ExplosionMonitor(), AutoRollback()
    requested = []
    alive = Status("training", 0, time=1.7e9, guard="off")
    for record in [RUN, alive, *one_by_one([*level(100).tolist(), 200.0, 210.0])]:
        for each in (record, *monitor.observe(record)):
            request = acting.observe(each)
            if request is not None:
                requested.append((request.step, request.event))
    assert requested == [(100, "b00tb00t-attempt0")]


@pytest.mark.parametrize("at", [100, 600, 1200])
@pytest.mark.parametrize("rows", [2000, 10_000])
def test_an_explosion_that_lasts_to_the_end_is_reported_to_a_late_joiner(
    rows: int, at: int
) -> None:
    values = level(rows)
    values[at:] *= 30
    early = seen([RUN, *one_by_one(values[: at + 200].tolist())])
    late = seen([RUN, batches(0, closs=values.tolist())])
    blocks = [
        batches(first, closs=values[first : first + 4096].tolist())
        for first in range(0, rows, 4096)
    ]
    assert late == seen([RUN, *blocks]) == [("explode", at)]
    assert [event for event in early if event[0] == "explode"] == late


def test_a_loss_that_falls_and_grows_slowly_is_no_explosion_to_a_late_joiner() -> None:
    steps = np.arange(8000)
    falling = level(8000) * (0.05 + np.exp(-steps / 700))
    growing = level(8000) * (1 + steps / 2000)
    assert seen([RUN, batches(0, closs=falling.tolist())]) == []
    assert seen([RUN, batches(0, closs=growing.tolist())]) == []


def test_a_spike_in_a_fallen_loss_is_judged_by_the_level_before_it() -> None:
    values = level(4096) * (0.02 + np.exp(-np.arange(4096) / 300))
    values[3500] *= 25
    assert ("explode", 3500) in seen([RUN, batches(0, closs=values.tolist())])


class Windows(ExplosionMonitor):
    """Remembers which batches its detectors were given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []
        observe = self._detectors.observe_rows

        def noted(block: BatchBlock, weights: Any, first: int, end: int) -> Any:
            self.given += block.step[first:end].tolist()
            return observe(block, weights, first, end)

        self._detectors.observe_rows = noted  # type: ignore[method-assign,assignment]


def history(rows: int, at: Mapping[int, float], size: int) -> list[BatchBlock]:
    """Batches in blocks of `size`, with these values in their places."""
    values = level(rows)
    for place, value in at.items():
        values[place] = value
    return [batches(cut, closs=values[cut : cut + size].tolist()) for cut in range(0, rows, size)]


@pytest.mark.parametrize("size", [100, 1000, 3000])
@pytest.mark.parametrize("at", [2100, 2500])
def test_around_what_stands_out_256_batches_before_and_64_behind_it_are_judged(
    size: int, at: int
) -> None:
    """Each once and in order, in whatever pieces the history comes."""
    monitor = Windows()
    found = seen([replace(RUN, boot=""), *history(3000, {at: 200.0}, size)], monitor)
    assert found == [("explode", at)]
    assert monitor.given == list(range(at - 256, min(at + 65, 3000)))


def test_what_lies_between_two_spikes_that_are_close_is_judged_as_one_stretch() -> None:
    near, apart = Windows(), Windows()
    seen([replace(RUN, boot=""), *history(3000, {1000: 200.0, 1064: 200.0}, 3000)], near)
    seen([replace(RUN, boot=""), *history(3000, {1000: 200.0, 1165: 200.0}, 3000)], apart)
    assert near.given == list(range(1000 - 256, 1064 + 65))
    assert apart.given == list(range(1000 - 256, 1165 + 65))


def test_a_spike_near_the_beginning_or_the_end_of_a_history_is_judged_by_what_there_is() -> None:
    monitor = Windows()
    found = seen([replace(RUN, boot=""), *history(3000, {40: 200.0, 2999: 200.0}, 3000)], monitor)
    assert found == [("explode", 40), ("explode", 2999)]
    assert monitor.given == [*range(40 + 65), *range(2999 - 256, 3000)]


def test_no_more_of_a_history_is_kept_than_may_be_looked_at_again() -> None:
    monitor = ExplosionMonitor()
    for record in (replace(RUN, boot=""), *history(3000, {}, 100)):
        assert list(monitor.observe(record)) == []
    assert len(monitor._unjudged) == 3


def test_a_level_that_stays_is_looked_at_until_it_is_the_usual_one() -> None:
    monitor = Windows()
    values = level(20_000)
    values[5000:] *= 3.5
    found = seen([replace(RUN, boot=""), batches(0, closs=values.tolist())], monitor)
    assert found == [("explode", found[0][1])]
    assert 5000 <= found[0][1] < 5003
    # 5120 is where its first whole chunk of 256 begins; two more are off the level before the
    # third is the usual one.
    assert monitor.given == list(range(5000 - 256, 5120 + 2 * 256 + 256 + 64))


def test_a_history_that_is_not_finite_from_its_first_batch_on_is_reported() -> None:
    blank = batches(0, closs=[math.nan] * 100)
    assert seen([replace(RUN, boot=""), blank]) == [("explode", 0)]


def test_up_to_64_batches_at_once_are_live_and_may_warn() -> None:
    past = batches(0, closs=level(1000).tolist())
    for rows, told in ((64, [("warn", 1040)]), (65, [])):
        values = level(rows, seed=1)
        values[40] = 30.0
        assert seen([RUN, past, batches(1000, closs=values.tolist())]) == told


@pytest.mark.parametrize(("later", "told"), [(50, 1), (51, 2)])
def test_fifty_calm_batches_part_two_explosions(later: int, told: int) -> None:
    values = level(300)
    values[200] = values[200 + later] = 200.0
    assert len(seen([RUN, *one_by_one(values.tolist())])) == told


def test_a_warning_behind_an_explosion_is_no_news_and_an_explosion_behind_a_warning_is() -> None:
    values = level(300)
    values[200], values[220] = 200.0, 30.0
    assert seen([RUN, *one_by_one(values.tolist())]) == [("explode", 200)]
    values[200], values[220] = 30.0, 200.0
    assert seen([RUN, *one_by_one(values.tolist())]) == [("warn", 200), ("explode", 220)]


def test_a_threshold_below_twice_the_level_is_looked_for_in_a_history() -> None:
    values = level(3000)
    values[[2000, 2001]] *= 1.7
    record = batches(0, closs=values.tolist())
    low = ExplosionMonitor(rules_with({"pair_ratio": 1.5}))
    assert seen([RUN, record], low) == [("explode", 2001)]
    assert seen([RUN, record]) == []


def test_the_weights_of_the_newest_block_say_which_terms_are_judged() -> None:
    calm, spiky = level(200).tolist(), [*level(100).tolist(), 200.0]
    first = batches(0, closs=calm, aux=calm)
    for weights, told in (({"closs": 1.0}, []), ({"aux": 1.0}, [("explode", 300)])):
        second = batches(200, closs=level(101).tolist(), aux=spiky)
        blocks = [replace(first, weights=weights), second]
        assert seen([replace(RUN, metrics=()), *blocks]) == told


def test_only_the_end_of_a_source_or_the_word_of_a_guard_lets_out_what_was_held() -> None:
    monitor = ExplosionMonitor()
    records = [RUN, *one_by_one([*level(100).tolist(), 200.0])]
    records += [Event("1", "note", 100, 0, 1.7e9), Link("reconnecting")]
    assert [event for record in records for event in monitor.observe(record)] == []
    assert [event.step for event in monitor.observe(Link("ended"))] == [100]
    assert list(monitor.observe(Link("ended"))) == []


def test_a_status_before_the_first_batch_decides_nothing_unless_it_names_a_guard() -> None:
    spiky = one_by_one([*level(100).tolist(), 200.0])
    for guard, told in (("", []), ("off", [100])):
        monitor = ExplosionMonitor()
        found = [
            event.step
            for record in (RUN, Status("training", 0, guard=guard), *spiky)
            for event in monitor.observe(record)
        ]
        assert found == told


def test_a_run_that_told_of_an_explosion_goes_on_being_left_alone() -> None:
    own, off = Event("1", "explode", 10, 0, 1.7e9), Status("training", 1, guard="")
    spiky = one_by_one([*level(100).tolist(), 200.0])
    assert seen([RUN, *one_by_one([8.0]), own, off, *spiky]) == []


def test_a_batch_without_a_time_is_told_at_zero() -> None:
    monitor = ExplosionMonitor()
    block = batches(0, closs=[*level(60).tolist(), 200.0])
    unknown = replace(block, time=np.full(61, math.nan))
    records = [RUN, unknown, Link("ended")]
    (event,) = [event for record in records for event in monitor.observe(record)]
    assert (event.time, event.step, event.attempt) == (0.0, 60, 0)
    assert event.data["ratio"] == pytest.approx(25.0, rel=0.02)


def test_rows_are_judged_together_until_nothing_is_high_for_long() -> None:
    high = np.zeros(1000, bool)
    high[[10, 12, 12 + AFTER, 500, 990]] = True
    assert list(_stretches(high)) == [
        (10, 12 + 2 * AFTER + 1),
        (500, 501 + AFTER),
        (990, 1000),
    ]
    assert list(_stretches(np.zeros(3, bool))) == []

"""Alive or silent, on the trainer's clock."""

from __future__ import annotations

import math

import pytest

from vlamon.analysis.liveness import (
    INTERVALS,
    LEAST_SILENCE,
    OWN_WORK,
    Heartbeat,
    judge,
    of_log,
    typical_interval,
)
from vlamon.records import Link, Status

LIVE = Link("live")


def training(**changes: object) -> Status:
    return Status(**{"state": "training", "step": 5, **changes})  # type: ignore[arg-type]


def test_the_typical_interval_is_a_median_so_that_one_checkpoint_changes_nothing() -> None:
    times = [float(second) for second in range(50)] + [200.0, 201.0, 202.0]
    assert typical_interval(times) == 1.0


def test_without_times_there_is_no_typical_interval() -> None:
    assert math.isnan(typical_interval([math.nan] * 5))
    assert math.isnan(typical_interval([1.0]))


def test_ten_intervals_without_a_batch_are_silence() -> None:
    assert judge(LIVE, training(phase="data"), 9, 2.0, INTERVALS * 2.0).pulse == "live"
    found = judge(LIVE, training(phase="data"), 9, 2.0, INTERVALS * 2.0 + 0.1)
    assert (found.pulse, found.text) == ("silent", "in data")
    assert found.alarming


def test_a_fast_run_is_not_called_silent_for_a_hiccup() -> None:
    assert judge(LIVE, training(), 9, 0.05, LEAST_SILENCE).pulse == "live"
    assert judge(LIVE, training(), 9, 0.05, LEAST_SILENCE + 0.1).pulse == "silent"


@pytest.mark.parametrize("state", ["paused", "stopped", "ended"])
def test_a_run_that_stands_on_purpose_is_not_silent(state: str) -> None:
    assert judge(LIVE, training(state=state), 9, 1.0, 999.0).pulse == state


def test_a_run_that_says_it_ended_is_not_called_connected() -> None:
    said = Link("live", "connected to demo on /tmp/vla.sock")
    assert judge(said, training(state="ended"), 9, 1.0, 0.0).text == ""
    assert judge(Link("ended", "stopped at 6"), None, 9, 1.0, 0.0).text == "stopped at 6"


def test_a_checkpoint_that_never_ends_is_silence() -> None:
    status = training(state="checkpointing", phase="checkpoint")
    assert judge(LIVE, status, 9, 1.0, 5.0).pulse == "checkpointing"
    assert judge(LIVE, status, 9, 1.0, OWN_WORK + 1).pulse == "silent"


@pytest.mark.parametrize("state", ["rolling_back", "checkpointing"])
def test_what_the_guard_does_itself_is_no_silence(state: str) -> None:
    found = judge(LIVE, training(state=state), 9, 0.2, 90.0)
    assert (found.pulse, found.alarming) == (state, False)


def test_a_trainer_that_says_it_writes_a_checkpoint_is_not_silent() -> None:
    assert judge(LIVE, training(phase="checkpoint"), 9, 0.2, 90.0).pulse == "checkpointing"


def test_without_an_interval_nothing_is_silent() -> None:
    assert judge(LIVE, None, 1, math.nan, 999.0).pulse == "live"


def test_a_replay_is_a_replay_whatever_the_trainer_said_then() -> None:
    for state in ("training", "paused", "ended"):
        then = Status(state, 9)  # type: ignore[arg-type]
        assert judge(Link("replay", "played at 2×"), then, 9, 1.0, 99.0).pulse == "replay"


def test_waiting_with_data_on_screen_is_reconnecting() -> None:
    assert judge(Link("waiting", "no socket"), None, 0, 1.0, 0.0).pulse == "waiting"
    assert judge(Link("waiting", "no socket"), None, 9, 1.0, 0.0).pulse == "reconnecting"


def test_a_failed_source_alarms() -> None:
    assert judge(Link("failed", "x"), None, 9, 1.0, 0.0).alarming


def test_quiet_counts_from_the_newest_row_on_the_trainers_clock() -> None:
    heart = Heartbeat()
    heart.observe(1, 5000.0, [], now=10.0)  # the watcher's clock is nowhere near the trainer's
    assert heart.quiet(10.0) == 0.0
    assert heart.quiet(25.0) == 15.0


def test_a_run_that_has_hung_for_long_is_silent_for_a_monitor_that_joins_now() -> None:
    heart = Heartbeat()
    heart.observe(100, 5000.0, [5600.0], now=10.0)  # its sidecar still samples
    assert heart.quiet(10.0) == 0.0  # history has only just come in
    assert heart.quiet(10.0 + LEAST_SILENCE) == pytest.approx(600.0 + LEAST_SILENCE)


def test_a_clock_that_is_wrong_by_hours_neither_raises_nor_hides_silence() -> None:
    for skew in (1e9 - 7200, 1e9 + 7200):
        heart = Heartbeat()
        for second in range(5):
            heart.observe(second + 1, skew + second, [skew + second], now=float(second))
        assert heart.quiet(4.5) < 1.0
        assert heart.quiet(24.0) == pytest.approx(20.0)


def test_rows_without_a_time_count_from_their_arrival() -> None:
    heart = Heartbeat()
    for second in range(9):
        heart.observe(second + 1, math.nan, [], now=float(second))
    assert typical_interval(heart.arrivals) == 1.0
    assert heart.quiet(28.0) == pytest.approx(20.0)


def test_how_fast_an_old_log_without_times_was_read_is_no_pace_to_fall_silent_from() -> None:
    heart = Heartbeat()
    for piece in range(5):
        heart.observe(1000 * (piece + 1), math.nan, [], now=piece / 10)
    interval = typical_interval(heart.arrivals)
    assert judge(LIVE, None, 5000, interval, heart.quiet(600.0)).pulse == "live"


def test_a_pause_is_no_silence_after_its_end() -> None:
    heart = Heartbeat()
    for second in range(5):
        heart.observe(second + 1, 5000.0 + second, [], now=float(second))
    for second in range(5, 605):
        heart.observe(5, 5004.0, [5000.0 + second], now=float(second))
        heart.rest(float(second))
    heart.observe(5, 5004.0, [5605.0], now=605.0)
    assert heart.quiet(605.0) == pytest.approx(1.0)
    assert heart.quiet(635.0) == pytest.approx(31.0)


def test_an_old_log_that_is_opened_is_over_and_no_alarm() -> None:
    silent = judge(LIVE, None, 9, 1.0, 20.0)
    found = of_log(silent, row_time=1000.0, wall=1000.0 + 3600.0)
    assert (found.pulse, found.silent_for, found.alarming) == ("ended", 3600.0, False)


def test_a_log_that_falls_silent_while_it_is_watched_stays_an_alarm() -> None:
    for quiet in (20.0, 7200.0):
        silent = judge(LIVE, None, 9, 1.0, quiet)
        assert of_log(silent, row_time=1000.0, wall=1000.0 + quiet + 1.0).pulse == "silent"

"""Labels that a person would write, on every axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.charts.ticks import linear_ticks, log_ticks, nice_step, number_label, spoken, x_ticks


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0.0, 0.5, "0"),
        (12.5, 0.5, "12.5"),
        (12.0, 2.0, "12"),
        (0.25, 0.05, "0.25"),
        (1000.0, 500.0, "1k"),
        (1500.0, 500.0, "1.5k"),
        (1_250_000.0, 250_000.0, "1.25M"),
        (0.00003, 0.00001, "3e-5"),
        (-0.2, 0.1, "-0.2"),
        (2e18, 1e18, "2e18"),
    ],
)
def test_numbers_are_as_short_as_their_distance_allows(
    value: float, step: float, label: str
) -> None:
    assert number_label(value, step) == label


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-12, 1e12))
def test_a_nice_step_is_one_two_or_five_times_a_power_of_ten(least: float) -> None:
    step = nice_step(least)
    mantissa = step / 10.0 ** math.floor(math.log10(step * (1 + 1e-9)))
    assert round(mantissa, 6) in (1, 2, 5)
    assert least * (1 - 1e-6) <= step <= least * 2.6


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e6, 1e6, width=32),
    st.floats(2**-10, 1e6, width=32),
    st.integers(1, 12),
)
def test_linear_ticks_lie_in_range_and_are_no_more_than_wanted(
    low: float, span: float, most: int
) -> None:
    ticks = linear_ticks(low, low + span, most)
    assert len(ticks) <= most
    room = 1e-6 * max(abs(low), span)
    assert all(low - room <= tick.value <= low + span + room for tick in ticks)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-8, 1e3), st.floats(1.05, 1e9), st.integers(2, 9))
def test_log_ticks_lie_in_range(low: float, ratio: float, most: int) -> None:
    ticks = log_ticks(low, low * ratio, most)
    assert len(ticks) <= most
    assert all(low * 0.999 <= tick.value <= low * ratio * 1.001 for tick in ticks)


def test_a_true_log_scale_goes_on_below_a_tenth() -> None:
    labels = [tick.label for tick in log_ticks(1e-5, 10.0, 9)]
    assert labels == ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1", "10"]


def test_steps_are_whole_and_epochs_are_not() -> None:
    assert [tick.label for tick in x_ticks("step", 0, 52_480, 5)] == ["0", "20k", "40k"]
    assert [tick.label for tick in x_ticks("epoch", 0, 1.2, 4)] == ["0", "0.5", "1"]


def test_time_since_the_start_is_said_in_its_unit() -> None:
    assert [tick.label for tick in x_ticks("since", 0, 1500, 5)] == [
        "0", "5 min", "10 min", "15 min", "20 min", "25 min"][:5]  # fmt: skip
    assert [tick.label for tick in x_ticks("since", 0, 3 * 86400, 4)] == ["0", "1 d", "2 d", "3 d"]


def test_wall_time_is_the_viewers_and_midnight_shows_the_date() -> None:
    start = 1_760_000_000.0  # 2025-10-09 08:53:20 UTC
    labels = [tick.label for tick in x_ticks("time", start, start + 7200, 5, utc_offset=7200.0)]
    assert labels == ["11:00", "11:30", "12:00", "12:30"]
    days = [tick.label for tick in x_ticks("time", start, start + 2 * 86400, 5)]
    assert "Oct 10" in days


def test_positions_are_spoken_in_full() -> None:
    assert spoken("step", 39210.0) == "step 39,210"
    assert spoken("epoch", 7.25) == "epoch 7.25"
    assert spoken("since", 3725.0) == "1:02:05"
    assert spoken("time", 1_760_000_000.0) == "Oct 09 08:53:20"

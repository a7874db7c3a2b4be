"""The envelope of a metric against a plain loop over every cell."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlamon.store.blocks import batches
from vlamon.records import BatchBlock, Column
from vlamon.store import FINITE, NAN, NEG_INF, POS_INF, Envelope, RunStore

CELLS = st.one_of(
    st.none(),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, list[int], list[float | None]]]:
    """Attempts with the steps of their rows; a rollback goes back, rows arrive in blocks."""
    history = []
    step = 0
    for attempt in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            # Long runs of one kind make whole groups of 32 alike, short ones mix them.
            cells = draw(st.lists(CELLS, min_size=1, max_size=60)) * draw(st.integers(1, 40))
            # Most trainings log each step, some every tenth, some a step several times.
            gap = draw(st.sampled_from([1, 1, 1, 10, 0]))
            steps = [step + gap * index for index in range(len(cells))]
            history.append((attempt, steps, cells))
            step = steps[-1] + 1
        step -= draw(st.integers(0, step))
    return history


def naive(
    rows: list[tuple[int, int, float | None]], edges: list[float], attempt: int | None
) -> list[tuple[float, float, float, int, int]]:
    """What a chart must show, cell by cell."""
    bins = []
    for low_edge, high_edge in pairwise(edges):
        inside = [
            value
            for row_attempt, step, value in rows
            if low_edge <= step < high_edge and attempt in (None, row_attempt)
        ]
        finite = [v for v in inside if v is not None and math.isfinite(v)]
        flags = FINITE if finite else 0
        flags |= NAN if any(v is not None and math.isnan(v) for v in inside) else 0
        flags |= POS_INF if math.inf in inside else 0
        flags |= NEG_INF if -math.inf in inside else 0
        nothing = math.nan
        low, high, last = (
            (min(finite), max(finite), finite[-1]) if finite else (nothing, nothing, nothing)
        )
        bins.append((low, high, last, len(inside), flags))
    return bins


def as_rows(envelope: Envelope) -> list[tuple[float, float, float, int, int]]:
    return [
        (float(low), float(high), float(last), int(count), int(flags))
        for low, high, last, count, flags in zip(
            envelope.low, envelope.high, envelope.last, envelope.count, envelope.flags, strict=True
        )
    ]


@settings(max_examples=150, deadline=None)
@given(
    history=histories(),
    edges=st.lists(st.floats(-10, 30_000), min_size=2, max_size=12).map(sorted),
    attempt=st.sampled_from([None, 0, 1, 2]),
)
def test_an_envelope_says_what_a_loop_over_every_cell_says(
    history: list[tuple[int, list[int], list[float | None]]],
    edges: list[float],
    attempt: int | None,
) -> None:
    store = RunStore()
    rows: list[tuple[int, int, float | None]] = []
    for number, steps, cells in history:
        store.apply(batches({"closs": cells}, steps=steps, attempt=number))
        rows += [(number, step, cell) for step, cell in zip(steps, cells, strict=True)]

    found = as_rows(store.envelope("closs", edges, attempt=attempt))

    for ours, truth in zip(found, naive(rows, edges, attempt), strict=True):
        # 0.0 and -0.0 are equal: either may be reported as the least.
        np.testing.assert_equal(np.array(ours) + 0.0, np.array(truth) + 0.0)


@settings(max_examples=100, deadline=None)
@given(history=histories(), edges=st.lists(st.floats(-10, 30_000), min_size=2, max_size=12))
def test_the_sum_and_the_number_of_finite_values_are_those_of_a_loop(
    history: list[tuple[int, list[int], list[float | None]]], edges: list[float]
) -> None:
    store, edges = RunStore(), sorted(edges)
    values: list[tuple[int, float]] = []
    for number, steps, cells in history:
        bounded = [
            c if c is None or not math.isfinite(c) else math.remainder(c, 1e6) for c in cells
        ]
        store.apply(batches({"closs": bounded}, steps=steps, attempt=number))
        values += [(step, c) for step, c in zip(steps, bounded, strict=True) if c is not None]

    envelope = store.envelope("closs", edges)

    for index, (low, high) in enumerate(pairwise(edges)):
        inside = [np.float32(c) for s, c in values if low <= s < high and math.isfinite(c)]
        assert envelope.finite[index] == len(inside)
        size = float(np.abs(inside).sum(dtype=np.float64)) if inside else 0.0
        assert abs(envelope.total[index] - np.sum(inside, dtype=np.float64)) <= 1e-6 * size


def test_the_mean_of_many_equal_values_does_not_drift() -> None:
    store = RunStore()
    column = Column(np.full(1 << 16, 8.1))
    for first in range(0, 10 << 16, 1 << 16):
        step = np.arange(first, first + (1 << 16))
        store.apply(BatchBlock(first, 0, step, step / 1312, step * 1.0, {"closs": column}))

    envelope = store.envelope("closs", [0, store.rows])

    assert envelope.total[0] / envelope.finite[0] == pytest.approx(8.1, rel=1e-7)


def test_one_bad_batch_in_a_million_is_the_high_of_its_bin() -> None:
    store = RunStore()
    cells = np.full(1_000_000, 8.5)
    cells[612_345] = 95.0
    for start in range(0, len(cells), 4096):
        part = cells[start : start + 4096]
        store.apply(batches({"closs": part.tolist()}, first_step=start))

    envelope = store.envelope("closs", np.linspace(0, 1_000_000, 201))

    assert np.flatnonzero(envelope.high == 95.0).tolist() == [612_345 // 5000]
    assert (envelope.low == 8.5).all()
    assert envelope.count.sum() == 1_000_000


@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_a_long_irregular_run_is_binned_like_a_histogram(axis: str) -> None:
    rng = np.random.default_rng(1)
    rows = 300_000
    step = np.cumsum(rng.integers(0, 3, rows))
    epoch = (step // 1312).astype(np.float64)
    time = 1.7e9 + np.cumsum(rng.random(rows))
    values = rng.normal(size=rows)
    store = RunStore()
    for first in range(0, rows, 4096):
        cut = slice(first, first + 4096)
        columns = {"closs": Column(values[cut])}
        store.apply(BatchBlock(first, 0, step[cut], epoch[cut], time[cut], columns))
    where = {"step": step, "epoch": epoch, "time": time}[axis]
    edges = np.linspace(where[0] - 1.5, where[-1] + 1.5, 98)

    envelope = store.envelope("closs", edges, axis=axis)  # type: ignore[arg-type]

    bins = np.digitize(where, edges) - 1
    assert envelope.count.tolist() == np.bincount(bins, minlength=97).tolist()
    wanted = np.full(97, -np.inf, np.float32)
    np.maximum.at(wanted, bins, values.astype(np.float32))
    wanted[envelope.count == 0] = np.nan
    np.testing.assert_equal(envelope.high, wanted)


def test_missing_nan_and_infinity_are_kept_apart() -> None:
    store = RunStore()
    store.apply(batches({"closs": [None, math.nan, math.inf, -math.inf, 2.0]}))

    flags = store.envelope("closs", [0, 1, 2, 3, 4, 5]).flags.tolist()

    assert flags == [0, NAN, POS_INF, NEG_INF, FINITE]
    assert store.present("closs", 0, 5).tolist() == [False, True, True, True, True]
    assert store.value("closs", 0) is None
    assert math.isnan(store.value("closs", 1) or 0.0)


def test_a_finite_value_past_float32_stays_finite() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1e300, -1e300]}))

    assert store.envelope("closs", [0, 2]).flags.tolist() == [FINITE]
    assert math.isfinite(store.value("closs", 0) or math.inf)
    assert store.latest("closs") == -1e300


def test_a_metric_that_starts_late_is_missing_before() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0] * 200_000}))
    store.apply(batches({"closs": [1.0] * 10, "val": [3.0] * 10}, first_step=200_000))

    envelope = store.envelope("val", [0, 100_000, 200_000, 200_010])

    assert envelope.flags.tolist() == [0, 0, FINITE]
    assert envelope.count.tolist() == [100_000, 100_000, 10]
    assert store.value("val", 199_999) is None
    assert store.value("val", 200_000) == 3.0


def test_the_time_axis_survives_a_clock_that_was_set_back() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0, 2.0, 3.0, 4.0]}, times=[100.0, 101.0, 50.0, 102.0]))

    envelope = store.envelope("closs", [100, 101, 102, 103], axis="time")

    # The row of the clock that fell back stands at the time before it.
    assert envelope.high.tolist() == [1.0, 3.0, 4.0]


def test_rows_without_a_time_are_in_no_bin_of_the_time_axis() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0, 2.0]}))

    assert store.envelope("closs", [0, 1e12], axis="time").count.tolist() == [0]


@pytest.mark.parametrize("axis", ["epoch", "row"])
def test_other_axes_bin_the_same_rows(axis: str) -> None:
    store = RunStore()
    cells = [float(i) for i in range(100)]
    store.apply(batches({"closs": cells}, epochs=[i / 10 for i in range(100)]))
    edges = [0.0, 2.5, 10.0] if axis == "epoch" else [0.0, 25.0, 100.0]

    envelope = store.envelope("closs", edges, axis=axis)  # type: ignore[arg-type]

    assert envelope.high.tolist() == [24.0, 99.0]
    assert envelope.count.tolist() == [25, 75]


def test_an_unknown_metric_has_an_empty_envelope() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0]}))

    envelope = store.envelope("nobody", [0, 1, 2])

    assert np.isnan(envelope.high).all()
    assert envelope.flags.tolist() == [0, 0]

"""A second run under the charts: drawn below, aligned by step, and compared by its means."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vlamon.charts.test_chart import PLAIN, SIZE, WHOLE, block, picture
from vlamon.charts.baseline import Baseline, difference
from vlamon.charts.cells import BASELINE
from vlamon.charts.chart import Picture, plot_columns
from vlamon.charts.rows import text_of
from vlamon.charts.track import extent, stretches
from vlamon.charts.viewport import View, window
from vlamon.store import RunStore


def run(level: float, rows: int = 4_000, seed: int = 0, noise: float = 0.2) -> RunStore:
    store = RunStore()
    values = level + np.random.default_rng(seed).normal(0, noise, rows)
    store.apply(block(0, values.tolist()))
    return store


def drawn(
    chart: Picture,
    store: RunStore,
    other: RunStore | None,
    view: View = WHOLE,
    cursor_row: int | None = None,
) -> list[str]:
    shown = window(view, extent(store, view.axis), plot_columns(SIZE[0]))
    baseline = None if other is None else Baseline(other, "lr_half")
    parts = stretches(store, view.axis)
    chart.update(store, view, shown, parts, SIZE, PLAIN, cursor_row, baseline)
    return [text_of(row) for row in chart.rows]


def columns_in(chart: Picture, role: str) -> int:
    """Columns of cells in which something has a role's colour."""
    found = set()
    for row in chart.rows[1:-1]:
        column = 0
        for text, own in row:
            here = range(column, column + len(text))
            found |= {
                at for at, char in zip(here, text, strict=True) if own == role and char != " "
            }
            column += len(text)
    return len(found)


@pytest.mark.parametrize(("level", "says"), [(7.9, "Δ +7.6 %"), (9.1, "Δ −6.6 %")])
def test_the_title_says_how_far_the_means_are_apart(level: float, says: str) -> None:
    chart = picture()
    assert says in drawn(chart, run(8.5, noise=0.02), run(level, seed=1, noise=0.02))[0]
    role = "explode" if "+" in says else "ok"
    assert (f" {says}", role) in chart.rows[0], "closs is better where it is lower"


def test_runs_that_noise_alone_tells_apart_are_grey() -> None:
    apart = [
        difference(run(8.5, 1_500, seed), run(8.5, 1_500, seed + 1000), ["closs"])
        for seed in range(200)
    ]
    assert sum(one is not None and one.clear for one in apart) <= 20


def test_a_shorter_run_is_compared_over_the_steps_that_both_have() -> None:
    store = RunStore()
    store.apply(block(0, [8.0 - step / 1000 for step in range(4_000)]))
    same = RunStore()
    same.apply(block(0, [8.0 - step / 1000 for step in range(2_000)]))
    for one, other in ((store, same), (same, store)):
        found = difference(one, other, ["closs"])
        assert found is not None
        assert found.share == pytest.approx(0.0, abs=1e-6)


def test_runs_without_a_common_metric_or_step_are_not_compared() -> None:
    late = RunStore()
    late.apply(block(50_000, [8.0] * 100))
    assert difference(run(8.5), late, ["closs"]) is None
    assert difference(run(8.5), RunStore(), ["closs"]) is None
    assert difference(run(8.5), run(8.0), ["loss_ct"]) is None
    assert "Δ" not in drawn(picture(), run(8.5), late)[0]


def test_the_other_run_lies_under_this_one_and_leaves_no_trace_when_it_goes() -> None:
    chart, store = picture(), run(8.5)
    alone = drawn(chart, store, None)
    assert columns_in(chart, BASELINE) == 0
    drawn(chart, store, run(7.6, rows=2_000, seed=1))
    both = columns_in(chart, BASELINE)
    assert 18 <= both <= 28, "half as long a run is half as long a line"
    assert drawn(chart, store, None) == alone
    assert columns_in(chart, BASELINE) == 0


def test_a_run_gives_way_to_the_one_over_it_where_both_are_in_one_place() -> None:
    chart, store = picture(), run(8.5, noise=0.0)
    alone = drawn(chart, store, None)[1:]
    assert drawn(chart, store, run(8.5, noise=0.0))[1:] == alone
    assert columns_in(chart, BASELINE) == 0


def test_a_growing_baseline_is_drawn_again() -> None:
    chart, store, other = picture(), run(8.5), run(7.6, rows=1_000)
    drawn(chart, store, other)
    before = columns_in(chart, BASELINE)
    other.apply(block(1_000, [7.6] * 1_500))
    drawn(chart, store, other)
    assert columns_in(chart, BASELINE) > before + 5


def test_a_baseline_that_comes_late_is_drawn_like_one_that_was_there() -> None:
    late, early, store, other = picture(), picture(), run(8.5), RunStore()
    drawn(late, store, other)
    other.apply(block(0, [8.5 + step / 4_000 for step in range(4_000)]))
    drawn(late, store, other)
    drawn(early, store, other)
    assert late.rows == early.rows


def test_the_title_has_both_values_at_the_cursor() -> None:
    chart, store, other = picture(), run(8.5), RunStore()
    other.apply(block(0, [float(step % 10) for step in range(1_000)]))
    title = drawn(chart, store, other, View(cursor=17.0), cursor_row=17)[0]
    assert "at 17" in title
    assert "lr_half 7.000" in title
    assert "lr_half –" in drawn(chart, store, other, View(cursor=2e3), cursor_row=2_000)[0]

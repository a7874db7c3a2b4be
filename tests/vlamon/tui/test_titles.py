"""What stands above a chart: whose values, of which batch, and what gives way in a narrow one."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.vlamon.charts.test_chart import PLAIN, WHOLE, block, explosion, picture
from vlamon.charts.chart import Picture
from vlamon.charts.rows import cells, text_of
from vlamon.charts.track import extent
from vlamon.charts.trend import BLOCKS, fit_slope
from vlamon.charts.viewport import window
from vlamon.records import BatchBlock, Column
from vlamon.store import RunStore


def titled(chart: Picture, store: RunStore, width: int = 60, row: int | None = None) -> str:
    shown = window(WHOLE, extent(store, "step"), chart.plot_columns(width))
    chart.update(store, WHOLE, shown, (), (width, 10), PLAIN, cursor_row=row)
    return text_of(chart.rows[0])


def test_a_title_has_the_values_of_the_cursor_and_says_so() -> None:
    store = RunStore()
    store.apply(block(39_208, [8.5, 8.6, 95.2, 8.7]))
    chart = picture()
    assert " 8.700 " in titled(chart, store)
    at_cursor = titled(chart, store, row=2)
    assert at_cursor.startswith("╭ closs at 39,210  95.20 ─")
    assert " at " not in titled(chart, store)


def noisy(rows: int, change: float = 0.0, seed: int = 0) -> RunStore:
    """A run of noise around 8.5 that changes by a share of it from its first to its last row."""
    store = RunStore()
    noise = np.random.default_rng(seed).normal(0, 0.4, rows)
    store.apply(block(0, (8.5 * (1 + change * np.linspace(0, 1, rows)) + noise).tolist()))
    return store


def test_the_headline_is_the_mean_of_the_newest_batches_and_not_the_last_one() -> None:
    store = noisy(20_000)
    newest = store.values("closs", 19_800, 20_000).mean()
    found = titled(picture(), store, width=80)
    assert f"closs  {newest:.2f} " in found
    assert f"(batch {store.latest('closs'):.3f})" in found


def trend_span(store: RunStore, metric: str = "closs") -> tuple[str, str]:
    chart = Picture([metric], metric, ["closs"])
    titled(chart, store, width=80)
    return next((t.strip(), role) for t, role in chart.rows[0] if "%/" in t)


def test_a_trend_is_given_per_thousand_steps_with_its_error_in_the_colour_of_what_is_good() -> None:
    text, role = trend_span(noisy(50_000, -0.3))
    assert re.fullmatch(r"▾0\.[5-9]\d?±0\.\d+ %/1k", text), text
    assert role == "ok"
    text, role = trend_span(noisy(50_000, 0.3))
    assert text.startswith("▴0.")
    assert role == "explode"


def test_a_trend_within_its_error_is_flat_and_grey() -> None:
    text, role = trend_span(noisy(50_000))
    assert re.fullmatch(r"flat ±0\.\d+ %/1k", text), text
    assert role == "muted"


def test_a_trend_never_reaches_over_a_rollback() -> None:
    store = RunStore()
    store.apply(block(0, [20.0 + 0.001 * (n % 7) for n in range(5000)]))
    rng = np.random.default_rng(1)
    store.apply(block(4000, (8.0 + rng.normal(0, 0.1, 2000)).tolist(), attempt=1))
    assert trend_span(store)[0].startswith("flat")


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rows", [500, 3000])
def test_on_noise_without_a_trend_at_most_one_look_in_twenty_is_coloured(
    memory: float, rows: int
) -> None:
    rng = np.random.default_rng(7)
    looks, coloured = 600, 0
    for _ in range(looks):
        noise = rng.normal(0, 0.3, 400 + BLOCKS * (rows // BLOCKS))
        for n in range(1, len(noise)) if memory else ():
            noise[n] += memory * noise[n - 1]
        means = 8.5 + noise[400:].reshape(BLOCKS, -1).mean(axis=1)
        coloured += not fit_slope(np.arange(BLOCKS) * 10.0, means, np.ones(BLOCKS)).flat
    # Three standard errors of the share itself above 5 %.
    assert coloured / looks <= 0.05 + 3 * (0.05 * 0.95 / looks) ** 0.5


def test_the_error_is_about_two_standard_errors_of_the_slope() -> None:
    rng = np.random.default_rng(3)
    x = np.arange(BLOCKS) * 10.0
    found = [fit_slope(x, rng.normal(size=BLOCKS), np.ones(BLOCKS)) for _ in range(500)]
    spread = np.std([one.per_step for one in found])
    assert np.median([one.error for one in found]) == pytest.approx(2 * spread, rel=0.25)


def test_during_an_alert_the_title_says_how_bad_it_is() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [8.5, 8.6] * 100 + [95.2]))
    store.apply(explosion(200, 95.2))
    assert titled(chart, store).startswith("╭ closs  95.2 = 11× median ─")
    store.apply(block(201, [8.5] * 100))
    assert "median" not in titled(chart, store)


def test_a_constant_is_its_value_alone() -> None:
    store = RunStore()
    store.apply(block(0, [1e-4] * 2000))
    assert titled(picture(), store).startswith("╭ closs  1.0e−4 ─")


def test_a_value_that_the_batch_of_the_cursor_lacks_is_not_the_newest_one() -> None:
    store = RunStore()
    steps = np.arange(3)
    present = np.array([True, False, True])
    column = Column(np.array([0.1, 0.0, 0.3]), present)
    store.apply(BatchBlock(0, 0, steps, steps / 100.0, steps * 1.0, {"closs": column}))
    assert " – " in titled(picture(), store, row=1)


def slots(width: int, count: int = 5, row: int | None = None) -> str:
    names = [f"l1_loss_action_{slot}" for slot in range(5, 5 + count)]
    store = RunStore()
    steps = np.arange(9)
    columns = {name: Column(np.full(9, 0.4 + n / 100)) for n, name in enumerate(names)}
    store.apply(BatchBlock(0, 0, steps, steps / 100.0, steps * 1.0, columns))
    return titled(Picture(names, "l1_loss_action", ["l1"] * count), store, width, row)


def test_the_lines_of_a_chart_have_their_mean_in_the_title_and_all_values_at_the_cursor() -> None:
    assert slots(62).startswith("╭ l1_loss_action  mean .420 ─")
    assert "  5 0.4000 6 0.4100 7 0.4200 8 0.4300 9 0.4400 ─" in slots(80, row=2)


def test_labels_go_before_values_and_values_never_without_a_sign() -> None:
    assert " at 2  0.4000 0.4100 0.4200 0.4300 0.4400 ─" in slots(66, row=2)
    assert "  0.4000 0.4100 0.4200 … ─" in slots(52, row=2)
    for width in range(12, 90):
        assert cells(((slots(width), ""),)) == width
        assert cells(((slots(width, row=2), ""),)) == width


def test_a_long_name_leaves_room_for_its_value() -> None:
    store = RunStore()
    store.apply(block(0, [9.0, 8.5]))
    name = "model/decoder/layers/31/self_attention/query_key_norm/gain_rms_over_batch"
    chart = Picture(["closs"], name, ["closs"])
    assert titled(chart, store).startswith("╭ model/decoder/layer")
    assert titled(chart, store).endswith("ey_norm/gain_rms_over_batch  8.500 ──╮")


def test_a_loss_that_went_with_the_one_that_exploded_tells_how_far() -> None:
    store, chart, look = RunStore(), picture(), replace(PLAIN, band=True)
    store.apply(block(0, [8.5 + 0.1 * (step % 7) for step in range(400)]))
    shown = window(WHOLE, extent(store, "step"), chart.plot_columns(80))
    chart.update(store, WHOLE, shown, (), (80, 10), look)
    assert "median" not in text_of(chart.rows[0])
    store.apply(block(400, [198.8]))
    chart.update(store, WHOLE, shown, (), (80, 10), look)
    assert "closs  199 = 23× median ─" in text_of(chart.rows[0])
    assert ("explode bold") in {role for _, role in chart.rows[0]}


def test_a_setting_is_its_newest_value_and_no_mean() -> None:
    store, steps = RunStore(), np.arange(500)
    store.apply(BatchBlock(0, 0, steps, steps / 100, 1.7e9 + steps, {"lr": Column(steps * 1e-5)}))
    assert "lr  0.00499 ─" in titled(Picture(["lr"], "lr", ["lr"]), store)


def test_a_trend_that_may_be_anything_is_left_out() -> None:
    store = RunStore()
    values = 100 * np.exp(-np.arange(130) / 40) + np.random.default_rng(0).normal(0, 3, 130)
    store.apply(block(0, values.tolist()))
    assert "%" not in titled(Picture(["closs"], "closs", ["closs"]), store)

"""What stands above a chart: whose values, of which batch, and what gives way in a narrow one."""

from __future__ import annotations

import numpy as np

from tests.vlamon.charts.test_chart import PLAIN, WHOLE, block, picture
from vlamon.charts.chart import Picture, plot_columns
from vlamon.charts.rows import cells, text_of
from vlamon.charts.track import extent
from vlamon.charts.viewport import window
from vlamon.records import BatchBlock, Column
from vlamon.store import RunStore


def titled(chart: Picture, store: RunStore, width: int = 60, row: int | None = None) -> str:
    shown = window(WHOLE, extent(store, "step"), plot_columns(width))
    chart.update(store, WHOLE, shown, (), (width, 10), PLAIN, cursor_row=row)
    return text_of(chart.rows[0])


def test_a_title_has_the_values_of_the_cursor_and_says_so() -> None:
    store = RunStore()
    store.apply(block(39_208, [8.5, 8.6, 95.2, 8.7]))
    chart = picture()
    assert " 8.700 " in titled(chart, store)
    at_cursor = titled(chart, store, row=2)
    assert at_cursor.startswith("╭ closs at 39,210 ─")
    assert " 95.20 " in at_cursor
    assert "%" not in at_cursor
    assert " at " not in titled(chart, store)


def test_a_value_that_the_batch_of_the_cursor_lacks_is_not_the_newest_one() -> None:
    store = RunStore()
    steps = np.arange(3)
    present = np.array([True, False, True])
    column = Column(np.array([0.1, 0.0, 0.3]), present)
    store.apply(BatchBlock(0, 0, steps, steps / 100.0, steps * 1.0, {"closs": column}))
    assert " – " in titled(picture(), store, row=1)


def slots(width: int, count: int = 5) -> str:
    names = [f"l1_loss_action_{slot}" for slot in range(5, 5 + count)]
    store = RunStore()
    steps = np.arange(9)
    columns = {name: Column(np.full(9, 0.4 + n / 100)) for n, name in enumerate(names)}
    store.apply(BatchBlock(0, 0, steps, steps / 100.0, steps * 1.0, columns))
    return titled(Picture(names, "l1_loss_action", ["l1"] * count), store, width)


def test_the_lines_of_a_chart_are_told_apart_by_what_differs_in_their_names() -> None:
    assert " 5 0.4000 6 0.4100 7 0.4200 8 0.4300 9 0.4400 " in slots(80)


def test_labels_go_before_values_and_values_never_without_a_sign() -> None:
    assert "─ 0.4000 0.4100 0.4200 0.4300 0.4400 ─╮" in slots(62)
    assert "─ 0.4000 0.4100 0.4200 … ─╮" in slots(46)
    for width in range(12, 90):
        assert cells(((slots(width), ""),)) == width


def test_a_long_name_leaves_room_for_its_value() -> None:
    store = RunStore()
    store.apply(block(0, [9.0, 8.5]))
    name = "model/decoder/layers/31/self_attention/query_key_norm/gain_rms_over_batch"
    chart = Picture(["closs"], name, ["closs"])
    assert titled(chart, store).startswith("╭ model/decoder/layer")
    assert titled(chart, store).endswith("…ey_norm/gain_rms_over_batch ─ 8.500 ─╮")

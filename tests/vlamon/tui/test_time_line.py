"""The time line: marks of what happened, and labels that stay readable among them."""

from __future__ import annotations

import math
import re

import pytest

from tests.vlamon.charts.test_chart import block, draw, picture
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import View
from vlamon.records import Event
from vlamon.store import RunStore


def test_the_axis_keeps_its_labels_under_a_hail_of_warnings() -> None:
    store = RunStore()
    store.apply(block(0, [9.0] * 200))
    for step in range(0, 200, 2):
        store.apply(Event(f"w{step}", "warn", step, 0, 1.7e9))
    last = draw(picture(), store, size=(120, 10))[-1]
    assert " 50 " in last
    assert " 100 " in last
    assert "△" in last


def test_the_axis_keeps_its_labels_where_every_batch_is_nan() -> None:
    store = RunStore()
    store.apply(block(0, [math.nan] * 200))
    last = draw(picture(), store, size=(120, 10))[-1]
    assert " 50 " in last
    assert "✕" in last


@pytest.mark.parametrize(
    ("axis", "loud", "pattern"),
    [
        ("step", range(4, 30, 4), r"[ ─]\d+ "),
        ("step", range(1, 30), r"[ ─]\d+ "),
        ("time", range(0, 30, 3), r" \d\d:\d\d:\d\d "),
        ("since", range(1, 30, 2), r"\b\d+ s|─0 "),
    ],
)
def test_two_labels_stay_on_the_axis_of_a_young_run_with_many_marks(
    axis: Axis, loud: range, pattern: str
) -> None:
    store = RunStore()
    store.apply(block(0, [9.0] * 30))
    for step in loud:
        kind = ("explode", "rollback")[step // 4 % 2]
        store.apply(Event(f"e{step}", kind, step, 0, 1.7e9 + step * 0.5))
    last = draw(picture(), store, view=View(axis=axis))[-1]
    assert len(re.findall(pattern, last)) >= 2, last
    assert "▲" in last
    assert "↶" in last

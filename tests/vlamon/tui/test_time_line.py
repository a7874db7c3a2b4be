"""The time line: marks of what happened, and labels that stay readable among them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.vlamon.charts.test_chart import block, draw, picture
from vlamon.charts.marks import MARKS, RANKS, loudest
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
    assert "∅" in last


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
    assert "✗" in last
    assert "↶" in last


def test_an_explosion_and_its_rollback_are_both_seen_in_a_long_run() -> None:
    store = RunStore()
    store.apply(block(0, [9.0] * 40_000))
    for step, kind in ((30_000, "explode"), (30_000, "rollback"), (39_999, "explode")):
        store.apply(Event(f"{kind}{step}", kind, step, 0, 1.7e9))
    last = draw(picture(), store)[-1]
    assert "✗↶" in last
    assert last.count("✗") == 2


@pytest.mark.parametrize(
    ("cells", "kinds", "marks"),
    [
        ([2, 2], "xr", "  ✗↶ "),
        ([2, 2, 3, 3], "xrxr", "  ✗✗↶"),
        ([4, 4], "xr", "   ↶✗"),
        ([0, 2, 2], "rxr", "↶ ✗↶ "),
        ([2, 2, 3], "xrw", "  ✗↶ "),
    ],
)
def test_a_rollback_stands_beside_its_explosion(cells: list[int], kinds: str, marks: str) -> None:
    names = {"x": "explode", "r": "rollback", "w": "warn"}
    ranks = np.array([RANKS[names[kind]] for kind in kinds], dtype=np.uint8)
    found = loudest(np.array(cells), ranks, 5)
    assert "".join(MARKS[rank - 1].glyph if rank else " " for rank in found) == marks

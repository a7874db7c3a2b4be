"""What panels without room for everything show first: losses, and what an event names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.vlamon.tui.driving import rendering
from tests.vlamon.tui.fake_feed import EXPLOSION, NOW, WEIGHTS, block, info
from vlamon.analysis.liveness import Alive
from vlamon.charts.glyphs import UNICODE, event_glyph
from vlamon.charts.marks import RANKS, rank_of
from vlamon.charts.metric_order import leading_first
from vlamon.charts.rows import text_of
from vlamon.records import BatchBlock, Column, EpochRow, Event, Link
from vlamon.store import RunStore
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.widgets.inspector import InspectorPanel, value_cell, values_at
from vlamon.tui.widgets.numbers import NumbersPanel

EPOCHS = ("train_closs", "train_loss_ct", "val_ind_closs")
REFUSED = Event("r0", "rollback", 39_210, 0, NOW, "error", "there is no snapshot", {"ok": False})


def store(*events: Event) -> RunStore:
    """A run that sent its losses last, with an explosion and the means of its epochs."""
    found = RunStore()
    for record in (Link("live"), info(), _shuffled(block(0, 39_211, spike=39_210)), *events):
        found.apply(record)
    for epoch in range(29):
        means = {"closs": 3.0, "loss_ct": 0.2}
        found.apply(EpochRow(epoch, "train", means, step=epoch * 1312))
        found.apply(EpochRow(epoch, "val_ind", {"closs": 4.0}, step=epoch * 1312))
    return found


def _shuffled(made: BatchBlock) -> BatchBlock:
    columns = dict(reversed(made.columns.items()))
    columns["lr"] = Column(np.full(made.rows, 1e-4))
    return replace(made, columns={"lr": columns.pop("lr"), **columns})


def frame(held: RunStore, row: int | None = None) -> FrameContext:
    row = held.rows - 1 if row is None else row
    return FrameContext(held, NOW, Alive("live"), row=row, at_cursor=True)


def shown(held: RunStore, width: int, height: int, row: int | None = None) -> list[str]:
    rows = InspectorPanel("inspector", rendering()).rows(frame(held, row), width, height)
    return [text_of(line) for line in rows]


CROWD = [
    EXPLOSION,
    *(replace(EXPLOSION, id=f"a{n}", kind="autopsy", text=f"verdict {n}") for n in range(4)),
    REFUSED,
]


@pytest.mark.parametrize(("width", "height"), [(43, 7), (80, 5), (57, 8), (45, 30)])
def test_at_an_explosion_the_losses_are_read_beside_what_happened(width: int, height: int) -> None:
    page = "\n".join(shown(store(*CROWD), width, height))
    assert "95.20" in page
    for name in WEIGHTS:
        assert f"{name} " in page
    assert "rollback" in page


def test_the_unit_of_changes_is_named_whole_or_not_at_all() -> None:
    held = store()
    clock = "08:09:20"
    heads = [shown(held, width, 20)[1].strip("│ ") for width in range(46, 90)]
    after = [head.partition(clock)[2].strip() for head in heads if clock in head]
    assert [*dict.fromkeys(after)] == ["", "changes", "changes in usual changes"]


@pytest.mark.parametrize(("width", "height"), [(43, 7), (80, 5), (80, 8), (45, 30)])
def test_means_of_epochs_give_way_to_the_batchs_own_values(width: int, height: int) -> None:
    held = store()
    rows = shown(held, width, height, row=39_000)
    page = "\n".join(rows)
    assert all(f"{name} " in page for name in WEIGHTS)
    assert "train_closs" not in page or all(name in page for name in ("lr", "grad_norm"))


def test_what_an_event_names_comes_first() -> None:
    named = replace(EXPLOSION, data={**EXPLOSION.data, "metric": "grad_norm"})
    rows = shown(store(named), 43, 7)
    first = next(line for line in rows if any(name in line for name in (*WEIGHTS, "grad_norm  ")))
    assert "grad_norm" in first


def test_columns_are_filled_with_the_first_metrics_only() -> None:
    rows = shown(store(), 80, 6, row=39_000)
    assert "closs" in rows[2]
    assert "loss_ct" in rows[3]
    assert "more: v" in rows[4]


def test_losses_come_first_and_epochs_last_whatever_the_run_sends_first() -> None:
    held = store()
    found = leading_first(held, held.metrics)
    assert tuple(found[:3]) == tuple(WEIGHTS)
    assert set(found[-3:]) == set(EPOCHS)


@pytest.mark.parametrize("height", [2, 5, 12])
def test_the_smallest_form_has_losses_first_and_the_newest_alert_last(height: int) -> None:
    held = store(EXPLOSION, REFUSED)
    rows = [
        text_of(row) for row in NumbersPanel("numbers", rendering()).rows(frame(held), 50, height)
    ]
    assert len(rows) == height
    assert rows[0].startswith(" closs")
    assert "⚠ rollback there is no snapshot" in rows[-1]


def test_without_an_alert_every_row_is_a_metric() -> None:
    rows = NumbersPanel("numbers", rendering()).rows(frame(store()), 50, 6)
    assert [text_of(row).split()[0] for row in rows][:3] == list(WEIGHTS)
    assert len(rows) == 6


@pytest.mark.parametrize("told", [{"ok": True}, {}])
def test_a_rollback_that_did_not_happen_is_a_warning(told: dict[str, Any]) -> None:
    assert rank_of(REFUSED) == RANKS["warn"]
    assert event_glyph(REFUSED, UNICODE) == "⚠"
    done = replace(REFUSED, data=told)
    assert rank_of(done) == RANKS["rollback"]
    assert event_glyph(done, UNICODE) == "↶"


def test_a_change_is_reported_in_units_of_the_metrics_usual_change() -> None:
    run = RunStore()
    steps = np.arange(100, dtype=np.int64)
    values = np.where(steps % 2, 8.1, 8.0)
    values[99] = 8.5
    columns = {"closs": Column(values), "lr": Column(np.full(100, 1e-5))}
    run.apply(BatchBlock(0, 0, steps, steps / 10, steps + NOW, columns))
    row = value_cell("closs", values_at(run, 99, "closs"), 40, UNICODE)
    assert text_of(row).rstrip().endswith("▴5.0×")
    assert values_at(run, 99, "lr").usual == 0
    assert "×" not in text_of(value_cell("lr", values_at(run, 99, "lr"), 40, UNICODE))


def test_before_any_change_is_usual_a_change_is_reported_in_percent() -> None:
    run = RunStore()
    steps = np.arange(4, dtype=np.int64)
    columns = {"closs": Column(np.array([8.0, 8.0, 8.0, 8.4]))}
    run.apply(BatchBlock(0, 0, steps, steps / 10, steps + NOW, columns))
    row = value_cell("closs", values_at(run, 3, "closs"), 40, UNICODE)
    assert text_of(row).rstrip().endswith("+5.0%")

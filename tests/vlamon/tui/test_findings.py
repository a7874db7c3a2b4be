"""What the rules find on the run on screen, and that a failing rule leaves the screen alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.vlamon.tui.driving import page, running, until
from tests.vlamon.tui.fake_feed import block, fed, info
from vlamon.analysis import diagnosis
from vlamon.analysis.evidence import Evidence
from vlamon.detect.rules import SpikeRules
from vlamon.records import BatchBlock, Column, Event
from vlamon.store import RunStore
from vlamon.tui.findings import LookSchedule, look


def test_a_metric_that_stopped_before_the_newest_attempt_does_not_stop_the_rules() -> None:
    store = RunStore()
    store.apply(block(0, 50))
    both, one = ("closs", "pull_closs"), ("closs",)
    for first, rows, attempt, names in ((50, 100, 0, both), (150, 7, 0, one), (60, 100, 1, one)):
        steps = np.arange(first, first + rows)
        columns = {name: Column(np.full(rows, 0.5)) for name in names}
        store.apply(BatchBlock(0, attempt, steps, steps / 100, steps * 1.0, columns))

    assert all("rules failed" not in title for _, title, _ in found(store))


def test_a_rollback_on_screen_is_no_restart() -> None:
    store = RunStore()
    store.apply(block(0, 200))
    store.apply(Event("e1", "rollback", 199, 1, 1.7e9))
    store.apply(block(100, 200, attempt=1))
    assert all("restarted" not in title for _, title, _ in found(store))
    store.apply(block(300, 100, attempt=2))
    assert any("restarted" in title for _, title, _ in found(store))


def test_a_rule_that_fails_is_reported_and_the_screen_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(evidence: Evidence) -> None:
        raise ZeroDivisionError("no batches to divide by")

    monkeypatch.setattr(diagnosis, "diagnose", broken)
    store = RunStore()
    store.apply(block(0, 50))

    assert found(store) == (
        (
            "explode",
            "the rules failed on this run",
            "ZeroDivisionError: no batches to divide by",
        ),
    )


async def test_a_healthy_run_says_so_instead_of_an_empty_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagnosis, "diagnose", lambda evidence: [])
    async with running(fed(info(), block(0, 50))) as (pilot, _, _):
        await pilot.press("d")
        await until(pilot, lambda: "No problems were found." in page(pilot))


def found(store: RunStore) -> tuple[tuple[str, str, str], ...]:
    return look(store, threading.Lock(), LookSchedule(), SpikeRules())

"""What a reader adds shows on the screen: a metric, a diagnosis, a panel, a key.

Each test adds one by the files that docs/architecture.md names, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tests.vlamon.tui.driving import lines, page, running, until
from tests.vlamon.tui.fake_feed import fed, info, status
from vlamon import catalogue
from vlamon.analysis import diagnosis
from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis import english
from vlamon.analysis.diagnosis.finding import DiagnosisText as Said
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.catalogue import Entry, MetricText, entry
from vlamon.charts.rows import Row
from vlamon.commands.explain import command as explain
from vlamon.key_bindings import Key
from vlamon.records import BatchBlock, Column, Link
from vlamon.texts import en
from vlamon.tui import panels
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.navigation import Navigation
from vlamon.tui.notices import Notice
from vlamon.tui.panels import PANELS, PanelKind
from vlamon.tui.screen import MainScreen, bindings
from vlamon.tui.widgets.row_panel import RowPanel, framed


@pytest.fixture
def new_metric(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What `_FAMILIES` has after somebody added a row."""
    row = Entry("stiffness", "stiffness", scale="log", better="steady", typical=(1, 40), order=15)
    monkeypatch.setitem(catalogue._FAMILIES, "stiffness", row)
    entry.cache_clear()
    yield "stiffness"
    entry.cache_clear()


def batches(**metrics: float) -> BatchBlock:
    step = np.arange(300)
    columns = {name: Column(level + 0.01 * np.sin(step)) for name, level in metrics.items()}
    return BatchBlock(0, 0, step, step / 100, np.full(300, np.nan), columns)


async def test_a_metric_is_shown_by_a_row_and_explained_by_its_words(
    new_metric: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # In the order of names loss_ct would stand before it.
    feed = fed(Link("live"), info(), batches(loss_ct=0.1, stiffness=20.0, closs=8.0), status())
    async with running(feed, size=(80, 60)) as (pilot, screen, _):
        assert [chart.picture.metrics for chart in screen.placement.charts] == [
            ("closs",),
            ("stiffness",),
            ("loss_ct",),
        ]
        assert any(line.startswith("╭ stiffness  20.0 ") for line in lines(pilot)), page(pilot)
        await pilot.press("tab", "tab", "i")
        assert "The catalogue has no entry for stiffness" in page(pilot)
        await pilot.press("escape")

        monkeypatch.setitem(
            en.METRICS, "stiffness", MetricText("joints", "How hard the arm resists.")
        )
        await pilot.press("i")
        assert "Joints. How hard the arm resists." in page(pilot)
        assert "healthy between 1 and 40" in page(pilot)

    explain.main(["stiffness", "--lang", "zh"], standalone_mode=False)
    assert "How hard the arm resists." in capsys.readouterr().out, "Chinese falls back to English"


async def test_a_diagnosis_is_added_by_a_rule_and_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stuck(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
        return [Finding("stuck-joint", "warn", {"count": len(evidence.names)})]

    monkeypatch.setattr(diagnosis, "RULES", (*diagnosis.RULES, stuck))
    words = Said("a joint is stuck", "{count} metrics agree.", "Oil it.")
    monkeypatch.setitem(english.WORDS, "stuck-joint", words)
    feed = fed(Link("live"), info(), batches(closs=8.0, loss_ct=0.1), status(step=299))
    async with running(feed, size=(200, 60)) as (pilot, _, _feed):
        await pilot.press("d")
        await until(pilot, lambda: "a joint is stuck" in page(pilot))
        assert "2 metrics agree. Oil it." in page(pilot)


class RowsPanel(RowPanel):
    """What a file of one's own in widgets/ holds."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        body: list[Row] = [((f" {frame.store.rows} rows are held", "foreground"),)]
        return framed((("counted", "title"),), (), body, width, height, frame.glyphs)


async def test_a_panel_is_added_by_a_file_and_a_line(monkeypatch: Any) -> None:
    line = PanelKind("counted", RowsPanel, lower=True)
    monkeypatch.setattr(panels, "PANELS", (*PANELS, line))
    async with running() as (pilot, screen, _):
        for _ in panels.lower_panels():
            await pilot.press("b")
            if screen.placement.lower == "counted":
                break
        assert f"{screen.store.rows} rows are held" in page(pilot)


async def test_a_key_is_added_by_a_line_and_the_method_that_it_names(monkeypatch: Any) -> None:
    def middle(self: Navigation) -> None:
        self._host.say(Notice("the middle of the run"))

    monkeypatch.setattr(Navigation, "go_to_middle", middle, raising=False)
    line = Key("H", "H", "navigation.go_to_middle", "middle", "Go to the middle.", "Move")
    made = bindings((line,))
    async with running() as (pilot, screen, _):
        assert isinstance(screen, MainScreen)
        screen._bindings.bind("H", made[0].action)
        await pilot.press("H")
        assert "the middle of the run" in page(pilot)

"""Several runs: a list with what each does, and a screen for the one that is opened."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from textual.pilot import Pilot

from tests.vlamon.tui.driving import TERMINAL, lines, page, status_text, until
from tests.vlamon.tui.fake_feed import (
    EXPLOSION,
    FakeFeed,
    FrozenDashboard,
    block,
    fed,
    info,
    status,
    whole_run,
)
from vlamon import Emitter
from vlamon.analysis.liveness import Alive
from vlamon.charts.glyphs import UNICODE
from vlamon.charts.rows import text_of
from vlamon.commands import watch
from vlamon.commands.baseline import baseline_source
from vlamon.commands.watch import command, runs_in
from vlamon.records import Column, Link
from vlamon.sources import Source, SourceError, discovery
from vlamon.sources.feed import Feed
from vlamon.tui.options import Options
from vlamon.tui.runs import labels, run_row
from vlamon.tui.screen import MainScreen


def second() -> FakeFeed:
    named = info(run_id="r2", name="libero_spatial", host="node18")
    return fed(Link("live"), named, block(0, 1_201), status(step=1_200, attempt=0), EXPLOSION)


@asynccontextmanager
async def two_runs() -> AsyncIterator[tuple[Pilot[Any], FakeFeed, FakeFeed]]:
    first, other = fed(*whole_run()), second()
    app = FrozenDashboard(  # type: ignore[arg-type]
        first, Options(), others=(other,), environ=TERMINAL
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "R comes back here" in page(pilot))
        yield pilot, first, other


async def test_several_runs_are_listed_with_state_step_metric_and_alert() -> None:
    async with two_runs() as (pilot, _, other):
        assert other.started
        one, two = (line for line in lines(pilot)[10:30] if "● " in line)
        for words in ("libero_goal", "● training", "48,209", "closs", "explode at 39,210"):
            assert words in one
        for words in ("libero_spatial", "1,200", "explode at 39,210", "▁"):
            assert words in two


def test_an_alert_stands_apart_from_the_curve_behind_it() -> None:
    feed = fed(Link("live"), info(), block(0, 1_201), replace(EXPLOSION, step=1_234_567))
    row = run_row("a", feed.store, Alive("live"), UNICODE)
    alert, curve = (text for text, _ in row[-2:])
    assert alert.rstrip().endswith("explode at 1,234,567")
    assert alert.endswith(" ")
    assert "▁" in curve


def test_runs_of_one_name_are_called_as_the_user_named_them() -> None:
    feeds = [FakeFeed("seed1"), FakeFeed("seed2"), FakeFeed("node7:/tmp/vla.sock")]
    for feed, name in zip(feeds, ("train", "train", "other"), strict=True):
        feed.push(info(name=name))
    assert labels(feeds) == ["seed1", "seed2", "other"]


async def test_enter_opens_a_run_and_the_key_comes_back() -> None:
    async with two_runs() as (pilot, first, other):
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, MainScreen))
        screen = pilot.app.screen
        assert isinstance(screen, MainScreen)
        await until(pilot, lambda: "libero_spatial" in page(pilot))
        assert screen.store is other.store
        await pilot.press("c")
        assert [name for name, _ in other.sent] == ["checkpoint"]
        assert not first.sent, "a command goes to the run that is on screen"
        await pilot.press("R", "up", "enter")
        await until(pilot, lambda: "libero_goal" in page(pilot))


async def test_a_run_that_is_not_on_screen_goes_on() -> None:
    async with two_runs() as (pilot, first, _):
        await pilot.press("down", "enter")
        await until(pilot, lambda: "libero_spatial" in page(pilot))
        hidden = pilot.app.screen_stack[0]
        first.push(block(48_210, 100, attempt=1))
        assert pilot.app.screen_stack[0] is hidden
        await pilot.press("R", "up", "enter")
        await until(pilot, lambda: "libero_goal" in page(pilot))
        assert isinstance(pilot.app.screen, MainScreen)
        assert "48,309" in status_text(pilot.app.screen)


async def test_space_lays_a_run_under_the_charts_of_the_others_and_takes_it_away() -> None:
    async with two_runs() as (pilot, _, other):
        await pilot.press("down", "space")
        await until(pilot, lambda: "Δ libero_spatial lies under" in page(pilot))
        assert pilot.app.baseline is other  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(pilot, lambda: "R comes back" not in page(pilot))
        screen = pilot.app.screen
        assert isinstance(screen, MainScreen)
        title = text_of(screen.placement.charts[0].picture.rows[0])
        assert "Δ 0.00 %" in title, "over the steps of both, which are the same"
        assert "Δ to libero_spatial" in status_text(screen)
        await pilot.press("R", "down", "space", "escape")
        await until(pilot, lambda: "Δ" not in page(pilot))


async def test_a_baseline_that_grows_alone_is_drawn_within_a_second() -> None:
    first, other = fed(*whole_run()), second()
    app = FrozenDashboard(  # type: ignore[arg-type]
        first, Options(), baseline=other, environ=TERMINAL
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "Δ to libero_spatial" in page(pilot))
        assert "R comes back" not in page(pilot), "nobody asked for a list of runs"
        screen = app.screen
        assert isinstance(screen, MainScreen)
        chart = screen.placement.charts[0]
        curve = chart.picture.rows[1:]
        grown = block(1_201, 20_000)
        other.push(replace(grown, columns={"closs": Column(np.full(20_000, 9.5))}))
        await until(pilot, lambda: chart.picture.rows[1:] != curve)


def test_a_directory_of_runs_names_its_journals_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.vlaj").touch()
        os.utime(folder / "run.vlaj", (1000 - age, 1000 - age))
    (tmp_path / "no run").mkdir()
    assert runs_in(str(tmp_path)) == [str(tmp_path / "new"), str(tmp_path / "old")]
    assert runs_in(str(tmp_path / "new")) == [str(tmp_path / "new")]
    assert runs_in("no/such/place") == ["no/such/place"]


@pytest.mark.parametrize("option", ["--plain", "--json"])
@pytest.mark.parametrize(
    "second", [["--socket", "b"], ["--ssh", "node1:/b"], ["--job", "7"], ["b"]]
)
def test_lines_of_text_are_of_one_run(option: str, second: list[str]) -> None:
    found = CliRunner().invoke(command, ["--socket", "a", *second, option])
    assert found.exit_code == 2
    assert "show one run" in found.output


def test_lines_of_text_have_no_baseline() -> None:
    found = CliRunner().invoke(command, ["--baseline", "b", "--plain"])
    assert found.exit_code == 2
    assert "--baseline is drawn under charts" in found.output


def test_a_baseline_is_a_journal_a_run_directory_or_a_log(tmp_path: Path) -> None:
    with Emitter(None, run_dir=str(tmp_path / "a")) as emitter:
        emitter.log(0, closs=8.5)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f'{{"step": {step}, "closs": 8.5}}\n' for step in range(40)))
    for given in (tmp_path / "a", tmp_path / "a" / "run.vlaj", log):
        source = baseline_source(str(given), "screen")
        assert source is not None
        feed = Feed(source)
        feed.start()
        try:
            end = time.monotonic() + 20
            while not feed.store.rows and time.monotonic() < end:
                time.sleep(0.01)
            assert feed.store.latest("closs") == 8.5
        finally:
            feed.close()


def test_a_baseline_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no/such/run"):
        baseline_source("no/such/run", "screen")


def test_without_a_name_every_training_that_serves_is_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(discovery, "TEMPORARY", f"{tmp_path}/vla*.sock")
    shown: list[Sequence[str]] = []

    def note(source: Source, mode: str, options: Options, others: Any, *more: Any) -> int:
        shown.append(more[-1])
        for one in (source, *others):
            one.close()
        return 0

    monkeypatch.setattr(watch, "present", note)
    monkeypatch.setattr(watch, "mode_for", lambda **_: "screen")
    paths = [f"{tmp_path}/vla-{name}.sock" for name in ("a", "b")]
    with Emitter(paths[0]), Emitter(paths[1]):
        assert CliRunner().invoke(command, []).exit_code == 0
        assert sorted(shown[-1]) == paths
        found = CliRunner().invoke(command, ["--auto-rollback"])
        assert isinstance(found.exception, discovery.SeveralTrainers)


def test_a_run_that_cannot_be_opened_says_why_in_the_list() -> None:
    text = "ssh node7: vlamon: command not found; install vlamon there"
    row = run_row("node7:/b", fed().store, Alive("failed", text), UNICODE)
    assert text_of(row).endswith(text)

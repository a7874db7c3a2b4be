"""Repeats are one line, and a filter leaves what matters."""

from __future__ import annotations

from dataclasses import replace

from tests.vlamon.tui.driving import page, running
from tests.vlamon.tui.fake_feed import EXPLOSION, NOW, ROLLBACK, block, fed, info
from vlamon.records import Event, Link
from vlamon.tui.event_list import fold, folded_sentence

WARNINGS = [
    Event(f"w{n}", "warn", 1000 + n, 0, NOW, "warn", "", {"metric": "grad_norm", "ratio": ratio})
    for n, ratio in enumerate((2.0, 4.1, 3.0))
]


def test_warnings_of_one_metric_in_a_row_are_one_line_with_the_worst() -> None:
    (line,) = fold(WARNINGS)
    assert folded_sentence(line) == "grad_norm ×3, worst 4.1× median at 1,001"


def test_explosions_are_never_folded_and_another_metric_begins_a_line() -> None:
    other = replace(WARNINGS[0], id="x", data={"metric": "closs"})
    again = replace(EXPLOSION, id="e9")
    assert [len(line.events) for line in fold([*WARNINGS, other, EXPLOSION, again])] == [3, 1, 1, 1]


def test_filters_leave_warnings_and_errors() -> None:
    events = [*WARNINGS, EXPLOSION, ROLLBACK]
    assert len(fold(events, "all")) == 3
    assert [line.newest.kind for line in fold(events, "warn")] == ["warn", "explode"]
    assert [line.newest.kind for line in fold(events, "error")] == ["explode"]


async def test_capital_e_filters_what_is_listed_and_gone_through() -> None:
    feed = fed(Link("live"), info(), block(0, 2000), *WARNINGS, ROLLBACK)
    async with running(feed) as (pilot, screen, _):
        assert "grad_norm ×3, worst 4.1× median at 1,001" in page(pilot)
        await pilot.press("E")
        assert "rollback" not in page(pilot).split("events")[1].split("help")[0]
        await pilot.press("n")
        assert screen.navigation.event_id == "w2"

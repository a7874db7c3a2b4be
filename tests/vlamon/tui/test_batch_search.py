"""Going to a step, to the worst batches, and comparing two places of a run."""

from __future__ import annotations

from tests.vlamon.tui.driving import page, running, status_text, until
from vlamon.tui.dialogs.prompt import Prompt


async def test_g_goes_to_a_step_and_refuses_what_is_none() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("g")
        await until(pilot, lambda: isinstance(pilot.app.screen, Prompt))
        await pilot.press(*"abc", "enter")
        await until(pilot, lambda: "a step is a whole number" in page(pilot))
        assert "Enter goes there" in page(pilot)
        await pilot.press("backspace", "backspace", "backspace", *"12,345", "enter")
        await until(pilot, lambda: screen.navigation.cursor_row() == 12_345)


async def test_w_goes_to_the_worst_batch_first_and_capital_w_back() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("w")
        first = screen.navigation.cursor_row()
        assert screen.store.value("closs", first or 0) == screen.store.value("closs", 39_210)
        assert "worst batch 1 of" in status_text(screen)
        await pilot.press("w")
        assert screen.navigation.cursor_row() != first
        await pilot.press("W")
        assert screen.navigation.cursor_row() == first


async def test_capital_m_compares_the_means_around_two_batches() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("home", "M")
        assert "marked 0" in status_text(screen)
        await pilot.press("end", "M")
        assert "closs at 0: 13.3" in status_text(screen)
        assert "Δ -4.9" in status_text(screen)

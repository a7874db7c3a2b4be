"""A run from afar: its newest rows are on screen, and older ones come in front of them."""

from __future__ import annotations

from tests.vlamon.tui.driving import lines, page, running, until
from tests.vlamon.tui.fake_feed import FakeFeed, block, fed, info
from vlamon.store import RunStore


def put_before(feed: FakeFeed, first: int, rows: int) -> None:
    """What the feed does with a window of older rows."""
    older = RunStore()
    older.apply(block(first, rows))
    older.append_batches_of(feed.store)
    with feed.lock:
        feed.store.take_batches_of(older)
    assert feed.on_change is not None
    feed.on_change()


async def test_the_cursor_stays_at_its_batch_while_older_rows_come_in_front_of_it() -> None:
    async with running(fed(info(), block(9000, 1000))) as (pilot, screen, feed):
        await pilot.press("left", "left", "left")
        row = screen.navigation.cursor_row()
        assert row is not None
        step = int(feed.store.steps(row, row + 1)[0])
        for first, rows in ((7000, 2000), (3000, 4000), (0, 3000)):
            put_before(feed, first, rows)
            await pilot.press("left", "right", "z", "Z", "M", "M", "w", "escape", "f")
        await pilot.pause()
        assert feed.store.rows == 10_000
        screen.navigation.put_cursor(step)
        row = screen.navigation.cursor_row()
        assert row is not None
        assert int(feed.store.steps(row, row + 1)[0]) == step == row
        await pilot.press("escape", "0")
        await until(pilot, lambda: "0 ──" in page(pilot) and "10k ╯" in page(pilot))
        assert any("closs" in line for line in lines(pilot))

"""The thread between a source and the screen."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tests.vlamon.store.blocks import batches
from vlamon.protocol.commands import Command
from vlamon.records import Link, Record
from vlamon.sources import SourceError
from vlamon.sources.feed import Feed

PATIENCE = 60.0


class Scripted:
    """A source that gives what it was told, then fails, ends or waits."""

    def __init__(self, *batches_of: Sequence[Record], then: Exception | None = None) -> None:
        self._left = list(batches_of)
        self._then = then
        self.closed = threading.Event()
        self.orders: list[Command] = []
        self.endless = False

    @property
    def finished(self) -> bool:
        return not self._left and not self.endless

    def read(self, timeout: float) -> Sequence[Record]:
        if self._left:
            return self._left.pop(0)
        if self._then is not None:
            raise self._then
        self.closed.wait(timeout)
        return []

    def send(self, command: Command) -> None:
        self.orders.append(command)

    def close(self) -> None:
        self.closed.set()


def test_records_reach_the_store_and_the_view_is_notified() -> None:
    feed = Feed(Scripted([batches({"closs": [1.0]})], [batches({"closs": [2.0]}, first_step=1)]))
    told: list[int] = []
    feed.on_change = lambda: told.append(feed.store.version)
    feed.start()

    assert feed.wait(PATIENCE)
    assert feed.store.rows == 2
    assert told[0] == 1
    assert told[-1] == 2
    feed.close()


def test_the_lock_is_held_while_records_are_applied_and_not_while_the_view_is_notified() -> None:
    feed = Feed(Scripted([batches({"closs": [1.0]})]))
    free = []

    def told() -> None:
        taken = threading.Event()

        def take() -> None:
            with feed.lock:
                taken.set()

        threading.Thread(target=take, daemon=True).start()
        free.append(taken.wait(PATIENCE))

    feed.on_change = told
    with feed.lock:
        feed.start()
        assert not feed.wait(0.2)
        assert feed.store.rows == 0
    assert feed.wait(PATIENCE)
    assert all(free)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SourceError("x.txt cannot be read: Permission denied."), "cannot be read"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError while reading"),
    ],
)
def test_a_source_that_breaks_ends_as_a_sentence(error: Exception, sentence: str) -> None:
    feed = Feed(Scripted([batches({"closs": [1.0]})], then=error))
    feed.start()

    assert feed.wait(PATIENCE)
    assert feed.store.rows == 1
    assert isinstance(feed.store.link, Link)
    assert feed.store.link.state == "failed"
    assert sentence in feed.store.link.text


def test_a_command_goes_to_the_source_and_its_id_comes_back() -> None:
    source = Scripted()
    feed = Feed(source)

    order = feed.send("set", name="lr_scale", value=0.5)

    (command,) = source.orders
    assert command == Command(order, "set", {"name": "lr_scale", "value": 0.5})


def test_closing_twice_ends_the_thread_and_the_source() -> None:
    source = Scripted()
    source.endless = True
    feed = Feed(source)
    feed.start()

    feed.close()
    feed.close()

    assert feed.finished
    assert source.closed.is_set()

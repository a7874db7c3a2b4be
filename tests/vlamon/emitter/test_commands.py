"""Orders: taken once, answered when executed, refused with a reason."""

from __future__ import annotations

from vlamon.emitter.commands import ENDED, NO_CONTROL, READ_ONLY, WAITING, OrderDesk
from vlamon.protocol.address import Peer
from vlamon.records import Command, Reply

ME = Peer(pid=10, uid=1000)


def desk(serving: bool = True, read_only: bool = False) -> OrderDesk:
    made = OrderDesk(owner=1000, read_only=read_only)
    made.serving = serving
    return made


def test_the_same_id_is_executed_once_and_answered_as_often_as_asked() -> None:
    orders, told = desk(), []
    for _ in range(3):
        orders.take(Command("a", "checkpoint"), ME, told.append)
    assert len(orders.inbox) == 1
    assert told == []
    done = Reply("a", True, {"step": 4})
    orders.answer(done)
    assert told == [done] * 3
    orders.take(Command("a", "checkpoint"), ME, told.append)
    assert told == [done] * 4
    assert len(orders.inbox) == 1


def test_two_watchers_answer_one_explosion_with_one_order() -> None:
    orders, told = desk(), []
    for identity in ("from-1", "from-2"):
        orders.take(Command(identity, "rollback", {"event": "e-7"}), ME, told.append)
    assert len(orders.inbox) == 1
    orders.answer(Reply("from-1", True, {"step": 4}))
    assert [(reply.id, reply.ok) for reply in told] == [("from-1", True), ("from-2", True)]
    orders.take(Command("from-3", "rollback", {"event": "e-7"}), ME, told.append)
    assert told[-1] == Reply("from-3", True, {"step": 4})
    orders.take(Command("other", "rollback", {"event": "e-8"}), ME, told.append)
    assert len(orders.inbox) == 2


def test_refusals_say_why() -> None:
    told: list[Reply] = []
    desk(serving=False).take(Command("a", "pause"), ME, told.append)
    desk(read_only=True).take(Command("b", "pause"), ME, told.append)
    desk().take(Command("c", "pause"), Peer(pid=1, uid=1001), told.append)
    assert [reply.error for reply in told[:2]] == [NO_CONTROL, READ_ONLY]
    assert "not uid 1001" in told[2].error
    assert not any(reply.ok for reply in told)


def test_root_may_order() -> None:
    orders = desk()
    orders.take(Command("a", "pause"), Peer(pid=1, uid=0), lambda reply: None)
    assert len(orders.inbox) == 1


def test_a_flood_of_orders_is_bounded() -> None:
    orders, told = desk(), []
    for number in range(WAITING + 5):
        orders.take(Command(str(number), "note"), ME, told.append)
    assert len(orders.inbox) == WAITING
    assert len(told) == 5


def test_what_still_waits_at_the_end_is_refused() -> None:
    orders, told = desk(), []
    orders.take(Command("a", "pause"), ME, told.append)
    orders.close()
    assert told == [Reply("a", False, error=ENDED)]

"""Every command is carried out or refused with a reason, and none ends the training."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from tests.vlamon.guard.toy import Order, Toy

NAMES = ("rollback", "set", "pause", "checkpoint", "note", "resume", "act", "", "explode", None, 7)
VALUES: tuple[Any, ...] = (
    math.inf, -math.inf, math.nan, 10**400, -(10**400), 1 << 63, 2.7, -1, True, "", "inf", "1e999",
    "9" * 5000, b"\xff", None, [], ["x"], {}, {"to": 1}, "\ud800", "auto", "skip",
)  # fmt: skip
KEYS = ("to", "data", "event", "name", "value", "text")


class Twice(Order):
    """Remembers how often it was answered."""

    answers = 0

    def done(self, result: Any = None) -> None:
        self.answers += 1
        super().done(result)

    def refuse(self, reason: str) -> None:
        self.answers += 1
        super().refuse(reason)


@pytest.mark.parametrize("name", NAMES)
def test_no_arguments_of_any_order_end_the_training(name: Any) -> None:
    toy = Toy(budget=0)
    orders = [Twice(name, {key: value}) for key, value in itertools.product(KEYS, VALUES)]
    settings = ("guard", "lr_scale")
    orders += [Twice(name, {"name": s, "value": v}) for s in settings for v in VALUES]
    orders += [Twice(name, args) for args in (None, [], "text", 3)]  # type: ignore[arg-type]
    waiting = iter(orders)
    end = Order("stop")

    def following() -> list[Order]:
        # A pause would wait for ever: everything is resumed behind each order.
        found = next(waiting, None)
        return [end] if found is None else [found, Order("resume")]

    toy.emitter.commands = lambda: following() if not end.result else []  # type: ignore[method-assign]
    toy.run(10**6)
    assert toy.guard.stopped
    assert {order.answers for order in orders} == {1}
    assert all(order.error or order.result is not None for order in orders)


def test_a_rollback_to_infinity_is_refused_with_a_sentence() -> None:
    order = Order("rollback", {"to": math.inf})
    Toy().run(5, {2: [order]})
    assert "rollback to inf: a step is a whole number" in order.error


def test_a_command_that_fails_half_way_is_refused_and_reported() -> None:
    toy = Toy()
    order = Order("checkpoint")

    def broken(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    toy.guard.snapshots.checkpoints.save = broken  # type: ignore[method-assign]
    assert toy.run(10, {5: [order]}) == 10
    assert order.error == "checkpoint failed: RuntimeError: the disk is on fire"
    ((_, told),) = toy.emitter.kinds("note")
    assert "the disk is on fire" in told["text"]


def test_a_refused_order_does_not_answer_the_explosion_it_names() -> None:
    toy = Toy(mode="off")
    wrong = Order("rollback", {"event": "boot-7", "to": "soon"})
    right = Order("rollback", {"event": "boot-7"})
    toy.run(160, {150: [wrong], 155: [right]})
    assert wrong.error
    assert right.result is not None

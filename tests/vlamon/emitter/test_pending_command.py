"""Whoever gives an order hears what became of it, whatever the script answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlamon.emitter.commands import Order
from vlamon.emitter.pending_command import PendingCommand
from vlamon.protocol.address import Peer
from vlamon.records import Command, Reply


class Speechless:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def pending() -> tuple[PendingCommand, list[Reply], list[str]]:
    replies: list[Reply] = []
    swallowed: list[str] = []
    order = Order(Command("c1", "note", {}), Peer(1, 2))
    return (
        PendingCommand(order, lambda _, reply: replies.append(reply), swallowed.append),
        (replies),
        swallowed,
    )


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, {}),
        ({"step": 3}, {"step": 3}),
        (3.5, {"result": 3.5}),
        (0, {"result": 0}),
        ("runs/a/step-3", {"result": "runs/a/step-3"}),
        (True, {"result": True}),
        ([1, 2], {"result": [1, 2]}),
        (np.float32(0.5), {"result": 0.5}),
        (Path("runs/a"), {"result": "runs/a"}),
    ],
)
def test_any_result_is_an_answer(result: object, told: dict[str, object]) -> None:
    command, replies, swallowed = pending()
    command.done(result)
    assert replies == [Reply("c1", True, result=told)]
    assert swallowed == []


def test_a_result_that_cannot_be_told_leaves_no_order_without_an_answer() -> None:
    command, replies, swallowed = pending()
    command.done(Speechless())
    command.done("too late")
    assert replies == [Reply("c1", True)]
    assert swallowed == ["done failed: RuntimeError: no words"]


def test_a_reason_that_cannot_be_told_is_a_refusal_all_the_same() -> None:
    command, replies, _ = pending()
    command.refuse(Speechless())  # type: ignore[arg-type]
    assert replies == [Reply("c1", False, error="no reason given")]

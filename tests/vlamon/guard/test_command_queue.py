"""Commands become numbers that every rank turns back into the same arguments."""

from __future__ import annotations

from typing import Any

import pytest

from vlamon.guard.command_queue import NUMBERS, AgreedCommand, CommandCode, CommandQueue
from vlamon.protocol.commands import COMMANDS, SETTINGS, CommandError, checked

QUEUE = CommandQueue({"clip_grad": float, "loss_ct": float})


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("rollback", {}),
        ("rollback", {"to": 0}),
        ("rollback", {"to": 5050, "exact": True, "data": "replay"}),
        ("rollback", {"to": 7, "exact": False, "data": "default"}),
        ("set", {"name": "guard", "value": "off"}),
        ("set", {"name": "lr_scale", "value": 0.25}),
        ("set", {"name": "clip_grad", "value": 1e-6}),
        ("set", {"name": "loss_ct", "value": 0.0}),
        ("checkpoint", {}),
        ("stop", {}),
    ],
)
def test_what_travels_comes_back_as_it_was_given(name: str, args: dict[str, Any]) -> None:
    numbers = QUEUE.code(name, checked(name, args)).numbers()
    assert len(numbers) == NUMBERS
    code = CommandCode.of(numbers)
    assert code is not None
    assert code.name == name
    assert QUEUE.arguments(code) == args


def test_texts_stay_on_rank_zero() -> None:
    given = checked("rollback", {"to": 3, "event": "boot-7", "reason": "it burns"})
    assert QUEUE.arguments(QUEUE.code("rollback", given)) == {"to": 3}


def test_no_command_is_a_row_of_zeros() -> None:
    assert CommandCode.of([0.0] * NUMBERS) is None


def test_every_choice_and_mode_of_the_table_travels() -> None:
    for spec in COMMANDS.values():
        for argument in spec.arguments:
            for choice in argument.choices:
                args = {argument.name: choice}
                assert QUEUE.arguments(QUEUE.code(spec.name, args)) == args
    for mode in SETTINGS["guard"].choices:
        args = {"name": "guard", "value": mode}
        assert QUEUE.arguments(QUEUE.code("set", args)) == args


def test_a_name_that_the_script_does_not_declare_is_refused_with_those_there_are() -> None:
    with pytest.raises(CommandError, match="guard, lr_scale, clip_grad, loss_ct"):
        QUEUE.code("set", {"name": "z_loss", "value": 1.0})


class Given:
    """A command as the emitter hands it out."""

    def __init__(self, name: str, **args: Any) -> None:
        self.name, self.args = name, args
        self.answers: list[Any] = []

    def done(self, result: Any = None) -> None:
        self.answers.append(result)

    def refuse(self, reason: str) -> None:
        self.answers.append(reason)


def test_commands_wait_in_order_and_each_is_answered_once() -> None:
    queue = CommandQueue({})
    notes: list[str] = []
    stop, note, wrong, save = (
        Given("stop"),
        Given("note", text="x"),
        Given("x"),
        Given("checkpoint"),
    )
    given: Any = [stop, note, wrong, save]
    queue.take_in(given, lambda text, args: notes.append(text))
    assert (notes, note.answers) == (["x"], [{"noted": True}])
    assert len(wrong.answers) == 1
    assert not stop.answers
    first, second = queue.next(), queue.next()
    assert first is not None
    assert second is not None
    assert (first.code.name, second.code.name) == ("stop", "checkpoint")
    assert queue.next() is None
    first.done({"step": 3})
    second.refuse("no room")
    assert (stop.answers, save.answers) == ([{"step": 3}], ["no room"])
    AgreedCommand(first.code).done()  # on the other ranks nobody is answered

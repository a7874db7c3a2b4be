"""`vlamon ctl …`: orders, executed by the training at a step boundary and answered."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

import click

from vlamon.commands.talking import DONE, REFUSED, Talk, TimedOut
from vlamon.errors import VlamonError
from vlamon.records import Command, Record, Reply
from vlamon.safe_text import line

PATIENCE = 60.0
"""Seconds for an answer: an order waits for the end of the step, and a step may be long."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all orders have in common."""

    socket: str | None
    timeout: float
    as_json: bool


OPTIONS = (
    click.option("--socket", metavar="PATH", help="The training's socket; else looked for."),
    click.option("--timeout", type=float, help=f"Seconds to wait for it.  [default: {PATIENCE:g}]"),
    click.option("--json", "as_json", is_flag=True, help="Print the answer as a JSON object."),
)


def at_desk(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every order, before its name or behind it; the later one counts."""

    def seated(
        ctx: click.Context,
        /,
        socket: str | None,
        timeout: float | None,
        as_json: bool,
        **args: Any,
    ) -> Any:
        if timeout is not None and not timeout > 0:
            raise click.UsageError(f"--timeout must be above 0, not {timeout:g}")
        outer = ctx.obj or Desk(None, PATIENCE, False)
        ctx.obj = Desk(
            outer.socket if socket is None else socket,
            outer.timeout if timeout is None else timeout,
            outer.as_json or as_json,
        )
        return function(ctx.obj, **args)

    order: Callable[..., Any] = update_wrapper(click.pass_context(seated), function)
    for option in reversed(OPTIONS):
        order = option(order)
    return order


@click.group()
@at_desk
def command(desk: Desk) -> None:
    """Order something from a training and wait until it is done.

    Exit codes: 0 done, 1 refused, 2 usage, 3 no trainer, 4 no answer in time.
    """


@command.command()
@at_desk
def checkpoint(desk: Desk) -> int:
    """Write a checkpoint now."""
    return order(desk, "checkpoint")


@command.command()
@click.option("--to", type=click.IntRange(min=0), metavar="STEP", help="Snapshot to go back to.")
@at_desk
def rollback(desk: Desk, to: int | None) -> int:
    """Go back to a snapshot, the newest trusted one unless told otherwise."""
    return order(desk, "rollback", **({} if to is None else {"to": to}))


@command.command()
@at_desk
def pause(desk: Desk) -> int:
    """Stop at the next step boundary and wait."""
    return order(desk, "pause")


@command.command()
@at_desk
def resume(desk: Desk) -> int:
    """Go on after a pause."""
    return order(desk, "resume")


@command.command()
@at_desk
def stop(desk: Desk) -> int:
    """End the training after this step, with a checkpoint where it can write one."""
    return order(desk, "stop")


@command.command(name="set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value")
@at_desk
def set_value(desk: Desk, name: str, value: str) -> int:
    """Set a value: lr_scale, clip_grad, guard (auto, ask, watch, off) or the weight of a loss."""
    return order(desk, "set", name=name, value=typed(value))


@command.command()
@click.argument("text", nargs=-1, required=True)
@at_desk
def note(desk: Desk, text: tuple[str, ...]) -> int:
    """Put a note at this step."""
    return order(desk, "note", text=" ".join(text))


def order(desk: Desk, name: str, /, **args: Any) -> int:
    """Give the order, wait for the answer, print it; returns the exit code."""
    try:
        return _ordered(desk, name, args)
    except VlamonError as error:
        if desk.as_json:  # a script reads stdout, whatever became of its order
            _print(name, Reply("", False, error=str(error)))
        raise


def _ordered(desk: Desk, name: str, args: Mapping[str, Any]) -> int:
    with Talk(desk.socket) as talk:
        info = talk.greet(desk.timeout)
        if not info.control:
            refusal = f"{info.name} takes no commands: its script never calls emitter.commands()"
            return _answer(desk, name, Reply("", False, error=refusal))
        given = Command(id=uuid.uuid4().hex, name=name, args=args)
        talk.source.send(given)

        def ours(record: Record) -> Reply | None:
            return record if isinstance(record, Reply) and record.id == given.id else None

        reply = talk.wait(ours, desk.timeout)
    if reply is None:
        raise TimedOut(
            f"{info.name} did not answer the order {name!r} in {desk.timeout:g} s; "
            "it is still executed if the training comes to a step boundary."
        )
    return _answer(desk, name, reply)


def typed(value: str) -> float | int | bool | str:
    """A number where the word is one, true or false, else the word itself."""
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return value


def _print(name: str, reply: Reply) -> None:
    from vlamon.views.json_lines import json_bytes

    answer = {"ok": reply.ok, "order": name, "result": dict(reply.result), "error": reply.error}
    click.echo(json_bytes(answer).decode(), nl=False)


def _answer(desk: Desk, name: str, reply: Reply) -> int:
    if desk.as_json:
        _print(name, reply)
    elif reply.ok:
        details = ", ".join(f"{key} {value}" for key, value in reply.result.items())
        click.echo(line(f"{name} done" + (f": {details}" if details else "")))
    else:
        refusal = f"vlamon: {name} was refused: {reply.error}.".replace("..", ".")
        click.echo(line(refusal), err=True)
    return DONE if reply.ok else REFUSED

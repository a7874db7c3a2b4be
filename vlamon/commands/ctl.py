"""`vlamon ctl …`: commands, executed by the training at a step boundary and answered.

The subcommands, their options and help are made from `vlamon.protocol.commands.COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import click

from vlamon.errors import VlamonError
from vlamon.protocol.commands import COMMANDS, Command, CommandError, CommandSpec, make
from vlamon.records import Reply
from vlamon.safe_text import line
from vlamon.sources.brief_connection import DONE, REFUSED, BriefConnection, TimedOut

ANSWER = 60.0
"""Seconds for an answer: a command waits for the end of the step, and a step may be long."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The options that all subcommands share."""

    socket: str | None = None
    ssh: str | None = None
    job: str | None = None
    timeout: float = ANSWER
    as_json: bool = False


def shared_options(*, command: bool) -> list[click.Parameter]:
    """The options of every command, before or after its name; the later one counts."""
    options: list[click.Parameter] = [
        click.Option(["--socket"], metavar="PATH", help="The training's socket; else looked for."),
        click.Option(
            ["--ssh"], metavar="HOST:SOCKET", help="A socket on another machine, through ssh."
        ),
        click.Option(["--job"], metavar="ID", help="The training of a cluster's job."),
        click.Option(
            ["--timeout"], type=float, help=f"Seconds to wait for it.  [default: {ANSWER:g}]"
        ),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="Print the answer as a JSON object."
        ),
    ]
    if command:
        options.append(
            click.Option(["--reason"], metavar="TEXT", help="Recorded with the command.")
        )
    return options


def _shared(ctx: click.Context, options: dict[str, Any]) -> Shared:
    """The shared options before and after the subcommand's name; removes them from `options`."""
    given = {option.name: options.pop(option.name) for option in fields(Shared)}
    timeout = given["timeout"]
    if timeout is not None and not timeout > 0:
        raise click.UsageError(f"--timeout must be above 0, not {timeout:g}")
    outer: Shared = ctx.obj or Shared()
    named = {name: value for name, value in given.items() if value not in (None, False)}
    ctx.obj = shared = replace(outer, **named)
    return shared


@click.group()
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Send a training a command and wait until it is done.

    Exit codes: 0 done, 1 refused, 2 usage, 3 no trainer, 4 no answer in time.
    """
    _shared(ctx, options)


command.params.extend(shared_options(command=False))

_SHOWN: dict[str, tuple[str, ...]] = {"rollback": ("to", "data")}
"""Optional arguments that have an option; the others are for programs."""


def _click_command(spec: CommandSpec) -> click.Command:
    """The subcommand of one row of the table."""
    params: list[click.Parameter] = []
    for argument in spec.arguments:
        if argument.required:
            words = -1 if argument.name == "text" else 1
            params.append(click.Argument([argument.name], nargs=words, required=True))
        elif argument.name in _SHOWN.get(spec.name, ()):
            shown = "|".join(argument.choices) if argument.choices else argument.kind.upper()
            about = f"{argument.help[0].upper()}{argument.help[1:]}."
            params.append(click.Option([f"--{argument.name}"], metavar=shown, help=about))
    ctx_settings = {"ignore_unknown_options": spec.name == "set"}  # a weight of -1 is not an option
    return click.Command(
        spec.name,
        callback=_callback(spec),
        params=[*params, *shared_options(command=True)],
        help=spec.help,
        context_settings=ctx_settings,
    )


def _callback(spec: CommandSpec) -> Callable[..., int]:
    @click.pass_context
    def run(ctx: click.Context, /, **options: Any) -> int:
        shared = _shared(ctx, options)
        words = {
            key: " ".join(value) if isinstance(value, tuple) else value
            for key, value in options.items()
        }
        try:
            given = make(spec.name, **words)
        except CommandError as error:
            raise click.UsageError(str(error)) from error
        return _send(shared, given)

    return run


for _spec in COMMANDS.values():
    command.add_command(_click_command(_spec))


def _send(shared: Shared, given: Command) -> int:
    """Send the command, wait for the answer, print it; returns the exit code."""
    try:
        return _answered(shared, given)
    except VlamonError as error:
        if shared.as_json:  # a script reads stdout, whatever became of its command
            _print(given.name, Reply("", False, error=str(error)))
        raise


def _answered(shared: Shared, given: Command) -> int:
    with BriefConnection(shared.socket, shared.ssh, shared.job) as connection:
        info = connection.greet(shared.timeout)
        if not info.control:
            refusal = f"{info.name} takes no commands: its script never calls emitter.commands()"
            return _answer(shared, given.name, Reply("", False, error=refusal))
        reply = connection.ask(given, shared.timeout)
    if reply is None:
        raise TimedOut(
            f"{info.name} did not answer the command {given.name!r} in {shared.timeout:g} s; "
            "it is still executed if the training reaches a step boundary."
        )
    return _answer(shared, given.name, reply)


def _print(name: str, reply: Reply) -> None:
    from vlamon.views.json_lines import json_bytes

    answer = {"ok": reply.ok, "command": name, "result": dict(reply.result), "error": reply.error}
    click.echo(json_bytes(answer).decode(), nl=False)


def _answer(shared: Shared, name: str, reply: Reply) -> int:
    if shared.as_json:
        _print(name, reply)
    elif reply.ok:
        details = ", ".join(f"{key} {value}" for key, value in reply.result.items())
        click.echo(line(f"{name} done" + (f": {details}" if details else "")))
    else:
        refusal = f"vlamon: {name} was refused: {reply.error}.".replace("..", ".")
        click.echo(line(refusal), err=True)
    return DONE if reply.ok else REFUSED

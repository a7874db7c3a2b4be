"""The MCP server: every question is a tool; commands are, too, where they are allowed.

A command needs a reason, which the training records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vlamon import __version__
from vlamon.agents.questions import QUESTIONS
from vlamon.agents.where import find_run
from vlamon.errors import VlamonError
from vlamon.protocol.commands import NO_CONTROL, CommandError, make
from vlamon.sources.brief_connection import BriefConnection, TimedOut
from vlamon.views.json_lines import plain

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = """\
Watch trainings of vision-language-action models. Ask `status` first, then `events`; ask `metrics` \
for curves (a budget of points: narrow the steps to see more), `around_step` for single batches, \
`diagnose` for a verdict with causes, `explain` for what a metric means. A guard inside the \
training rolls back by itself: look at its events before you send a command."""

ANSWER = 60.0
"""Seconds for an answer: a command waits for the end of the step, and a step may be long."""


class NoSdk(VlamonError):
    """The SDK is an extra."""


def serve(allow_commands: bool) -> None:
    """Serve stdin and stdout until they close."""
    server(allow_commands).run("stdio")


def server(allow_commands: bool) -> MCPServer[Any]:
    """The server with its tools."""
    try:
        from mcp.server import MCPServer
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise NoSdk(
            f"vlamon mcp needs the MCP SDK, version 2 ({error}): pip install 'vlamon[mcp]'"
        ) from error
    made: MCPServer[Any] = MCPServer(
        "vlamon", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR"
    )
    reads = ToolAnnotations(read_only_hint=True)
    for name, question in QUESTIONS.items():
        made.add_tool(_tool(question), name=name, annotations=reads, structured_output=False)
    if allow_commands:
        acts = ToolAnnotations(read_only_hint=False)
        for name, command in COMMANDS.items():
            made.add_tool(_tool(command), name=name, annotations=acts, structured_output=False)
    return made


def _tool(asked: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """The question as a tool: JSON text, or the sentence of what is wrong."""

    @functools.wraps(asked)
    def tool(**arguments: Any) -> str:
        from mcp.server.mcpserver.exceptions import ToolError

        from vlamon.views.json_lines import json_bytes

        try:
            return json_bytes(plain(asked(**arguments))).decode()
        except VlamonError as error:
            raise ToolError("\n".join(error.lines)) from error
        except (OSError, ValueError) as error:  # a file that went, a name that no file can have
            raise ToolError(f"{asked.__name__} failed: {error}") from error

    tool.__annotations__ = {**asked.__annotations__, "return": "str"}
    return tool


def _send(run: str, name: str, reason: str, /, **args: Any) -> dict[str, Any]:
    """Send the command and wait until it is done; returns the training's answer."""
    if not reason.strip():
        raise VlamonError(f"say why: {name} needs a reason, which is recorded with the command.")
    where = find_run(run)
    if not where.live:
        raise VlamonError("the run is over: only a training that runs takes commands.")
    given = {key: value for key, value in args.items() if value is not None}
    try:
        command = make(name, reason=reason, **given)
    except CommandError as error:
        raise VlamonError(str(error)) from error

    with BriefConnection(where.socket, where.ssh) as connection:
        info = connection.greet(ANSWER)
        if not info.control:
            raise VlamonError(f"{info.name}: {NO_CONTROL}.")
        reply = connection.ask(command, ANSWER)
    if reply is None:
        raise TimedOut(f"{info.name} did not answer in {ANSWER:g} s; {name} may still be executed.")
    return {
        "ok": reply.ok,
        "command": name,
        "reason": reason,
        "result": dict(reply.result),
        "error": reply.error,
    }


def checkpoint(reason: str, run: str = "") -> dict[str, Any]:
    """Have the training write a checkpoint now. `reason` is recorded in the run."""
    return _send(run, "checkpoint", reason)


def rollback(reason: str, run: str = "", to: int | None = None) -> dict[str, Any]:
    """Roll back to a snapshot: the newest trusted one, or the newest at or before step `to`.

    `reason` is recorded in the run. Batches since then are skipped.
    """
    return _send(run, "rollback", reason, to=to)


def pause(reason: str, run: str = "") -> dict[str, Any]:
    """Stop the training at the next step boundary until `resume`. `reason` is recorded."""
    return _send(run, "pause", reason)


def resume(reason: str, run: str = "") -> dict[str, Any]:
    """Continue after a pause. `reason` is recorded in the run."""
    return _send(run, "resume", reason)


def stop(reason: str, run: str = "") -> dict[str, Any]:
    """End the training after this step, with a checkpoint if possible. `reason` is recorded."""
    return _send(run, "stop", reason)


def set_value(reason: str, name: str, value: str, run: str = "") -> dict[str, Any]:
    """Set guard (auto, ask, watch, off), lr_scale, clip_grad or the weight of a loss.

    `reason` is recorded in the run.
    """
    return _send(run, "set", reason, name=name, value=value)


def note(reason: str, text: str, run: str = "") -> dict[str, Any]:
    """Add a note at this step, for the people who read the run later. `reason` is recorded."""
    return _send(run, "note", reason, text=text)


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "checkpoint": checkpoint,
    "rollback": rollback,
    "pause": pause,
    "resume": resume,
    "stop": stop,
    "set": set_value,
    "note": note,
}
"""Every command, by name."""

"""Commands that an agent gives a training: only with a reason, which the training records."""

from __future__ import annotations

from typing import Any

from vlamon.agents.where import find_run
from vlamon.errors import VlamonError
from vlamon.protocol.commands import NO_CONTROL, CommandError, make
from vlamon.records import Record, Reply
from vlamon.sources.talking import Talk, TimedOut

ANSWER = 60.0
"""Seconds for an answer: a command waits for the end of the step, and a step may be long."""


def give(run: str, name: str, reason: str, /, **args: Any) -> dict[str, Any]:
    """Give the command and wait until it is done; what the training answered."""
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

    def ours(record: Record) -> Reply | None:
        return record if isinstance(record, Reply) and record.id == command.id else None

    with Talk(where.socket, where.ssh) as talk:
        info = talk.greet(ANSWER)
        if not info.control:
            raise VlamonError(f"{info.name}: {NO_CONTROL}.")
        talk.source.send(command)
        reply = talk.wait(ours, ANSWER)
    if reply is None:
        raise TimedOut(f"{info.name} did not answer in {ANSWER:g} s; {name} may still be executed.")
    return {
        "ok": reply.ok,
        "command": name,
        "reason": reason,
        "result": dict(reply.result),
        "error": reply.error,
    }

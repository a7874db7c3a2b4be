"""Commands from outside: checked on rank 0, sent to every rank as numbers, answered when done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlamon.guard.settings import MODES
from vlamon.protocol.commands import COMMANDS, CommandError, checked
from vlamon.records import Command

NAMES = (*(name for name in COMMANDS if name != "note"), "act")
"""`act` is the guard's own: the deadline of ask mode has passed."""
CHOICES = ("default", "skip", "replay")
"""What becomes of the data after a rollback."""


@dataclass(frozen=True, slots=True)
class CommandCode:
    """A command as four numbers, so that it can be summed over ranks."""

    name: str
    """One of NAMES."""
    first: float = -1.0
    """rollback: the step to go to, -1 for the newest; set: which setting."""
    second: float = 0.0
    """rollback: which of CHOICES; set: the value."""
    third: float = 0.0
    """rollback: 1 where only the very step will do."""

    def numbers(self) -> list[float]:
        """For the ballot."""
        return [float(NAMES.index(self.name) + 1), self.first, self.second, self.third]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> CommandCode | None:
        """The command in a counted ballot."""
        code = int(numbers[0])
        return cls(NAMES[code - 1], *numbers[1:4]) if code else None


@dataclass(frozen=True, slots=True)
class AgreedCommand:
    """What all ranks carry out, with the command to answer on rank 0."""

    code: CommandCode
    command: Command | None = None

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        """Tell the sender what was done."""
        if self.command is not None:
            self.command.done(result)

    def refuse(self, reason: str) -> None:
        """Tell the sender why not."""
        if self.command is not None:
            self.command.refuse(reason)


class CommandQueue:
    """Takes commands in, refuses what is not in the table, hands out one at a time."""

    def __init__(self, settable: Mapping[str, Callable[[float], Any]]) -> None:
        """`settable` names what `set` may change, beside `guard` and `lr_scale`."""
        self.settable = dict(settable)
        self.names = ["guard", "lr_scale", *sorted(self.settable)]
        self.waiting: deque[AgreedCommand] = deque()

    def take_in(
        self, commands: Sequence[Command], note: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        """New commands; a `note` is written down at once."""
        for command in commands:
            try:
                if command.name == "note":
                    args = checked("note", command.args)
                    note(args["text"], args)
                    command.done({"noted": True})
                else:
                    self.waiting.append(AgreedCommand(self._code(command), command))
            except CommandError as error:
                command.refuse(str(error))

    def next(self) -> AgreedCommand | None:
        """The oldest command that waits."""
        return self.waiting.popleft() if self.waiting else None

    def _code(self, command: Command) -> CommandCode:
        name, args = command.name, checked(command.name, command.args)
        if name == "rollback":
            return CommandCode(name, *_rollback(args))
        if name == "set":
            setting = args["name"]
            if setting not in self.names:
                raise CommandError(
                    f"nothing called {setting!r} can be set; there are {', '.join(self.names)}"
                )
            value = args["value"]
            number = float(MODES.index(value) if setting == "guard" else value)
            return CommandCode(name, float(self.names.index(setting)), number)
        return CommandCode(name)


def _rollback(args: Mapping[str, Any]) -> tuple[float, float, float]:
    step, data = float(args.get("to", -1)), args.get("data", "default")
    return step, float(CHOICES.index(data)), float(step >= 0 and args.get("exact", False))

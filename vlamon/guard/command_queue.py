"""Commands from outside: checked on rank 0, sent to every rank as numbers, answered when done.

Which commands there are, and what they take, is said by `vlamon.protocol.commands` alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlamon.protocol.commands import (
    COMMANDS,
    Argument,
    Command,
    CommandError,
    checked,
    setting_named,
)

ACT = "act"
"""The guard's own command: nobody answered before the deadline."""
OWN_SETTINGS = ("guard", "lr_scale")
"""Settings that the guard changes itself; the script declares the others."""
NAMES = (*COMMANDS, ACT)
_ABSENT = -1.0


def _travels(argument: Argument) -> bool:
    return argument.kind != "text"


NUMBERS = 1 + max(sum(map(_travels, spec.arguments)) for spec in COMMANDS.values())
"""Numbers that any command takes in the ballot: which one, and its arguments that ranks need."""


@dataclass(frozen=True, slots=True)
class CommandCode:
    """A command as a few numbers, so that it can be summed over ranks."""

    name: str
    """One of NAMES."""
    arguments: tuple[float, ...] = ()
    """A number for each argument that is not a text, in the order of the table."""

    def numbers(self) -> list[float]:
        """For the ballot."""
        found = [float(NAMES.index(self.name) + 1), *self.arguments]
        return found + [0.0] * (NUMBERS - len(found))

    @classmethod
    def of(cls, numbers: Sequence[float]) -> CommandCode | None:
        """The command in a counted ballot."""
        code = int(numbers[0])
        if not code:
            return None
        name = NAMES[code - 1]
        taken = sum(map(_travels, COMMANDS[name].arguments)) if name in COMMANDS else 0
        return cls(name, tuple(numbers[1 : 1 + taken]))


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
        """`settable` names what `set` may change, beside OWN_SETTINGS."""
        self.settable = dict(settable)
        self.names = [*OWN_SETTINGS, *sorted(self.settable)]
        self.waiting: deque[AgreedCommand] = deque()

    def take_in(
        self, commands: Sequence[Command], note: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        """New commands; a `note` is written down at once."""
        for command in commands:
            try:
                args = checked(command.name, command.args)
                if command.name == "note":
                    note(args["text"], args)
                    command.done({"noted": True})
                else:
                    self.waiting.append(AgreedCommand(self.code(command.name, args), command))
            except CommandError as error:
                command.refuse(str(error))

    def next(self) -> AgreedCommand | None:
        """The oldest command that waits."""
        return self.waiting.popleft() if self.waiting else None

    def code(self, name: str, args: Mapping[str, Any]) -> CommandCode:
        """Checked arguments as numbers. CommandError where nothing of that name can be set."""
        travelling = filter(_travels, COMMANDS[name].arguments)
        return CommandCode(name, tuple(self._number(each, args) for each in travelling))

    def arguments(self, code: CommandCode) -> dict[str, Any]:
        """The arguments again, on any rank; those that were not given are left out."""
        found: dict[str, Any] = {}
        travelling = filter(_travels, COMMANDS[code.name].arguments)
        for argument, number in zip(travelling, code.arguments, strict=True):
            value = self._value(argument, number, found)
            if value is not None:
                found[argument.name] = value
        return found

    def _number(self, argument: Argument, args: Mapping[str, Any]) -> float:
        value = args.get(argument.name)
        if value is None:
            return _ABSENT
        match argument.kind:
            case "choice":
                return float(argument.choices.index(value))
            case "name":
                if value not in self.names:
                    known = ", ".join(self.names)
                    raise CommandError(f"nothing called {value!r} can be set; there are {known}")
                return float(self.names.index(value))
            case "setting":
                choices = setting_named(args["name"]).choices
                return float(choices.index(value) if choices else value)
        return float(value)

    def _value(self, argument: Argument, number: float, found: Mapping[str, Any]) -> Any:
        if argument.kind == "setting":
            choices = setting_named(found["name"]).choices
            return choices[int(number)] if choices else number
        if number == _ABSENT:
            return None
        match argument.kind:
            case "choice":
                return argument.choices[int(number)]
            case "name":
                return self.names[int(number)]
            case "flag":
                return bool(number)
        return int(number)

"""Commands from outside: checked on rank 0, sent to every rank as numbers, answered when done."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlamon.guard.settings import MODES

NAMES = ("checkpoint", "rollback", "pause", "resume", "stop", "set", "act")
"""`act` is the guard's own: the deadline of ask mode has passed."""
CHOICES = ("default", "skip", "replay")


class Command(Protocol):
    """What `Emitter.commands()` yields."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def args(self) -> Mapping[str, Any]: ...

    def done(self, result: Mapping[str, Any] | None = None) -> None: ...

    def refuse(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class CommandCode:
    """An order as four numbers, so that it can be summed over ranks."""

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
        """The order in a counted ballot."""
        code = int(numbers[0])
        return cls(NAMES[code - 1], *numbers[1:4]) if code else None


@dataclass(frozen=True, slots=True)
class AgreedCommand:
    """One order, with the command to answer when it is done."""

    code: CommandCode
    command: Command | None = None

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        """Tell who asked what was done."""
        if self.command is not None:
            self.command.done(result)

    def refuse(self, reason: str) -> None:
        """Tell who asked why not."""
        if self.command is not None:
            self.command.refuse(reason)


class CommandQueue:
    """Takes commands in, refuses what makes no sense, hands out one order at a time."""

    def __init__(self, settable: Mapping[str, Callable[[float], Any]]) -> None:
        """`settable` names what `set` may change, beside `guard` and `lr_scale`."""
        self.settable = dict(settable)
        self.names = ["guard", "lr_scale", *sorted(self.settable)]
        self.waiting: deque[AgreedCommand] = deque()
        self._events: set[str] = set()
        """Explosions that an automatic order has already answered."""

    def take_in(
        self, commands: Sequence[Command], note: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        """New commands; a `note` is written down at once."""
        for command in commands:
            try:
                if command.name == "note":
                    note(str(command.args.get("text", "")), command.args)
                    command.done({"noted": True})
                else:
                    self.waiting.append(AgreedCommand(self._code(command), command))
            except ValueError as error:
                command.refuse(str(error))
            except Exception as error:  # arguments may be anything that msgpack can say
                command.refuse(f"{command.name} makes no sense: {type(error).__name__}: {error}")

    def next(self) -> AgreedCommand | None:
        """The oldest order that waits."""
        return self.waiting.popleft() if self.waiting else None

    def _code(self, command: Command) -> CommandCode:
        name, args = command.name, command.args
        if name not in NAMES or name == "act":
            known = ", ".join([*NAMES[:-1], "note"])
            raise ValueError(f"there is no order {name!r}; there are {known}")
        if name == "rollback":
            code = CommandCode(name, *_rollback(args))
            self._once(args.get("event"))
            return code
        if name == "set":
            setting = str(args.get("name", ""))
            if setting not in self.names:
                raise ValueError(
                    f"nothing called {setting!r} can be set; there are {', '.join(self.names)}"
                )
            return CommandCode(name, float(self.names.index(setting)), _value(setting, args))
        return CommandCode(name)

    def _once(self, event: object) -> None:
        if event is None:
            return
        if str(event) in self._events:
            raise ValueError(f"explosion {event} was answered by an earlier order already")
        self._events.add(str(event))


def _rollback(args: Mapping[str, Any]) -> tuple[float, float, float]:
    to, data = args.get("to"), args.get("data", "default")
    step = -1.0
    if to is not None and to != "":
        try:
            step = float(to)
            whole = step == int(step) and not isinstance(to, bool)
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise ValueError(f"rollback to {to!r}: a step is a whole number")
        if step < 0:
            raise ValueError(f"rollback to {to!r}: steps count from 0")
    if data not in CHOICES:
        raise ValueError(f"rollback data {data!r}: choose skip or replay")
    return step, float(CHOICES.index(data)), float(step >= 0 and args.get("exact") is True)


def _value(setting: str, args: Mapping[str, Any]) -> float:
    value = args.get("value")
    if setting == "guard":
        if value not in MODES:
            raise ValueError(f"guard mode {value!r}: choose one of {', '.join(MODES)}")
        return float(MODES.index(value))
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError(f"{setting} must be a number, not {value!r}") from None
    if not math.isfinite(number) or number < 0 or (setting == "lr_scale" and number == 0):
        raise ValueError(f"{setting} must be a finite positive number, not {value!r}")
    return number

"""The commands that a training takes, with their arguments and ranges: the one place that knows.

`vlamon ctl`, the dashboard's dialogs, the emitter, the guard and docs/wire.md read this table.
A monitor builds a command with `make`; both sides check its arguments with `checked`, so that a
mistake is refused with the same sentence before it is sent and after it has arrived.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlamon.guard_modes import GUARD_MODES

NO_CONTROL = "this training takes no commands: its script never calls emitter.commands()"
"""Said by the trainer that refuses, and by a monitor before it asks."""
MAX_TEXT = 4000
"""Characters in a text argument."""

Kind = Literal["step", "text", "choice", "flag", "name", "setting"]


class CommandError(ValueError):
    """A command or one of its arguments is not valid; the message is the sentence for the user."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket, as the kernel says."""

    pid: int
    """Process; of sshd where the monitor is behind ssh."""
    uid: int
    """User."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something that a monitor asks of the training: the same object from key press to answer."""

    id: str
    """Unique; the same id is executed once."""
    name: str
    """A key of COMMANDS."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """What the table there lists for the command."""
    origin: Peer | None = None
    """Who asks; filled in where the command arrives."""
    answer: Callable[[Command, bool, object], None] | None = field(
        default=None, repr=False, compare=False
    )
    """Takes the outcome on the training side: whether it was executed, and the result or reason."""

    def done(self, result: object = None) -> None:
        """Report that it was executed; `result` is names and values, or one value."""
        if self.answer is not None:
            self.answer(self, True, result)

    def refuse(self, reason: str) -> None:
        """Report that it was not executed; `reason` is a sentence for the sender."""
        if self.answer is not None:
            self.answer(self, False, reason)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command."""

    name: str
    """Key in `args`."""
    kind: Kind
    """What its value is; `name` names a setting, and `setting` is its value."""
    help: str
    """One clause for `--help`, dialogs and docs."""
    required: bool = False
    """Whether the command is refused without it."""
    choices: tuple[str, ...] = ()
    """Allowed values of a `choice`."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command that a training may be given."""

    name: str
    """Name on the wire and in `vlamon ctl NAME`."""
    help: str
    """One sentence for `--help`, dialogs and docs."""
    arguments: tuple[Argument, ...] = ()
    """What it takes besides COMMON."""

    def argument(self, name: str) -> Argument | None:
        """The argument of that name; None where the command takes none."""
        return next((one for one in (*self.arguments, *COMMON) if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Settable:
    """One value that `set` changes."""

    name: str
    """`set NAME VALUE`."""
    help: str
    """One clause for `--help`, dialogs and docs."""
    choices: tuple[str, ...] = ()
    """Allowed words; empty for a number."""
    least: float = 0.0
    """Smallest number allowed."""
    most: float = math.inf
    """Largest number allowed."""

    @property
    def range(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"a number from {self.least:g} to {self.most:g}"


COMMON = (Argument("reason", "text", "why it is given; recorded with the command"),)
"""Arguments that every command takes."""

COMMANDS: Mapping[str, CommandSpec] = {
    spec.name: spec
    for spec in (
        CommandSpec("checkpoint", "Write a checkpoint now."),
        CommandSpec(
            "rollback",
            "Roll back to a snapshot, by default the newest trusted one.",
            (
                Argument("to", "step", "step of the snapshot to roll back to"),
                Argument("exact", "flag", "refuse where no snapshot of exactly that step is held"),
                Argument("data", "choice", "what becomes of the batches since then",
                         choices=("default", "skip", "replay")),
                Argument("event", "text", "id of the explosion that it answers: answered once"),
            ),
        ),
        CommandSpec("pause", "Stop at the next step boundary and wait."),
        CommandSpec("resume", "Continue after a pause."),
        CommandSpec("stop", "End the training after this step, with a checkpoint if possible."),
        CommandSpec(
            "set",
            "Set guard, lr_scale, clip_grad or the weight of a loss.",
            (
                Argument("name", "name", "name of the setting or loss", required=True),
                Argument("value", "setting", "new value", required=True),
            ),
        ),
        CommandSpec(
            "note",
            "Add a note at this step.",
            (Argument("text", "text", "what the note says", required=True),),
        ),
    )
}  # fmt: skip
"""Every command, by name."""

SETTINGS: Mapping[str, Settable] = {
    setting.name: setting
    for setting in (
        Settable("guard", "what the guard does about an explosion", tuple(GUARD_MODES)),
        Settable("lr_scale", "factor on the scheduled learning rate", least=1e-6, most=100.0),
        Settable("clip_grad", "norm at which gradients are clipped", least=1e-6, most=1e6),
    )
}
"""Settings that every guard knows or a script may declare; every other name is a loss weight."""

WEIGHT_RANGE = (0.0, 1e6)
"""Smallest and largest weight of a loss."""


def setting_named(name: str) -> Settable:
    """The setting of that name: one of SETTINGS, else the weight of a loss."""
    known = SETTINGS.get(name)
    least, most = WEIGHT_RANGE
    return known or Settable(name, f"weight of {name} in the total loss", least=least, most=most)


def make(name: str, /, **args: Any) -> Command:
    """A new command with an id of its own. Raises CommandError."""
    return Command(uuid.uuid4().hex, name, checked(name, args))


def checked(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the types of the table, those that are empty left out.

    Raises CommandError where the command is unknown or an argument is missing or out of range.
    """
    spec = COMMANDS.get(name) if isinstance(name, str) else None
    if spec is None:
        raise CommandError(f"there is no command {name!r:.40}; there are {', '.join(COMMANDS)}")
    if not isinstance(args, Mapping):
        raise CommandError(f"the arguments of {spec.name} must be names with values")
    found: dict[str, Any] = {}
    for key, value in args.items():
        argument = spec.argument(key) if isinstance(key, str) else None
        if argument is None:
            raise CommandError(f"{spec.name} takes no argument {key!r:.40}")
        if value is None or (value == "" and argument.kind != "setting"):
            continue
        if argument.kind == "setting":
            found[key] = checked_setting(str(args.get("name", "")), value)
        else:
            found[key] = _CHECKS[argument.kind](spec, argument, value)
    for argument in spec.arguments:
        if argument.required and argument.name not in found:
            raise CommandError(f"{spec.name} needs {_indefinite(argument.name)}")
    return found


def checked_setting(name: str, value: Any) -> float | str:
    """The value of a setting as `set` carries it: a word of its choices or a finite number.

    Raises CommandError with the range where it is out of it.
    """
    setting = setting_named(name)
    if setting.choices:
        if value not in setting.choices:
            allowed = ", ".join(setting.choices)
            raise CommandError(f"{name} {value!r:.40}: choose one of {allowed}")
        return str(value)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not setting.least <= number <= setting.most:
        raise CommandError(f"{name} must be {setting.range}, not {value!r:.40}")
    return number


def _step(spec: CommandSpec, argument: Argument, value: Any) -> int:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number != int(number):
        raise CommandError(f"{spec.name} {argument.name} {value!r:.40}: a step is a whole number")
    if not 0 <= number < 1 << 62:
        raise CommandError(f"{spec.name} {argument.name} {value!r:.40}: steps count from 0")
    return int(number)


def _text(spec: CommandSpec, argument: Argument, value: Any) -> str:
    if not isinstance(value, str):
        raise CommandError(f"{spec.name}: {argument.name} must be a text, not {value!r:.40}")
    return value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def _choice(spec: CommandSpec, argument: Argument, value: Any) -> str:
    if value not in argument.choices:
        allowed = " or ".join(choice for choice in argument.choices if choice != "default")
        raise CommandError(f"{spec.name} {argument.name} {value!r:.40}: choose {allowed}")
    return str(value)


def _flag(spec: CommandSpec, argument: Argument, value: Any) -> bool:
    if not isinstance(value, bool):
        raise CommandError(f"{spec.name}: {argument.name} must be true or false")
    return value


_CHECKS: Mapping[str, Callable[[CommandSpec, Argument, Any], Any]] = {
    "step": _step,
    "text": _text,
    "name": _text,
    "choice": _choice,
    "flag": _flag,
}


def _indefinite(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

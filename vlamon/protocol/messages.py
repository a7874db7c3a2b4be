"""Records to messages and back: one table of fields a message, which both encodes and decodes.

What is decoded here was written by somebody else, so every field is checked: a wrong type is a
ProtocolError, and values that no reader can use (an infinite time, a line break in a kind) are
replaced where that loses nothing. `batch` has a module of its own, block.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vlamon.protocol import block
from vlamon.protocol.frames import VERSION, Message, ProtocolError
from vlamon.protocol.sanitize import plain, text
from vlamon.records import (
    Command,
    Device,
    EpochRow,
    Event,
    Gap,
    GpuSample,
    MetricsAnnounced,
    MetricSpec,
    Process,
    Record,
    Reply,
    RunInfo,
    Snapshot,
    Status,
)
from vlamon.safe_text import line

R = TypeVar("R")
MAX_COUNT = 1 << 62
"""Bound of every whole number: two of them add up to an i64."""
_ARGV = 200


@dataclass(frozen=True, slots=True)
class Bye:
    """A trainer's last words on a connection."""

    reason: str
    """One sentence."""
    code: str
    """ended, refused, protocol or full."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a monitor subscribes to."""

    since_seq: int = 0
    """First row to send."""
    since_note: int = 0
    """First note to send."""
    boot: str = ""
    """Boot that both numbers belong to; empty for any."""
    rows: bool = True
    """Whether to send rows at all; without them only status, events and the rest come."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a boot begins in its run's history; travels with the greeting."""

    start_seq: int = 0
    """First row of this boot."""
    start_note: int = 0
    """First note of this boot."""
    attempt: int = 0
    """First attempt of this boot."""


def encode(record: Record | Command | Bye | Subscription, **extra: Any) -> Message:
    """The message that carries a record, with `extra` keys beside its fields."""
    name, table = _BY_TYPE[type(record)]
    message: Message = {"t": name}
    if name in _VERSIONED:
        message["v"] = list(VERSION)
    return message | table.encode(record) | extra


def decode(message: Message) -> Record | Bye | None:
    """The record in a message from a trainer, None where this version does not know it.

    Raises ProtocolError where the message is malformed.
    """
    name = message["t"]
    if name == "hello":
        check_version(message)
    if name == "batch":
        return block.record(block.from_message(message))
    table = FROM_TRAINER.get(name)
    found: Record | Bye | None = None if table is None else table.decode(message)
    return found


def decode_request(message: Message) -> Subscription | Command:
    """The request in a message from a monitor. Raises ProtocolError."""
    name = message["t"]
    if name == "subscribe":
        check_monitor(message)
    table = FROM_MONITOR.get(name)
    if table is None:
        raise ProtocolError(f"a monitor may send subscribe and command, not {name!r:.40}")
    found: Subscription | Command = table.decode(message)
    return found


def greeting(info: RunInfo, start: Start) -> Message:
    """The first message on every connection."""
    return encode(info, **_START.encode(start))


def start_of(message: Message) -> Start:
    """Where the boot that greets begins. Raises ProtocolError."""
    return _START.decode(message)


def note_number(message: Message) -> int | None:
    """The number of a note among those of its run; None for what is none.

    Raises ProtocolError.
    """
    try:
        return _count(message["k"]) if "k" in message else None
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"`{message['t']}` has a wrong `k`: {message['k']!r:.60}") from error


def check_version(message: Message) -> None:
    """Raise ProtocolError with the sentence that says which side to upgrade."""
    version = message.get("v")
    if not isinstance(version, list) or not version or type(version[0]) is not int:
        raise ProtocolError("the greeting names no protocol version")
    if version[0] == VERSION[0]:
        return
    theirs = ".".join(str(part) for part in version[:2])
    ours = ".".join(map(str, VERSION))
    behind = "vlamon here" if version[0] > VERSION[0] else "vlamon in the training's environment"
    raise ProtocolError(
        f"the trainer speaks protocol {theirs}, this monitor {ours}: upgrade {behind}"
    )


def check_monitor(message: Message) -> None:
    """The same in the other direction; a subscription may leave the version out."""
    version = message.get("v", list(VERSION))
    if not isinstance(version, list) or not version or version[0] != VERSION[0]:
        theirs = ".".join(str(part) for part in version) if isinstance(version, list) else "?"
        ours = ".".join(map(str, VERSION))
        raise ProtocolError(
            f"this training speaks protocol {ours}, the monitor {theirs:.20}: "
            "use a vlamon of the same major version for both"
        )


# ---- how one value travels ----


@dataclass(frozen=True, slots=True)
class Codec:
    """One value on its way out and back."""

    decode: Callable[[Any], Any]
    """The value in what came; raises TypeError or ValueError where it is none."""
    encode: Callable[[Any], Any] = lambda value: value
    """What msgpack carries for the value."""


def _of(kind: type) -> Callable[[Any], Any]:
    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return decode


def _whole(value: Any) -> int:
    # bool is no int here: True as a step is a broken sender.
    if type(value) is not int or not -MAX_COUNT < value < MAX_COUNT:
        raise TypeError
    return value


def _count(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _finite(value: Any) -> float | None:
    number = _number(value)
    return number if math.isfinite(number) else None


def _moment(value: Any) -> float:
    return _finite(value) or 0.0


def _texts(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise TypeError
    return tuple(value)


def _numbers(value: Any) -> Mapping[str, float]:
    if type(value) is not dict:
        raise TypeError
    return {block.checked_name(name): _number(item) for name, item in value.items()}


WHOLE, COUNT = Codec(_whole), Codec(_count)
NUMBER = Codec(_number)
"""A float as logged: NaN and infinities are values."""
FINITE = Codec(_finite)
"""A float of which nothing is known where it is not finite."""
MOMENT = Codec(_moment)
"""Seconds since the epoch; 0 where unknown."""
FLAG = Codec(_of(bool))
TEXT = Codec(_of(str))
LINE = Codec(lambda value: line(_of(str)(value)))
"""A word or a name: one line, nothing that a terminal acts on."""
MAP = Codec(_of(dict), dict)
TEXTS = Codec(_texts, list)
ARGV = Codec(_texts, lambda parts: [text(part) for part in parts[:_ARGV]])
NUMBERS = Codec(_numbers, dict)


def _one_of(*words: str) -> Codec:
    """One of these words, the first where it is another one: a later version may know more."""

    def decode(value: Any) -> str:
        _of(str)(value)
        return value if value in words else words[0]

    return Codec(decode)


def _required(most: int) -> Codec:
    """A text that has to be there."""

    def decode(value: Any) -> str:
        if not 0 < len(_of(str)(value)) <= most:
            raise ValueError
        return str(value)

    return Codec(decode)


class Table(Generic[R]):
    """The fields of one record, each with its codec and what it is where it is absent."""

    def __init__(self, kind: Callable[..., R], /, **fields: tuple[Codec, Any]) -> None:
        self.kind = kind
        self.fields = fields

    def encode(self, record: Any) -> Message:
        """The fields as msgpack carries them."""
        message: Message = {}
        for name, (codec, _) in self.fields.items():
            value = getattr(record, name)
            message[name] = None if value is None else codec.encode(value)
        return message

    def decode(self, message: Any) -> R:
        """The record in a message. Raises ProtocolError."""
        if type(message) is not dict:
            raise ProtocolError(f"a {getattr(self.kind, '__name__', 'record')} is no map")
        found = {}
        for name, (codec, default) in self.fields.items():
            value = message.get(name, default)
            if value is None or value is default:
                if default is REQUIRED:
                    raise ProtocolError(f"`{message.get('t')}` has no `{name}`")
                found[name] = default
                continue
            try:
                found[name] = codec.decode(value)
            except ProtocolError:
                raise
            except (TypeError, ValueError, OverflowError) as error:
                wrong = f"`{message.get('t')}` has a wrong `{name}`: {value!r:.60}"
                raise ProtocolError(wrong) from error
        return self.kind(**found)

    @property
    def one(self) -> Codec:
        """Such a record as a value of another one."""
        return Codec(self.decode, self.encode)

    @property
    def many(self) -> Codec:
        """A list of them."""

        def decode(value: Any) -> tuple[R, ...]:
            return tuple(self.decode(item) for item in _of(list)(value))

        return Codec(decode, lambda records: [self.encode(record) for record in records])


REQUIRED = object()


def _decode_specs(value: Any) -> tuple[MetricSpec, ...]:
    specs = []
    for item in _of(list)(value):
        name, kind, weight, unit = item
        if kind not in ("trained", "watched"):
            raise ValueError
        known = None if weight is None else _finite(weight)
        specs.append(MetricSpec(block.checked_name(name), kind, known, line(_of(str)(unit))))
    return tuple(specs)


def _encode_specs(specs: tuple[MetricSpec, ...]) -> list[list[Any]]:
    return [[spec.name, spec.kind, spec.weight, spec.unit] for spec in specs]


SPECS = Codec(_decode_specs, _encode_specs)
"""Metrics as `[name, kind, weight, unit]` each."""

# ---- the tables ----

_DEVICE = Table(
    Device,
    index=(WHOLE, 0),
    uuid=(TEXT, ""),
    name=(TEXT, ""),
    util=(FINITE, None),
    memory_used=(WHOLE, None),
    memory_total=(WHOLE, None),
    temperature=(FINITE, None),
    power=(FINITE, None),
    power_limit=(FINITE, None),
    clock_sm=(WHOLE, None),
    clock_memory=(WHOLE, None),
    throttle=(TEXTS, ()),
)
_PROCESS = Table(
    Process,
    pid=(WHOLE, 0),
    cpu=(FINITE, None),
    rss=(WHOLE, None),
    threads=(WHOLE, None),
)
_SNAPSHOT = Table(
    Snapshot,
    step=(WHOLE, 0),
    where=(TEXT, ""),
    trusted=(FLAG, False),
    time=(MOMENT, 0.0),
    closs=(NUMBER, None),
)

FROM_TRAINER: Mapping[str, Table[Any]] = {
    "hello": Table(
        RunInfo,
        run_id=(TEXT, ""),
        name=(TEXT, ""),
        boot=(TEXT, ""),
        host=(TEXT, ""),
        pid=(WHOLE, 0),
        user=(TEXT, ""),
        started=(MOMENT, 0.0),
        argv=(ARGV, ()),
        world_size=(WHOLE, 1),
        rank=(WHOLE, 0),
        devices=(TEXTS, ()),
        metrics=(SPECS, ()),
        total_steps=(WHOLE, None),
        steps_per_epoch=(WHOLE, None),
        vocab=(WHOLE, None),
        control=(FLAG, False),
    ),
    "metrics": Table(MetricsAnnounced, metrics=(SPECS, ())),
    "event": Table(
        Event,
        id=(TEXT, ""),
        kind=(LINE, "note"),
        step=(WHOLE, 0),
        attempt=(WHOLE, 0),
        time=(MOMENT, 0.0),
        severity=(_one_of("info", "warn", "error"), "info"),
        text=(TEXT, ""),
        data=(MAP, {}),
    ),
    "epoch": Table(
        EpochRow,
        epoch=(NUMBER, math.nan),
        split=(LINE, ""),
        metrics=(NUMBERS, {}),
        attempt=(WHOLE, 0),
        step=(WHOLE, None),
        time=(FINITE, None),
    ),
    "gpu": Table(
        GpuSample,
        time=(MOMENT, 0.0),
        devices=(_DEVICE.many, ()),
        process=(_PROCESS.one, None),
    ),
    "status": Table(
        Status,
        state=(
            _one_of("training", "paused", "rolling_back", "checkpointing", "stopped", "ended"),
            "training",
        ),
        step=(WHOLE, 0),
        phase=(_one_of("", "data", "forward", "backward", "step", "checkpoint"), ""),
        epoch=(FINITE, None),
        steps_per_second=(FINITE, None),
        eta=(FINITE, None),
        snapshots=(_SNAPSHOT.many, ()),
        budget=(WHOLE, None),
        guard=(LINE, ""),
        deadline=(FINITE, None),
        time=(MOMENT, 0.0),
        attempt=(WHOLE, 0),
    ),
    "reply": Table(
        Reply,
        id=(TEXT, ""),
        ok=(FLAG, False),
        result=(MAP, {}),
        error=(TEXT, ""),
    ),
    "gap": Table(
        Gap,
        rows=(COUNT, 0),
        first_step=(WHOLE, None),
        last_step=(WHOLE, None),
        reason=(TEXT, ""),
    ),
    "bye": Table(Bye, reason=(TEXT, ""), code=(TEXT, "")),
}
"""What a trainer sends, besides `batch`."""

FROM_MONITOR: Mapping[str, Table[Any]] = {
    "subscribe": Table(
        Subscription,
        since_seq=(COUNT, 0),
        since_note=(COUNT, 0),
        boot=(TEXT, ""),
        rows=(FLAG, True),
    ),
    "command": Table(
        Command,
        id=(_required(200), REQUIRED),
        name=(_required(100), REQUIRED),
        args=(Codec(_of(dict), lambda args: plain(dict(args))), {}),
    ),
}
"""What a monitor sends."""

_START = Table(
    Start,
    start_seq=(COUNT, 0),
    start_note=(COUNT, 0),
    attempt=(WHOLE, 0),
)

_VERSIONED = ("hello", "subscribe")
_BY_TYPE: Mapping[Any, tuple[str, Table[Any]]] = {
    table.kind: (name, table) for name, table in (*FROM_TRAINER.items(), *FROM_MONITOR.items())
}

"""Records to messages and back: one table of fields a message, which both encodes and decodes.

What is decoded here was written by another process, so every field is checked: a wrong type is a
ProtocolError, and values that no reader can use (an infinite time, a line break in a kind) are
replaced where that loses nothing. `batch` has a module of its own, block.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlamon.hardware import Device, GpuSample, Process
from vlamon.protocol import block
from vlamon.protocol.columns import checked_name
from vlamon.protocol.commands import Command
from vlamon.protocol.fields import (
    ARGV,
    COUNT,
    FINITE,
    FLAG,
    LINE,
    MAP,
    MOMENT,
    NUMBER,
    NUMBERS,
    REQUIRED,
    TEXT,
    TEXTS,
    WHOLE,
    Codec,
    FieldTable,
    count,
    exactly,
    finite,
    one_of,
    required,
)
from vlamon.protocol.frames import VERSION, Message, ProtocolError
from vlamon.protocol.sanitize import plain
from vlamon.records import (
    EpochRow,
    Event,
    Gap,
    MetricsAnnounced,
    MetricSpec,
    Record,
    Reply,
    RunInfo,
    Snapshot,
    Status,
)
from vlamon.safe_text import line


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
class OlderRows:
    """Rows from before those that a monitor follows; they come when nothing newer is to be sent."""

    since_seq: int = 0
    """First row."""
    end_seq: int = 0
    """One past the last row."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a boot begins in its run's history; travels with the greeting."""

    start_seq: int = 0
    """First row of this boot."""
    start_note: int = 0
    """First note of this boot."""
    attempt: int = 0
    """First attempt of this boot."""
    end_seq: int = 0
    """One past the newest row there was when the greeting was made."""


def encode(record: Record | Command | Bye | Subscription | OlderRows, **extra: Any) -> Message:
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


def decode_request(message: Message) -> Subscription | OlderRows | Command:
    """The request in a message from a monitor. Raises ProtocolError."""
    name = message["t"]
    if name == "subscribe":
        check_monitor(message)
    table = FROM_MONITOR.get(name)
    if table is None:
        raise ProtocolError(f"a monitor may send subscribe, rows and command, not {name!r:.40}")
    found: Subscription | OlderRows | Command = table.decode(message)
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
        return count(message["k"]) if "k" in message else None
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


def _decode_specs(value: Any) -> tuple[MetricSpec, ...]:
    specs = []
    for item in exactly(list)(value):
        name, kind, weight, unit = item
        if kind not in ("trained", "watched"):
            raise ValueError
        known = None if weight is None else finite(weight)
        specs.append(MetricSpec(checked_name(name), kind, known, line(exactly(str)(unit))))
    return tuple(specs)


def _encode_specs(specs: tuple[MetricSpec, ...]) -> list[list[Any]]:
    return [[spec.name, spec.kind, spec.weight, spec.unit] for spec in specs]


SPECS = Codec(_decode_specs, _encode_specs)
"""Metrics as `[name, kind, weight, unit]` each."""

# ---- the tables ----

_DEVICE = FieldTable(
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
_PROCESS = FieldTable(
    Process,
    pid=(WHOLE, 0),
    cpu=(FINITE, None),
    rss=(WHOLE, None),
    threads=(WHOLE, None),
)
_SNAPSHOT = FieldTable(
    Snapshot,
    step=(WHOLE, 0),
    where=(TEXT, ""),
    trusted=(FLAG, False),
    time=(MOMENT, 0.0),
    closs=(NUMBER, None),
)

FROM_TRAINER: Mapping[str, FieldTable[Any]] = {
    "hello": FieldTable(
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
    "metrics": FieldTable(MetricsAnnounced, metrics=(SPECS, ())),
    "event": FieldTable(
        Event,
        id=(TEXT, ""),
        kind=(LINE, "note"),
        step=(WHOLE, 0),
        attempt=(WHOLE, 0),
        time=(MOMENT, 0.0),
        severity=(one_of("info", "warn", "error"), "info"),
        text=(TEXT, ""),
        data=(MAP, {}),
    ),
    "epoch": FieldTable(
        EpochRow,
        epoch=(NUMBER, math.nan),
        split=(LINE, ""),
        metrics=(NUMBERS, {}),
        attempt=(WHOLE, 0),
        step=(WHOLE, None),
        time=(FINITE, None),
    ),
    "gpu": FieldTable(
        GpuSample,
        time=(MOMENT, 0.0),
        devices=(_DEVICE.many, ()),
        process=(_PROCESS.one, None),
    ),
    "status": FieldTable(
        Status,
        state=(
            one_of("training", "paused", "rolling_back", "checkpointing", "stopped", "ended"),
            "training",
        ),
        step=(WHOLE, 0),
        phase=(one_of("", "data", "forward", "backward", "step", "checkpoint"), ""),
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
    "reply": FieldTable(
        Reply,
        id=(TEXT, ""),
        ok=(FLAG, False),
        result=(MAP, {}),
        error=(TEXT, ""),
    ),
    "gap": FieldTable(
        Gap,
        rows=(COUNT, 0),
        first_step=(WHOLE, None),
        last_step=(WHOLE, None),
        reason=(TEXT, ""),
    ),
    "bye": FieldTable(Bye, reason=(TEXT, ""), code=(TEXT, "")),
}
"""What a trainer sends, besides `batch`."""

FROM_MONITOR: Mapping[str, FieldTable[Any]] = {
    "subscribe": FieldTable(
        Subscription,
        since_seq=(COUNT, 0),
        since_note=(COUNT, 0),
        boot=(TEXT, ""),
        rows=(FLAG, True),
    ),
    "rows": FieldTable(OlderRows, since_seq=(COUNT, 0), end_seq=(COUNT, 0)),
    "command": FieldTable(
        Command,
        id=(required(200), REQUIRED),
        name=(required(100), REQUIRED),
        args=(Codec(exactly(dict), lambda args: plain(dict(args))), {}),
    ),
}
"""What a monitor sends."""

_START = FieldTable(
    Start,
    start_seq=(COUNT, 0),
    start_note=(COUNT, 0),
    attempt=(WHOLE, 0),
    end_seq=(COUNT, 0),
)

_VERSIONED = ("hello", "subscribe")
_BY_TYPE: Mapping[Any, tuple[str, FieldTable[Any]]] = {
    table.kind: (name, table) for name, table in (*FROM_TRAINER.items(), *FROM_MONITOR.items())
}

"""Messages to records, with every field checked: these bytes are somebody else's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from vlamon.protocol import block
from vlamon.protocol.frames import VERSION, Message, ProtocolError, field
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

_STATES = ("training", "paused", "rolling_back", "checkpointing", "stopped", "ended")
_PHASES = ("", "data", "forward", "backward", "step", "checkpoint")
_SEVERITIES = ("info", "warn", "error")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a monitor subscribes to."""

    since_seq: int
    """First row wanted."""
    since_note: int
    """First note wanted."""
    boot: str
    """Boot that both numbers belong to; empty: whatever boot it is."""
    rows: bool
    """Whether rows are wanted at all."""


def read_subscribe(message: Message) -> Request:
    """The subscription in a message; raises ProtocolError."""
    since_seq = field(message, "since_seq", int, 0)
    since_note = field(message, "since_note", int, 0)
    if since_seq < 0 or since_note < 0:
        raise ProtocolError("a subscription starts at a negative row")
    return Request(
        since_seq,
        since_note,
        field(message, "boot", str, ""),
        field(message, "rows", bool, True),
    )


def read_command(message: Message) -> Command:
    """The order in a message; raises ProtocolError."""
    identity = field(message, "id", str, "")
    name = field(message, "name", str, "")
    if not identity or len(identity) > 200 or not name or len(name) > 100:
        raise ProtocolError("a command has no id or no name")
    return Command(identity, name, field(message, "args", dict, {}))


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


def read(message: Message) -> Record | None:
    """The record in a message from a trainer, None where this version does not know it.

    Raises ProtocolError where the message is malformed.
    """
    reader = _READERS.get(message["t"])
    if reader is None:
        return None
    try:
        record = reader(message)
    except ProtocolError:
        raise
    except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
        raise ProtocolError(f"`{message['t']}` is malformed: {error!r:.100}") from error
    return record


def _read_hello(message: Message) -> RunInfo:
    check_version(message)
    return RunInfo(
        run_id=field(message, "run_id", str, ""),
        name=field(message, "name", str, ""),
        boot=field(message, "boot", str, ""),
        host=field(message, "host", str, ""),
        pid=field(message, "pid", int, 0),
        user=field(message, "user", str, ""),
        started=float(field(message, "started", (int, float), 0.0)),
        argv=_texts(message, "argv"),
        world_size=field(message, "world_size", int, 1),
        rank=field(message, "rank", int, 0),
        devices=_texts(message, "devices"),
        metrics=read_specs(field(message, "metrics", list, [])),
        total_steps=field(message, "total_steps", int, None),
        steps_per_epoch=field(message, "steps_per_epoch", int, None),
        vocab=field(message, "vocab", int, None),
        control=field(message, "control", bool, False),
    )


def _texts(message: Message, key: str) -> tuple[str, ...]:
    values = field(message, key, list, [])
    if not all(isinstance(value, str) for value in values):
        raise ProtocolError(f"`{key}` is no list of texts")
    return tuple(values)


def read_specs(items: list[Any]) -> tuple[MetricSpec, ...]:
    """Metrics as announced; raises ProtocolError, TypeError or ValueError for malformed ones."""
    specs = []
    for item in items:
        name, kind, weight, unit = item
        good = isinstance(name, str) and isinstance(unit, str) and kind in ("trained", "watched")
        if not good or not (weight is None or isinstance(weight, float | int)):
            raise ProtocolError(f"a metric is malformed: {item!r:.60}")
        specs.append(MetricSpec(name, kind, None if weight is None else float(weight), unit))
    return tuple(specs)


def _read_event(message: Message) -> Event:
    severity = field(message, "severity", str, "info")
    return Event(
        id=field(message, "id", str, ""),
        kind=field(message, "kind", str, "note"),
        step=field(message, "step", int, 0),
        attempt=field(message, "attempt", int, 0),
        time=float(field(message, "time", (int, float), 0.0)),
        severity=severity if severity in _SEVERITIES else "info",
        text=field(message, "text", str, ""),
        data=field(message, "data", dict, {}),
    )


def _read_epoch(message: Message) -> EpochRow:
    time = field(message, "time", (int, float), None)
    return EpochRow(
        epoch=float(field(message, "epoch", (int, float), math.nan)),
        split=field(message, "split", str, ""),
        metrics=_numbers(message, "metrics"),
        attempt=field(message, "attempt", int, 0),
        step=field(message, "step", int, None),
        time=None if time is None else float(time),
    )


def _numbers(message: Message, key: str) -> Mapping[str, float]:
    values = field(message, key, dict, {})
    return {str(name): float(value) for name, value in values.items()}


def _read_gpu(message: Message) -> GpuSample:
    process = field(message, "process", dict, None)
    return GpuSample(
        time=float(field(message, "time", (int, float), 0.0)),
        devices=tuple(_read_device(item) for item in field(message, "devices", list, [])),
        process=None if process is None else _read_process(process),
    )


def _read_device(item: Message) -> Device:
    return Device(
        index=field(item, "index", int, 0),
        uuid=field(item, "uuid", str, ""),
        name=field(item, "name", str, ""),
        util=_number(item, "util"),
        memory_used=field(item, "memory_used", int, None),
        memory_total=field(item, "memory_total", int, None),
        temperature=_number(item, "temperature"),
        power=_number(item, "power"),
        power_limit=_number(item, "power_limit"),
        clock_sm=field(item, "clock_sm", int, None),
        clock_memory=field(item, "clock_memory", int, None),
        throttle=_texts(item, "throttle"),
    )


def _read_process(item: Message) -> Process:
    return Process(
        pid=field(item, "pid", int, 0),
        cpu=_number(item, "cpu"),
        rss=field(item, "rss", int, None),
        threads=field(item, "threads", int, None),
    )


def _number(item: Message, key: str) -> float | None:
    value = field(item, key, (int, float), None)
    return None if value is None else float(value)


def _read_status(message: Message) -> Status:
    state = field(message, "state", str, "training")
    phase = field(message, "phase", str, "")
    return Status(
        state=state if state in _STATES else "training",
        step=field(message, "step", int, 0),
        phase=phase if phase in _PHASES else "",
        epoch=_number(message, "epoch"),
        steps_per_second=_number(message, "steps_per_second"),
        eta=_number(message, "eta"),
        snapshots=tuple(_read_snapshot(item) for item in field(message, "snapshots", list, [])),
        budget=field(message, "budget", int, None),
        guard=field(message, "guard", str, ""),
        deadline=_number(message, "deadline"),
        time=float(field(message, "time", (int, float), 0.0)),
        attempt=field(message, "attempt", int, 0),
    )


def _read_snapshot(item: Message) -> Snapshot:
    return Snapshot(
        step=field(item, "step", int, 0),
        where=field(item, "where", str, ""),
        trusted=field(item, "trusted", bool, False),
        time=float(field(item, "time", (int, float), 0.0)),
        closs=_number(item, "closs"),
    )


def _read_reply(message: Message) -> Reply:
    return Reply(
        id=field(message, "id", str, ""),
        ok=field(message, "ok", bool, False),
        result=field(message, "result", dict, {}),
        error=field(message, "error", str, ""),
    )


def _read_gap(message: Message) -> Gap:
    rows = field(message, "rows", int, 0)
    if not 0 <= rows < 1 << 62:
        raise ProtocolError(f"a gap of {rows} rows")
    return Gap(
        rows=rows,
        first_step=field(message, "first_step", int, None),
        last_step=field(message, "last_step", int, None),
        reason=field(message, "reason", str, ""),
    )


_READERS: Mapping[str, Callable[[Message], Record]] = {
    "hello": _read_hello,
    "metrics": lambda message: MetricsAnnounced(read_specs(field(message, "metrics", list, []))),
    "batch": lambda message: block.record(block.from_message(message)),
    "epoch": _read_epoch,
    "gpu": _read_gpu,
    "event": _read_event,
    "status": _read_status,
    "reply": _read_reply,
    "gap": _read_gap,
}

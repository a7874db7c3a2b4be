"""Records to messages: what each carries is said here and read back in parsing.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from vlamon.protocol.frames import VERSION, Message
from vlamon.protocol.sanitize import plain, text
from vlamon.records import (
    Command,
    EpochRow,
    Event,
    Gap,
    GpuSample,
    MetricsAnnounced,
    MetricSpec,
    Reply,
    RunInfo,
    Status,
)


def hello(info: RunInfo, **extra: Any) -> Message:
    """The greeting: the run, and where this boot starts in the history."""
    message: Message = {"t": "hello", "v": list(VERSION)}
    for item in dataclasses.fields(info):
        if item.name != "source":
            message[item.name] = getattr(info, item.name)
    message["metrics"] = [_spec(spec) for spec in info.metrics]
    message["argv"] = [text(part) for part in info.argv[:200]]
    return message | extra


def metrics(record: MetricsAnnounced) -> Message:
    """Names that the next rows will use for the first time."""
    return {"t": "metrics", "metrics": [_spec(spec) for spec in record.metrics]}


def _spec(spec: MetricSpec) -> list[Any]:
    return [spec.name, spec.kind, spec.weight, spec.unit]


def event(record: Event) -> Message:
    """Something that nobody may miss."""
    return {
        "t": "event",
        "id": record.id,
        "kind": record.kind,
        "step": record.step,
        "attempt": record.attempt,
        "time": record.time,
        "severity": record.severity,
        "text": record.text,
        "data": dict(record.data),
    }


def epoch(record: EpochRow) -> Message:
    """Averages over an epoch or an evaluation."""
    return {
        "t": "epoch",
        "epoch": record.epoch,
        "split": record.split,
        "metrics": dict(record.metrics),
        "attempt": record.attempt,
        "step": record.step,
        "time": record.time,
    }


def gpu(record: GpuSample) -> Message:
    """Accelerators and process at one moment."""
    return {
        "t": "gpu",
        "time": record.time,
        "devices": [_plain_fields(device) for device in record.devices],
        "process": None if record.process is None else _plain_fields(record.process),
    }


def status(record: Status) -> Message:
    """What the trainer does right now; only the newest one counts."""
    message = _plain_fields(record)
    message["snapshots"] = [_plain_fields(snapshot) for snapshot in record.snapshots]
    return {"t": "status"} | message


def reply(record: Reply) -> Message:
    """The answer to a command."""
    return {
        "t": "reply",
        "id": record.id,
        "ok": record.ok,
        "result": dict(record.result),
        "error": record.error,
    }


def gap(record: Gap) -> Message:
    """Rows that this reader will never get."""
    return {"t": "gap"} | _plain_fields(record)


def bye(reason: str, code: str) -> Message:
    """Last words. `code`: ended, refused, protocol, slow, full."""
    return {"t": "bye", "reason": reason, "code": code}


def _plain_fields(record: Any) -> Message:
    return {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}


def subscribe(
    since_seq: int = 0, since_note: int = 0, boot: str = "", rows: bool = True
) -> Message:
    """From where on to send; without `rows` only status, events and the rest come."""
    return {
        "t": "subscribe",
        "v": list(VERSION),
        "since_seq": since_seq,
        "since_note": since_note,
        "boot": boot,
        "rows": rows,
    }


def command(record: Command) -> Message:
    """An order to the training."""
    return {
        "t": "command",
        "id": record.id,
        "name": record.name,
        "args": plain(dict(record.args)),
    }

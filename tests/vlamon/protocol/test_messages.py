"""Every record survives the wire, and no malformed one gets through."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import KINDS, json_like
from vlamon.hardware import Device, GpuSample, Process
from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import VERSION, ProtocolError, pack, unpack
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

SPECS = (MetricSpec("closs", "trained", 1.0), MetricSpec("acc_action_5", unit="%"))
DEVICE = Device(
    0, "GPU-1", "H100", 97.0, 70 << 30, 80 << 30, 61.0, 640.5, 700.0, 1980, 2619, ("x",)
)
UNKNOWN = Device(1, "", "", None, None, None, None, None, None, None, None)
RUN = RunInfo(
    "id", "goal", "b", "node", 7, "me", 1.5, ("a", "b"), 8, 1, ("H",), SPECS, 9, 3, control=True
)
RING = (Snapshot(4, "ring", True, 1.0, 3.5),)
RECORDS: list[Record] = [
    RUN,
    MetricsAnnounced(SPECS),
    Event("e-1", "explode", 5, 1, 2.5, "error", "boom", {"samples": [1, "a"]}),
    EpochRow(1.0, "val_ind", {"closs": 3.5}, 2, 99, 4.5),
    GpuSample(1.0, (DEVICE, UNKNOWN), Process(7, 99.5, 1 << 30, 12)),
    GpuSample(1.0, ()),
    Status("paused", 5, "step", 0.5, 9.5, 60.0, RING, 2, "ask", 9.0, 1.0, 3),
    Status("training", 0),
    Reply("c-1", True, {"step": 4}),
    Reply("c-2", False, error="no trusted snapshot yet"),
    Gap(5, 1, 6, "slow"),
]


def sent(message: dict[str, Any]) -> Record | messages.Bye | None:
    """The record that the other side reads."""
    return messages.decode(unpack(pack(message)[4:]))


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert sent(messages.encode(record)) == record


@pytest.mark.parametrize(
    "request_",
    [
        messages.Subscription(5, 2, "b", rows=False),
        Command("c-1", "rollback", {"to": 4, "event": "e-1"}),
    ],
)
def test_a_request_comes_back_as_it_was(request_: messages.Subscription | Command) -> None:
    assert messages.decode_request(unpack(pack(messages.encode(request_))[4:])) == request_


def test_every_field_of_every_record_is_in_its_table() -> None:
    elsewhere = {("hello", "source"), ("event", "counted"), ("command", "origin")}
    elsewhere.add(("command", "answer"))
    for name, table in (*messages.FROM_TRAINER.items(), *messages.FROM_MONITOR.items()):
        fields = {item.name for item in dataclasses.fields(table.kind)}
        assert fields - {key for kind, key in elsewhere if kind == name} == set(table.fields)


@given(st.sampled_from(KINDS), st.data())
def test_a_malformed_message_is_a_record_or_a_clean_error(kind: str, data: st.DataObject) -> None:
    made = (messages.encode(record) for record in RECORDS)
    good = next((message for message in made if message["t"] == kind), {"t": kind})
    wrong = data.draw(st.dictionaries(st.sampled_from([*good, "k"]), json_like, max_size=4))
    with contextlib.suppress(ProtocolError):
        sent(good | wrong | {"t": kind})


def test_a_message_of_a_later_version_is_passed_over() -> None:
    assert messages.decode({"t": "hologram", "depth": 3}) is None


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ([VERSION[0] + 1, 0], "upgrade vlamon here"),
        ([VERSION[0] - 1, 9], "upgrade vlamon in the training's environment"),
    ],
)
def test_another_major_version_is_refused_with_the_side_to_upgrade(
    version: list[int], advice: str
) -> None:
    hello = messages.encode(RunInfo("id", "goal")) | {"v": version}
    with pytest.raises(ProtocolError, match=advice):
        sent(hello)


def test_another_minor_version_is_understood() -> None:
    hello = messages.encode(RunInfo("id", "goal")) | {"v": [VERSION[0], 99], "new_key": 1}
    assert isinstance(sent(hello), RunInfo)


class Strange:
    def __str__(self) -> str:
        return "strange \ud800"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1 << 70, str(1 << 70)),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        ({3: (True, None)}, {"3": [True, None]}),
        (Strange(), "strange ?"),
        ("x" * 100_000, "x" * 8192),
    ],
)
def test_what_a_script_hands_over_becomes_plain_and_bounded(value: Any, wanted: Any) -> None:
    found = plain(value)
    assert found == wanted
    pack({"t": "event", "data": found})


def test_a_structure_that_holds_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    pack({"t": "event", "data": plain(endless)})


def test_a_forged_number_of_a_note_is_a_clean_error() -> None:
    for number in (-1, 1 << 62, (1 << 64) - 1, 0.5, True, "3", None):
        with pytest.raises(ProtocolError, match="wrong `k`"):
            messages.note_number(unpack(pack({"t": "event", "k": number})[4:]))
    assert messages.note_number({"t": "gpu"}) is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_no_reader_can_use_is_unknown(number: float) -> None:
    status = Status("training", 5, eta=number, steps_per_second=number, deadline=number)
    assert sent(messages.encode(status)) == Status("training", 5)
    event = Event("e", "eval\n\x1b]0;x\x07", 5, 0, number)
    found = sent(messages.encode(event))
    assert isinstance(found, Event)
    assert found.kind.isprintable()
    assert found.time == 0.0
    announced = sent(messages.encode(MetricsAnnounced((MetricSpec("a\nb", "trained", number),))))
    assert isinstance(announced, MetricsAnnounced)
    assert announced.metrics[0] == MetricSpec("a b", "trained", None)


def test_the_side_that_is_behind_is_the_one_to_upgrade() -> None:
    newer, older = [VERSION[0] + 1, 0], [VERSION[0] - 1, 9]
    with pytest.raises(ProtocolError, match="vlamon here"):
        messages.check_version({"t": "hello", "v": newer})
    with pytest.raises(ProtocolError, match="vlamon in the training's environment"):
        messages.check_version({"t": "hello", "v": older})

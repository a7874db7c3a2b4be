"""Every record survives the wire, and no malformed one gets through."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import KINDS, json_like
from vlamon.protocol import messages, parsing
from vlamon.protocol.frames import VERSION, ProtocolError, pack, unpack
from vlamon.protocol.sanitize import plain
from vlamon.records import (
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

SPECS = (MetricSpec("closs", "trained", 1.0), MetricSpec("acc_action_5", unit="%"))
DEVICE = Device(
    0, "GPU-1", "H100", 97.0, 70 << 30, 80 << 30, 61.0, 640.5, 700.0, 1980, 2619, ("x",)
)
UNKNOWN = Device(1, "", "", None, None, None, None, None, None, None, None)
RUN = RunInfo(
    "id", "goal", "b", "node", 7, "me", 1.5, ("a", "b"), 8, 1, ("H",), SPECS, 9, 3, control=True
)
RING = (Snapshot(4, "ring", True, 1.0, 3.5),)
RECORDS: list[tuple[Callable[[Any], dict[str, Any]], Record]] = [
    (messages.hello, RUN),
    (messages.metrics, MetricsAnnounced(SPECS)),
    (messages.event, Event("e-1", "explode", 5, 1, 2.5, "error", "boom", {"samples": [1, "a"]})),
    (messages.epoch, EpochRow(1.0, "val_ind", {"closs": 3.5}, 2, 99, 4.5)),
    (messages.gpu, GpuSample(1.0, (DEVICE, UNKNOWN), Process(7, 99.5, 1 << 30, 12))),
    (messages.gpu, GpuSample(1.0, ())),
    (messages.status, Status("paused", 5, "step", 0.5, 9.5, 60.0, RING, 2, "ask", 9.0, 1.0, 3)),
    (messages.status, Status("training", 0)),
    (messages.reply, Reply("c-1", True, {"step": 4})),
    (messages.reply, Reply("c-2", False, error="no trusted snapshot yet")),
    (messages.gap, Gap(5, 1, 6, "slow")),
]


def sent(message: dict[str, Any]) -> Record | None:
    """The record that the other side reads."""
    return parsing.read(unpack(pack(message)[4:]))


@pytest.mark.parametrize(("to_message", "record"), RECORDS)
def test_a_record_comes_back_as_it_was(
    to_message: Callable[[Any], dict[str, Any]], record: Record
) -> None:
    assert sent(to_message(record)) == record


@given(st.sampled_from(KINDS), st.data())
def test_a_malformed_message_is_a_record_or_a_clean_error(kind: str, data: st.DataObject) -> None:
    good = next((make(record) for make, record in RECORDS if make.__name__ == kind), {"t": kind})
    wrong = data.draw(st.dictionaries(st.sampled_from([*good, "k"]), json_like, max_size=4))
    with contextlib.suppress(ProtocolError):
        sent(good | wrong | {"t": kind})


def test_a_message_of_a_later_version_is_passed_over() -> None:
    assert parsing.read({"t": "hologram", "depth": 3}) is None


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
    hello = messages.hello(RunInfo("id", "goal")) | {"v": version}
    with pytest.raises(ProtocolError, match=advice):
        sent(hello)


def test_another_minor_version_is_understood() -> None:
    hello = messages.hello(RunInfo("id", "goal")) | {"v": [VERSION[0], 99], "new_key": 1}
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

"""Frames: whatever goes in comes out, and nothing that comes in does harm."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import messages_
from vlamon.protocol.frames import (
    FROM_MONITOR,
    FROM_TRAINER,
    HEADER,
    FrameReader,
    ProtocolError,
    pack,
    unpack,
)


@given(st.lists(messages_, max_size=6), st.integers(1, 50))
def test_any_sequence_of_frames_round_trips_however_it_is_cut(
    sent: list[dict[str, Any]], size: int
) -> None:
    stream = b"".join(map(pack, sent))
    reader = FrameReader()
    received = []
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        received.extend(reader.messages())
    assert repr(received) == repr(sent)  # repr, for NaN is not equal to itself
    assert reader.pending == 0


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_end_in_messages_or_a_clean_error(chunks: list[bytes]) -> None:
    reader = FrameReader(FROM_MONITOR)
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            reader.feed(chunk)
            for message in reader.messages():
                assert isinstance(message["t"], str)
    assert reader.pending <= FROM_MONITOR + HEADER.size + 200


@given(st.binary(max_size=300))
def test_any_payload_is_a_message_or_a_clean_error(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(unpack(payload)["t"], str)


def test_a_frame_over_the_limit_is_refused_by_its_header_alone() -> None:
    reader = FrameReader(FROM_MONITOR)
    reader.feed(HEADER.pack(FROM_MONITOR + 1))
    with pytest.raises(ProtocolError, match="16385 bytes"):
        list(reader.messages())


def test_a_frame_of_just_the_limit_passes() -> None:
    room = FROM_TRAINER - len(msgpack.packb({"t": "x", "b": b""})) - 3
    reader = FrameReader()
    reader.feed(pack({"t": "x", "b": b"\0" * room}))
    assert len(next(reader.messages())["b"]) == room
    with pytest.raises(ProtocolError, match="over the"):
        pack({"t": "x", "b": b"\0" * (room + 1)})


@pytest.mark.parametrize(
    "payload",
    [
        msgpack.packb(7),
        msgpack.packb([1, 2]),
        msgpack.packb({"no": "name"}),
        msgpack.packb({"t": 3}),
        msgpack.packb({"t": "x", 5: "key"}),
        msgpack.packb({"t": "x", b"raw": 1}),
        msgpack.packb({"t": "x", "e": msgpack.ExtType(5, b"")}),
        msgpack.packb({"t": "x", "e": msgpack.Timestamp(1)}),
        msgpack.packb({"t": "x", "e": msgpack.ExtType(42, b"abc")}),
        b"\x81\xa1t\xdd\xff\xff\xff\xff",
        b"\x81\xa1t\xa2\xff\xfe",
        b"\x81\xa1t" + b"\x91" * 5000,
        b"",
    ],
)
def test_what_is_no_named_map_of_plain_values_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(payload)

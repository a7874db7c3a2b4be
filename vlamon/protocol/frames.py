"""Frames: a big-endian u32 length and that many bytes of msgpack, a map whose key `t` names it.

The same frames travel over the live socket, fill the journal and pass through `vlamon relay`.
Everything that decodes foreign bytes does it here, with every size bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

VERSION = (1, 0)
"""Major and minor. Another major is refused; a higher minor may add messages and keys."""
FROM_TRAINER = 1 << 20
"""Largest frame that a monitor accepts, in bytes."""
FROM_MONITOR = 16 << 10
"""Largest frame that a trainer accepts, in bytes."""

HEADER = struct.Struct(">I")
Message = dict[str, Any]


class ProtocolError(Exception):
    """The other side sent something that is not a vlamon frame; the message says what."""


def pack(message: Mapping[str, Any]) -> bytes:
    """One frame, length first.

    Raises ProtocolError where the message is too large for any reader or holds what msgpack
    cannot carry.
    """
    try:
        payload: bytes = msgpack.packb(message, use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"cannot be packed: {error}") from error
    if len(payload) > FROM_TRAINER:
        raise ProtocolError(f"a frame of {len(payload)} bytes is over the {FROM_TRAINER} allowed")
    return HEADER.pack(len(payload)) + payload


def unpack(payload: bytes | memoryview, limit: int = FROM_TRAINER) -> Message:
    """The message in a payload, with every size held under `limit`; else ProtocolError."""
    if len(payload) > limit:
        raise ProtocolError(f"a frame of {len(payload)} bytes is over the {limit} allowed")
    try:
        message = msgpack.unpackb(
            payload,
            raw=False,
            use_list=True,
            strict_map_key=True,
            ext_hook=_no_extension,
            max_str_len=min(limit, 64 << 10),
            max_bin_len=limit,
            max_array_len=min(limit, 64 << 10),
            max_map_len=min(limit, 4 << 10),
            max_ext_len=0,
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a frame is not valid msgpack: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise ProtocolError("a frame is not a map with a name under `t`")
    if not all(isinstance(key, str) for key in message):
        raise ProtocolError("a frame has a key that is not a text")
    return message


def _no_extension(code: int, data: bytes) -> Any:
    raise ProtocolError(f"msgpack extension {code} is not allowed")


class FrameReader:
    """Cuts a stream of bytes into messages, holding at most one frame and one read beyond it."""

    def __init__(self, limit: int = FROM_TRAINER) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what was read; `messages` cuts it up."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The messages that are complete. Raises ProtocolError at the first that is none."""
        for payload in self.payloads():
            yield unpack(payload, self.limit)

    def payloads(self) -> Iterator[bytes]:
        """The same, undecoded."""
        while len(self._buffer) - self._start >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer, self._start)
            if length > self.limit:
                raise ProtocolError(f"a frame of {length} bytes is over the {self.limit} allowed")
            end = self._start + HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[self._start + HEADER.size : end])
            self._start = end
            yield payload

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not fully come."""
        return len(self._buffer) - self._start

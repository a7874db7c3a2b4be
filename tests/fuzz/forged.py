"""Journals that somebody made on purpose: every check sum is right, and not every value."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import msgpack

from vlamon.protocol.frames import FROM_TRAINER, HEADER
from vlamon.protocol.journal import MAGIC, MARK, seal

VALUES: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 1e18, 5e-324, -0.0, 0, -1,
    2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, True, None, "", "x" * 5000, "\x1b]0;a\x07",
    "\u202eabc", "a\nb", "=1+1", "<b>|`", "損失", b"", b"\xff" * 9,
    [], {}, [[[[[[1]]]]]], {"a": {"b": 1}},
    "nan", "1e999", "../../etc/passwd", "/dev/zero",
)  # fmt: skip
"""What a field may hold that no training would put there."""


def payloads(data: bytes) -> list[bytes]:
    """The frames of a journal, whatever their lengths and sums say."""
    return [part[8:] for part in data.split(MARK)[1:]]


def forged(data: bytes) -> bytes:
    """The same journal with single fields changed and every sum made right.

    The bytes say which: an input that broke something breaks it again.
    """
    rng = random.Random(zlib.crc32(data))
    found = [_forged(payload, rng) for payload in payloads(data)]
    if len(found) > 3 and rng.random() < 0.3:
        at = rng.randrange(len(found))
        found[at:at] = [found[rng.randrange(len(found))]] * rng.choice((1, 2, 30))
    frames = [HEADER.pack(len(payload)) + payload for payload in found]
    return MAGIC + b"".join(map(seal, frames))


def _forged(payload: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return payload
    try:
        message = msgpack.unpackb(payload, strict_map_key=False)
        for _ in range(rng.choice((1, 1, 2, 5))):
            message = _changed(message, rng)
        made: bytes = msgpack.packb(message)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return payload
    return made if len(made) <= FROM_TRAINER else payload


def _changed(value: Any, rng: random.Random) -> Any:
    """The same value with one of its leaves changed."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        name = rng.choice(list(value))
        if rng.random() < 0.05:
            changed = {str(rng.choice(VALUES)): value[name]}
            return {**{key: item for key, item in value.items() if key != name}, **changed}
        return {**value, name: _changed(value[name], rng) if name != "t" else value[name]}
    if isinstance(value, list) and value and rng.random() < 0.95:
        at = rng.randrange(len(value))
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    if isinstance(value, bytes) and value and len(value) % 8 == 0 and rng.random() < 0.8:
        at = rng.randrange(len(value) // 8) * 8
        number = rng.choice([one for one in VALUES if isinstance(one, float)])
        packed = struct.pack("<d", number) if rng.random() < 0.7 else rng.randbytes(8)
        return value[:at] + packed + value[at + 8 :]
    return rng.choice(VALUES)

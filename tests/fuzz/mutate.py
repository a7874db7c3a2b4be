"""Damages bytes as disks, crashes, other programs and people do; the same for the same seed."""

from __future__ import annotations

import random
import re

MOST = 1 << 17
"""Bytes of an input at most."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NUMBERS = (
    b"nan", b"-inf", b"Infinity", b"1e999", b"-0", b"0", b"1,234", b"0,5", b"1e-320",
    b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 400, b"1.2.3", b"0x1f", b"",
    b"1_000", b"\xd9\xa3", b"+5", b".", b"1e", b"--1", b"12 %", b"3.4k", b"null", b"true",
)  # fmt: skip
"""Numbers that a reader may stumble over."""
TEXTS = (
    b"\x1b]52;c;aGk=\x07", b"\x1b[2J", b"\xc2\x9b31m", b"\xe2\x80\xae", b"\x00", b"\r", b"\n\n",
    b"\xff\xfe", b"\xef\xbb\xbf", b"=1+1", b"|", b"<script>", b"\xf0\x9f\x98\x80" * 50,
    b"A" * 5000, b"{" * 2000, b"[" * 2000, b"'" * 40, b"=" * 200, b": " * 400, b"(" * 300,
    b"NaN", b"\xed\xa0\x80", b"loss", b"epoch", b"step",
)  # fmt: skip
"""Texts that do harm where they pass for something else."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same with one to six damages."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_DAMAGES)(found, rng)
    return bytes(found[:MOST])


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 10, 13, 27, 32, 34, 44, 127, 128, 255))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _hole(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice((1, 2, 8, 64, 1024))]


def _zeros(data: bytearray, rng: random.Random) -> None:
    """What a file system leaves of a page that was never synced."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 16, 512, 4096)))
    data[at:end] = bytes(end - at)


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(TEXTS)


def _noise(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 3, 17, 200)))


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.choice((1, 10, 100, 1000))]
    data[at:at] = piece * rng.choice((1, 2, 30))


def _number(data: bytearray, rng: random.Random) -> None:
    found = [match.span() for match in _NUMBER.finditer(data[:MOST])]
    if found:
        start, end = rng.choice(found)
        data[start:end] = rng.choice(NUMBERS)


def _swap_lines(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    data[:] = b"\n".join(lines)


def _drop_line(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).split(b"\n")
    del lines[rng.randrange(len(lines))]
    data[:] = b"\n".join(lines)


def _new_names(data: bytearray, rng: random.Random) -> None:
    """Another name on every line: what is kept for each must be bounded."""
    word = rng.choice((b"loss", b"lr", b"closs", b"epoch", b"step"))
    parts = bytes(data).split(word)
    data[:] = b"".join(
        part if at == 0 else word + b"_%d" % at + part for at, part in enumerate(parts)
    )


_DAMAGES = (
    _flip, _byte, _cut, _hole, _zeros, _insert, _noise, _repeat, _number, _number, _swap_lines,
    _drop_line, _new_names,
)  # fmt: skip

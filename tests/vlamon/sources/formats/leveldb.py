"""Writes the LevelDB logs of protobuf messages that W&B and SwanLab keep."""

from __future__ import annotations

import struct

BLOCK = 32768


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def log(magic: bytes, records: list[bytes]) -> bytes:
    data = magic + struct.pack("<HB", 0xBEE1, 0)
    for record in records:
        begun = False
        while True:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data += b"\0" * left
                continue
            piece, record = record[: left - 7], record[left - 7 :]
            kind = (3 if record else 4) if begun else (2 if record else 1)
            data += struct.pack("<IHB", 0, len(piece), kind) + piece
            begun = True
            if not record:
                break
    return data

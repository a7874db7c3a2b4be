"""One metric's cells as bytes: packed, narrowed, joined, cut, and checked where others sent them.

Pure Python on purpose, as the blocks are: only `record` needs NumPy.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vlamon.protocol.frames import ProtocolError
from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon.records import Column

MAX_NAME = 200
"""Bytes of a metric's name."""
_WIDTH = {"f": 4, "d": 8}
_SWAP = sys.byteorder == "big"


class PackedColumn(NamedTuple):
    """The cells of one metric that were logged, and in which rows they stand."""

    code: str
    """`f` (f32) or `d` (f64): the smaller one that keeps every value exactly."""
    values: bytes
    """Little-endian, only the cells that are present."""
    present: bytes | None = None
    """One byte a row, 1 where the cell is present; None when all are."""


def narrow(column: PackedColumn) -> PackedColumn:
    """As f32 where that loses no bit."""
    if column.code == "f":
        return column
    half = array("f", floats("d", column.values))
    if little(array("d", half)) != column.values:
        return column
    return PackedColumn("f", little(half), column.present)


def join(parts: Sequence[tuple[int, PackedColumn | None]]) -> PackedColumn:
    """One column of several that follow each other, with the rows of each; None has no cell."""
    code = "d" if any(part.code == "d" for _, part in parts if part) else "f"
    values = b"".join(_as_code(part, code) for _, part in parts if part)
    if all(part is not None and part.present is None for _, part in parts):
        return PackedColumn(code, values)
    present = b"".join(
        bytes(rows) if part is None else part.present or b"\1" * rows for rows, part in parts
    )
    return PackedColumn(code, values, present)


def cut(column: PackedColumn, first: int, end: int) -> PackedColumn | None:
    """The cells of rows `first` … `end - 1`; None where there are none."""
    width = _WIDTH[column.code]
    if column.present is None:
        return PackedColumn(column.code, column.values[first * width : end * width])
    before = column.present.count(1, 0, first)
    inside = column.present.count(1, first, end)
    if not inside:
        return None
    values = column.values[before * width : (before + inside) * width]
    return PackedColumn(
        column.code, values, None if inside == end - first else column.present[first:end]
    )


def to_cell(column: PackedColumn) -> list[Any]:
    """The column as the wire carries it: code, values, and a bit a row where some are missing."""
    if column.present is None:
        return [column.code, column.values]
    return [column.code, column.values, _to_bits(column.present)]


def from_cell(name: object, cell: object, rows: int) -> PackedColumn:
    """A column from foreign bytes; every length is checked. Raises ProtocolError."""
    if not isinstance(name, str) or not isinstance(cell, list) or len(cell) not in (2, 3):
        raise ProtocolError(f"column {name!r:.60} of a batch block is malformed")
    code, values = cell[0], cell[1]
    if code not in ("f", "d") or not isinstance(values, bytes):
        raise ProtocolError(f"column {name!r:.60} of a batch block is of an unknown type")
    present, count = None, rows
    if len(cell) == 3:
        bits = cell[2]
        if not isinstance(bits, bytes) or len(bits) != (rows + 7) // 8:
            raise ProtocolError(f"the presence of {name!r:.60} does not have {rows} bits")
        present = _from_bits(bits, rows)
        count = present.count(1)
    if len(values) != count * _WIDTH[code]:
        raise ProtocolError(f"column {name!r:.60} of a batch block does not have {count} values")
    return PackedColumn(code, values, present)


def checked_name(name: object) -> str:
    """A metric's name: one line of printable text. Raises ProtocolError where it is not a text."""
    if not isinstance(name, str):
        raise ProtocolError(f"a metric is called {name!r:.60}")
    return name if name.isprintable() else line(name)


def last(column: PackedColumn) -> float:
    """Its newest value."""
    return floats(column.code, column.values[-_WIDTH[column.code] :])[0]


def records(packed: Mapping[str, PackedColumn]) -> dict[str, Column]:
    """The columns as the store takes them."""
    import numpy as np

    from vlamon.records import Column

    found = {}
    for name, column in packed.items():
        values = np.frombuffer(column.values, dtype="<f8" if column.code == "d" else "<f4")
        values = values.astype(np.float64, copy=False)
        if column.present is None:
            found[name] = Column(values)
            continue
        present = np.frombuffer(column.present, dtype=np.bool_)
        full = np.full(len(present), math.nan)
        full[present] = values
        found[name] = Column(full, present)
    return found


def _as_code(column: PackedColumn, code: str) -> bytes:
    if column.code == code:
        return column.values
    return little(array("d", floats("f", column.values)))


def floats(code: str, data: bytes) -> array[float]:
    """Numbers from little-endian bytes."""
    values: array[float] = array(code)
    values.frombytes(data)
    if _SWAP:
        values.byteswap()
    return values


def little(values: array[Any]) -> bytes:
    """Numbers as little-endian bytes."""
    if _SWAP:
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


_BYTE_OF_BITS = [bytes(value >> bit & 1 for bit in range(8)) for value in range(256)]


def _to_bits(present: bytes) -> bytes:
    """One byte a row to one bit a row, lowest bit first."""
    digits = present.translate(_DIGITS)[::-1]
    return int(digits, 2).to_bytes((len(present) + 7) // 8, "little")


def _from_bits(bits: bytes, rows: int) -> bytes:
    return b"".join([_BYTE_OF_BITS[byte] for byte in bits])[:rows]


_DIGITS = bytes([ord("0")] + [ord("1")] * 255)

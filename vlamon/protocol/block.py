"""Consecutive batches of one attempt as packed columns: the unit that is logged, sent and stored.

Pure Python on purpose: the training process builds blocks without NumPy, and joins them by joining
bytes. Only `record` needs NumPy, and only on the reading side.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from vlamon.protocol.frames import FROM_TRAINER, Message, ProtocolError
from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon.records import BatchBlock

ROWS = 4096
"""Rows that a block grows to as it ages."""
MAX_BYTES = FROM_TRAINER * 3 // 4
"""Bytes that a block may grow to; what is left of a frame is room for names and weights."""
MAX_METRICS = 1000
"""Metrics that one run may have; a script that makes up a name a step must not fill memory."""
MAX_NAME = 200
"""Bytes of a metric's name."""
MAX_STEP = 1 << 53
"""Largest step: axes are floats, which hold no larger one exactly."""
_WIDTH = {"f": 4, "d": 8}
_SWAP = sys.byteorder == "big"

Row = tuple[int, float, float, Mapping[str, float]]
"""Step, epoch (NaN unknown), time, metrics."""


class PackedColumn(NamedTuple):
    """The cells of one metric that were logged, and in which rows they stand."""

    code: str
    """`f` (f32) or `d` (f64): the smaller one that keeps every value exactly."""
    values: bytes
    """Little-endian, only the cells that are present."""
    present: bytes | None = None
    """One byte a row, 1 where the cell is present; None when all are."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows `seq` … `seq + rows - 1`."""

    seq: int
    rows: int
    attempt: int
    step: bytes
    """i64 a row, little-endian."""
    epoch: bytes
    """f64 a row; NaN where unknown."""
    time: bytes
    """f64 a row, seconds since the epoch."""
    columns: Mapping[str, PackedColumn]
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights in force from the first row on; empty where they are as before."""

    @property
    def end(self) -> int:
        """Sequence number after the last row."""
        return self.seq + self.rows

    @property
    def first_step(self) -> int:
        return int.from_bytes(self.step[:8], "little", signed=True)

    @property
    def last_step(self) -> int:
        return int.from_bytes(self.step[-8:], "little", signed=True)

    @property
    def size(self) -> int:
        """About how many bytes the block's frame has."""
        cells = sum(
            len(name.encode()) + 16 + len(column.values) + (self.rows + 7) // 8
            for name, column in self.columns.items()
        )
        return 24 * self.rows + cells + 24 * len(self.weights) + 64

    def fits_with(self, other: Block) -> bool:
        """Whether `other` follows and fits into one block with this one."""
        return self.end == other.seq and self.attempt == other.attempt and not other.weights


def rows_per_block(metrics: int) -> int:
    """Rows of that many metrics that surely fit one block."""
    room = MAX_BYTES - metrics * (MAX_NAME + 16)
    return max(1, min(ROWS, room // (24 + 9 * max(metrics, 1))))


def from_rows(
    seq: int, attempt: int, rows: Sequence[Row], weights: Mapping[str, float] | None = None
) -> Block:
    """A block of at least one row."""
    count, names = len(rows), tuple(rows[0][3])
    dense = all(tuple(row[3]) == names for row in rows)
    cells = zip(*(row[3].values() for row in rows), strict=True) if dense else ()
    # All columns in one array and cut apart: an array a column would cost four times as much.
    plain = [*(row[1] for row in rows), *(row[2] for row in rows), *chain.from_iterable(cells)]
    packed = _little(array("d", plain))
    parts = [packed[start : start + 8 * count] for start in range(0, len(packed), 8 * count)]
    if dense:
        pairs = zip(names, parts[2:], strict=True)
        columns = {name: PackedColumn("d", part) for name, part in pairs}
    else:
        columns = _sparse_columns(rows)
    return Block(
        seq=seq,
        rows=count,
        attempt=attempt,
        step=_little(array("q", [row[0] for row in rows])),
        epoch=parts[0],
        time=parts[1],
        columns=columns,
        weights=dict(weights or {}),
    )


def _sparse_columns(rows: Sequence[Row]) -> dict[str, PackedColumn]:
    """Columns of rows that do not all log the same metrics."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row[3]))
    columns = {}
    for name in names:
        cells = [row[3].get(name) for row in rows]
        values = [cell for cell in cells if cell is not None]
        present = None if len(values) == len(rows) else bytes(cell is not None for cell in cells)
        columns[name] = PackedColumn("d", _little(array("d", values)), present)
    return columns


def can_join(group: Sequence[Block], size: int, block: Block) -> bool:
    """Whether `block` fits into one frame with the blocks before it, which have `size` bytes.

    Weights that are repeated do not part them, weights that differ do.
    """
    first, last = group[0], group[-1]
    return (
        last.end == block.seq
        and last.attempt == block.attempt
        and (not block.weights or block.weights == first.weights)
        and block.end - first.seq <= ROWS
        and size + block.size <= MAX_BYTES
    )


def narrow(block: Block) -> Block:
    """The same block with every column as f32 that loses no bit by it.

    Losses come from f32 tensors more often than not: half the bytes then, in memory and on disk.
    Fresh rows are not worth the work.
    """
    return replace(block, columns={name: _narrow(part) for name, part in block.columns.items()})


def _narrow(column: PackedColumn) -> PackedColumn:
    if column.code == "f":
        return column
    narrow = array("f", _floats("d", column.values))
    if _little(array("d", narrow)) != column.values:
        return column
    return PackedColumn("f", _little(narrow), column.present)


def join(blocks: Sequence[Block]) -> Block:
    """One block of several that follow each other and fit together."""
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    names: dict[str, None] = {}
    for block in blocks:
        names.update(dict.fromkeys(block.columns))
    return Block(
        seq=first.seq,
        rows=sum(block.rows for block in blocks),
        attempt=first.attempt,
        step=b"".join(block.step for block in blocks),
        epoch=b"".join(block.epoch for block in blocks),
        time=b"".join(block.time for block in blocks),
        columns={name: _join_column(name, blocks) for name in names},
        weights=first.weights,
    )


def _join_column(name: str, blocks: Sequence[Block]) -> PackedColumn:
    parts = [(block.rows, block.columns.get(name)) for block in blocks]
    code = "d" if any(part.code == "d" for _, part in parts if part) else "f"
    values = b"".join(_as_code(part, code) for _, part in parts if part)
    if all(part is not None and part.present is None for _, part in parts):
        return PackedColumn(code, values)
    present = b"".join(
        bytes(rows) if part is None else part.present or b"\1" * rows for rows, part in parts
    )
    return PackedColumn(code, values, present)


def cut(block: Block, first: int, end: int) -> Block:
    """Rows `first` … `end - 1` of the block, counted within it."""
    if first == 0 and end == block.rows:
        return block
    columns = {}
    for name, column in block.columns.items():
        width = _WIDTH[column.code]
        if column.present is None:
            columns[name] = PackedColumn(column.code, column.values[first * width : end * width])
            continue
        before = column.present.count(1, 0, first)
        inside = column.present.count(1, first, end)
        if inside:
            values = column.values[before * width : (before + inside) * width]
            present = None if inside == end - first else column.present[first:end]
            columns[name] = PackedColumn(column.code, values, present)
    return Block(
        seq=block.seq + first,
        rows=end - first,
        attempt=block.attempt,
        step=block.step[first * 8 : end * 8],
        epoch=block.epoch[first * 8 : end * 8],
        time=block.time[first * 8 : end * 8],
        columns=columns,
        weights=block.weights if first == 0 else {},
    )


def to_message(block: Block) -> Message:
    """The block as the wire carries it: see docs/wire.md, `batch`."""
    columns: dict[str, list[Any]] = {}
    for name, column in block.columns.items():
        cell: list[Any] = [column.code, column.values]
        if column.present is not None:
            cell.append(_to_bits(column.present))
        columns[name] = cell
    message: Message = {
        "t": "batch",
        "seq": block.seq,
        "n": block.rows,
        "attempt": block.attempt,
        "step": block.step,
        "epoch": block.epoch,
        "time": block.time,
        "c": columns,
    }
    if block.weights:
        message["w"] = dict(block.weights)
    return message


def from_message(message: Message) -> Block:
    """A block from foreign bytes; every length is checked. Raises ProtocolError."""
    seq, rows, attempt = (_count(message, key) for key in ("seq", "n", "attempt"))
    if not 0 < rows <= FROM_TRAINER // 24:
        raise ProtocolError(f"a batch block says that it has {rows} rows")
    plain = []
    for key in ("step", "epoch", "time"):
        values = message.get(key)
        if not isinstance(values, bytes) or len(values) != 8 * rows:
            raise ProtocolError(f"column `{key}` of a batch block has not {rows} values")
        plain.append(values)
    raw = message.get("c")
    if not isinstance(raw, dict) or len(raw) > MAX_METRICS:
        raise ProtocolError("a batch block has no columns")
    columns = {checked_name(name): _checked_column(name, cell, rows) for name, cell in raw.items()}
    weights = message.get("w") or {}
    if not isinstance(weights, dict) or len(weights) > MAX_METRICS:
        raise ProtocolError("the weights of a batch block are no map")
    for name, weight in weights.items():
        if not isinstance(name, str) or not isinstance(weight, float | int):
            raise ProtocolError(f"the weight of {name!r:.60} is no number")
    known = {
        checked_name(name): float(weight)
        for name, weight in weights.items()
        if math.isfinite(weight)
    }
    return Block(seq, rows, attempt, plain[0], plain[1], plain[2], columns, known)


def checked_name(name: object) -> str:
    """A metric's name: one line of printable text. Raises ProtocolError where it is no text."""
    if not isinstance(name, str):
        raise ProtocolError(f"a metric is called {name!r:.60}")
    return name if name.isprintable() else line(name)


def _count(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ProtocolError(f"a batch block has a wrong `{key}`: {value!r:.60}")
    return value


def _checked_column(name: object, cell: object, rows: int) -> PackedColumn:
    if not isinstance(name, str) or not isinstance(cell, list) or len(cell) not in (2, 3):
        raise ProtocolError(f"column {name!r:.60} of a batch block is malformed")
    code, values = cell[0], cell[1]
    if code not in ("f", "d") or not isinstance(values, bytes):
        raise ProtocolError(f"column {name!r:.60} of a batch block is of an unknown type")
    present, count = None, rows
    if len(cell) == 3:
        bits = cell[2]
        if not isinstance(bits, bytes) or len(bits) != (rows + 7) // 8:
            raise ProtocolError(f"the presence of {name!r:.60} has not {rows} bits")
        present = _from_bits(bits, rows)
        count = present.count(1)
    if len(values) != count * _WIDTH[code]:
        raise ProtocolError(f"column {name!r:.60} of a batch block has not {count} values")
    return PackedColumn(code, values, present)


def last_values(block: Block) -> dict[str, float]:
    """The newest present value of every metric, without NumPy: what `vlamon status` prints."""
    found = {}
    for name, column in block.columns.items():
        if column.values:
            found[name] = _floats(column.code, column.values[-_WIDTH[column.code] :])[0]
    return found


def times(block: Block) -> list[float]:
    """Time of each row, without NumPy."""
    return list(_floats("d", block.time))


def record(block: Block) -> BatchBlock:
    """The block as the store takes it. Raises ProtocolError where no axis can hold its steps."""
    import numpy as np

    from vlamon.records import BatchBlock, Column

    columns = {}
    for name, packed in block.columns.items():
        values = np.frombuffer(packed.values, dtype="<f8" if packed.code == "d" else "<f4")
        values = values.astype(np.float64, copy=False)
        if packed.present is None:
            columns[name] = Column(values)
            continue
        present = np.frombuffer(packed.present, dtype=np.bool_)
        full = np.full(block.rows, math.nan)
        full[present] = values
        columns[name] = Column(full, present)
    step = np.frombuffer(block.step, dtype="<i8")
    if step.min() < -MAX_STEP or step.max() > MAX_STEP:
        raise ProtocolError("a batch block has a step beyond 53 bits")
    epoch, time = (np.frombuffer(data, dtype="<f8") for data in (block.epoch, block.time))
    return BatchBlock(
        seq=block.seq,
        attempt=block.attempt,
        step=step,
        # An infinite epoch or time places no row on an axis: unknown, as NaN is.
        epoch=epoch if not np.isinf(epoch).any() else np.where(np.isinf(epoch), math.nan, epoch),
        time=time if not np.isinf(time).any() else np.where(np.isinf(time), math.nan, time),
        columns=columns,
        weights=block.weights,
    )


def _as_code(column: PackedColumn, code: str) -> bytes:
    if column.code == code:
        return column.values
    return _little(array("d", _floats("f", column.values)))


def _floats(code: str, data: bytes) -> array[float]:
    values: array[float] = array(code)
    values.frombytes(data)
    if _SWAP:
        values.byteswap()
    return values


def _little(values: array[Any]) -> bytes:
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

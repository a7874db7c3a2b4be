"""Consecutive batches of one attempt as packed columns: the unit that is logged, sent and stored.

Pure Python on purpose: the training process builds blocks without NumPy, and joins them by joining
bytes. Only `record` needs NumPy, and only on the reading side.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from vlamon.protocol import columns
from vlamon.protocol.columns import MAX_NAME, PackedColumn, checked_name, floats, little
from vlamon.protocol.frames import FROM_TRAINER, Message, ProtocolError

if TYPE_CHECKING:
    from vlamon.records import BatchBlock

ROWS = 4096
"""Rows that a block grows to as it ages."""
MAX_BYTES = FROM_TRAINER * 3 // 4
"""Bytes that a block may grow to; what is left of a frame is room for names and weights."""
MAX_METRICS = 1000
"""Metrics that one run may have; a script that makes up a name a step must not fill memory."""
MAX_STEP = 1 << 53
"""Largest step: axes are floats, which hold no larger one exactly."""

Row = tuple[int, float, float, Mapping[str, float]]
"""Step, epoch (NaN unknown), time, metrics."""


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
    packed = little(array("d", plain))
    parts = [packed[start : start + 8 * count] for start in range(0, len(packed), 8 * count)]
    if dense:
        pairs = zip(names, parts[2:], strict=True)
        made = {name: PackedColumn("d", part) for name, part in pairs}
    else:
        made = _sparse_columns(rows)
    return Block(
        seq=seq,
        rows=count,
        attempt=attempt,
        step=little(array("q", [row[0] for row in rows])),
        epoch=parts[0],
        time=parts[1],
        columns=made,
        weights=dict(weights or {}),
    )


def _sparse_columns(rows: Sequence[Row]) -> dict[str, PackedColumn]:
    """Columns of rows that do not all log the same metrics."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row[3]))
    made = {}
    for name in names:
        cells = [row[3].get(name) for row in rows]
        values = [cell for cell in cells if cell is not None]
        present = None if len(values) == len(rows) else bytes(cell is not None for cell in cells)
        made[name] = PackedColumn("d", little(array("d", values)), present)
    return made


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
    return replace(
        block, columns={name: columns.narrow(part) for name, part in block.columns.items()}
    )


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
        columns={
            name: columns.join([(block.rows, block.columns.get(name)) for block in blocks])
            for name in names
        },
        weights=first.weights,
    )


def cut(block: Block, first: int, end: int) -> Block:
    """Rows `first` … `end - 1` of the block, counted within it."""
    if first == 0 and end == block.rows:
        return block
    parts = ((name, columns.cut(column, first, end)) for name, column in block.columns.items())
    return Block(
        seq=block.seq + first,
        rows=end - first,
        attempt=block.attempt,
        step=block.step[first * 8 : end * 8],
        epoch=block.epoch[first * 8 : end * 8],
        time=block.time[first * 8 : end * 8],
        columns={name: part for name, part in parts if part is not None},
        weights=block.weights if first == 0 else {},
    )


def to_message(block: Block) -> Message:
    """The block as the wire carries it: see docs/wire.md, `batch`."""
    message: Message = {
        "t": "batch",
        "seq": block.seq,
        "n": block.rows,
        "attempt": block.attempt,
        "step": block.step,
        "epoch": block.epoch,
        "time": block.time,
        "c": {name: columns.to_cell(column) for name, column in block.columns.items()},
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
            raise ProtocolError(f"column `{key}` of a batch block does not have {rows} values")
        plain.append(values)
    raw = message.get("c")
    if not isinstance(raw, dict) or len(raw) > MAX_METRICS:
        raise ProtocolError("a batch block has no columns")
    found = {checked_name(name): columns.from_cell(name, cell, rows) for name, cell in raw.items()}
    weights = message.get("w") or {}
    if not isinstance(weights, dict) or len(weights) > MAX_METRICS:
        raise ProtocolError("the weights of a batch block are not a map")
    for name, weight in weights.items():
        if not isinstance(name, str) or not isinstance(weight, float | int):
            raise ProtocolError(f"the weight of {name!r:.60} is not a number")
    known = {
        checked_name(name): float(weight)
        for name, weight in weights.items()
        if math.isfinite(weight)
    }
    return Block(seq, rows, attempt, plain[0], plain[1], plain[2], found, known)


def _count(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ProtocolError(f"a batch block has a wrong `{key}`: {value!r:.60}")
    return value


def last_values(block: Block) -> dict[str, float]:
    """The newest present value of every metric, without NumPy: what `vlamon status` prints."""
    return {name: columns.last(column) for name, column in block.columns.items() if column.values}


def times(block: Block) -> list[float]:
    """Time of each row, without NumPy."""
    return list(floats("d", block.time))


def record(block: Block) -> BatchBlock:
    """The block as the store takes it. Raises ProtocolError where no axis can hold its steps."""
    import numpy as np

    from vlamon.records import BatchBlock

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
        columns=columns.records(block.columns),
        weights=block.weights,
    )

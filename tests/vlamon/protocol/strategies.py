"""Random rows, blocks and messages for the property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block, Row

names = st.sampled_from(["closs", "loss_ct", "z_loss", "l1_loss_action_5", "grad_norm", "µ"])
floats = st.floats(width=64) | st.floats(width=32)
steps = st.integers(-(1 << 40), 1 << 40)

# An infinite epoch is unknown to the reader; see test_block.py.
rows = st.lists(
    st.tuples(
        steps,
        st.floats(allow_infinity=False),
        st.floats(0, 1e12),
        st.dictionaries(names, floats, max_size=6),
    ),
    min_size=1,
    max_size=20,
)

json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KINDS = ("hello", "metrics", "batch", "gpu", "event", "status", "reply", "gap", "epoch", "bye")
messages_ = st.builds(
    lambda name, rest: rest | {"t": name},
    st.sampled_from(KINDS) | st.text(),
    st.dictionaries(st.text(max_size=8), json_like, max_size=5),
)


@st.composite
def chains(draw: st.DrawFn) -> list[Block]:
    """Blocks that follow each other, with attempts and weights that change now and then."""
    made: list[Block] = []
    seq, attempt = draw(st.integers(0, 1000)), draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 8))):
        weights = draw(st.dictionaries(names, st.floats(0, 10), max_size=2))
        block = blocks.from_rows(seq, attempt, draw(rows), weights if draw(st.booleans()) else {})
        made.append(block)
        seq = block.end
        attempt += draw(st.integers(0, 1))
    return made


def rows_of(block: Block) -> list[Row]:
    """The rows in a block, by its own record."""
    record = blocks.record(block)
    found: list[Row] = []
    for row in range(record.rows):
        metrics = {
            name: float(column.values[row])
            for name, column in record.columns.items()
            if column.present is None or column.present[row]
        }
        found.append(
            (int(record.step[row]), float(record.epoch[row]), float(record.time[row]), metrics)
        )
    return found

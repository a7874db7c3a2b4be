"""Columnar blocks: exact, joinable, cuttable, and suspicious of what others send."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.protocol.strategies import chains, json_like, rows, rows_of
from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block, Row
from vlamon.protocol.frames import ProtocolError, pack, unpack


def exact(rows: list[Row]) -> list[Any]:
    """Rows with every float as its bits, NaN payloads of no interest."""

    def bits(value: float) -> bytes:
        return b"nan" if value != value else struct.pack("d", value)

    return [
        (step, bits(epoch), bits(when), {name: bits(value) for name, value in cells.items()})
        for step, epoch, when, cells in rows
    ]


def through_the_wire(block: Block) -> Block:
    return blocks.from_message(unpack(pack(blocks.to_message(block))[4:]))


@given(rows)
def test_rows_come_back_with_every_bit(given_rows: list[Row]) -> None:
    block = through_the_wire(blocks.from_rows(5, 2, given_rows))
    assert (block.seq, block.end, block.attempt) == (5, 5 + len(given_rows), 2)
    assert exact(rows_of(block)) == exact(given_rows)
    assert exact(rows_of(through_the_wire(blocks.narrow(block)))) == exact(given_rows)


@given(rows, st.data())
def test_a_cut_holds_just_its_rows(given_rows: list[Row], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(given_rows) - 1))
    end = data.draw(st.integers(first + 1, len(given_rows)))
    part = blocks.cut(blocks.from_rows(0, 0, given_rows), first, end)
    assert part.seq == first
    assert exact(rows_of(through_the_wire(part))) == exact(given_rows[first:end])


@given(st.lists(rows, min_size=1, max_size=5))
def test_joined_blocks_hold_the_same_rows(parts: list[list[Row]]) -> None:
    made, seq = [], 0
    for part in parts:
        made.append(blocks.from_rows(seq, 0, part))
        seq += len(part)
    joined = through_the_wire(blocks.join(made))
    assert joined.rows == seq
    assert exact(rows_of(joined)) == exact([row for part in parts for row in part])


@given(chains())
def test_last_values_are_the_newest_present_cells(chain: list[Block]) -> None:
    for block in chain:
        wanted: dict[str, float] = {}
        for row in rows_of(block):
            wanted |= row[3]
        assert repr(sorted(blocks.last_values(block).items())) == repr(sorted(wanted.items()))


def test_values_that_fit_single_precision_take_half_the_bytes() -> None:
    (narrow, wide) = (
        blocks.narrow(blocks.from_rows(0, 0, [(0, 0.0, 0.0, {"closs": value})])).columns["closs"]
        for value in (0.5, 1 / 3)
    )
    assert (narrow.code, len(narrow.values)) == ("f", 4)
    assert (wide.code, len(wide.values)) == ("d", 8)


GOOD = blocks.to_message(blocks.from_rows(0, 0, [(1, 0.0, 0.0, {"closs": 1.0})] * 9))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 10},
        {"n": 0},
        {"n": 1 << 40},
        {"n": True},
        {"seq": -1},
        {"attempt": "0"},
        {"step": b"short"},
        {"time": None},
        {"c": []},
        {"c": {"closs": ["f", b"\0" * 35]}},
        {"c": {"closs": ["q", b"\0" * 72]}},
        {"c": {"closs": ["f", b"\0" * 36, b"\0"]}},
        {"c": {"closs": ["f", b"\0" * 36, b"\0\0"]}},
        {"w": [1]},
        {"w": {"closs": "heavy"}},
    ],
)
def test_a_block_whose_lengths_do_not_agree_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        blocks.from_message(GOOD | wrong)


@given(st.dictionaries(st.sampled_from(list(GOOD)), json_like | st.binary(), min_size=1))
def test_any_wrong_field_is_a_block_or_a_clean_error(wrong: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        rows_of(blocks.from_message(GOOD | wrong))


def test_a_thousand_metrics_still_fit_a_frame() -> None:
    cells = {f"{'long_name' * 20}_{index}": index / 3 for index in range(blocks.MAX_METRICS)}
    count = blocks.rows_per_block(len(cells))
    block = blocks.from_rows(0, 0, [(step, 0.0, 0.0, cells) for step in range(count)])
    assert through_the_wire(block).rows == count


def test_an_infinite_epoch_or_time_is_unknown_to_the_reader() -> None:
    made = [(1, math.inf, 5.0, {"closs": math.inf}), (2, 0.5, -math.inf, {"closs": 1.0})]
    record = blocks.record(blocks.from_rows(0, 0, made))
    assert np.isnan(record.epoch).tolist() == [True, False]
    assert np.isnan(record.time).tolist() == [False, True]
    assert record.columns["closs"].values[0] == math.inf


def test_names_are_one_line_of_printable_text_to_the_reader() -> None:
    message = blocks.to_message(blocks.from_rows(0, 0, [(1, 0.5, 5.0, {"a\x1b]0;b\nc": 1.0})]))
    message["w"] = {"a\nb": 1.0, "b": math.inf}
    block = blocks.from_message(message)
    assert all(name.isprintable() for name in block.columns)
    assert block.weights == {"a b": 1.0}


@pytest.mark.parametrize("step", [1 << 62, -(1 << 62)])
def test_a_step_that_no_axis_holds_is_a_clean_error(step: int) -> None:
    with pytest.raises(ProtocolError, match="beyond 53 bits"):
        blocks.record(blocks.from_rows(0, 0, [(step, 0.5, 5.0, {"closs": 1.0})]))

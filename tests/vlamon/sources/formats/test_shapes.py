"""The fast reader reads what the slow one would, number for number."""

from __future__ import annotations

import math
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.sources.formats.reference_output import layout_of as metric_logger_layout
from vlamon.sources.formats.shapes import Layout, ShapeReader, merge, pieces_of

FIELD = re.compile(rb"([a-z_]+\d*): ([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))(?=\s|$)")


def layout_of(line: bytes) -> Layout | None:
    found = list(FIELD.finditer(line))
    if not found:
        return None
    names = tuple(one.group(1).decode() for one in found)
    return Layout(names, tuple(one.span(2) for one in found), tuple(o.span(1) for o in found))


def slowly(data: bytes) -> dict[int, dict[str, float]]:
    rows = {}
    for number, line in enumerate(data.split(b"\n")):
        found = {m.group(1).decode(): float(m.group(2)) for m in FIELD.finditer(line)}
        if found:
            rows[number] = found
    return rows


def fast(data: bytes, reader: ShapeReader | None = None) -> dict[int, dict[str, float]]:
    block = (reader or ShapeReader(layout_of)).read(data)
    rows: dict[int, dict[str, float]] = {}
    for sheet in block.sheets:
        for row, values in zip(sheet.rows.tolist(), sheet.values.tolist(), strict=True):
            assert row not in rows
            rows[row] = dict(zip(sheet.names, values, strict=True))
    return rows


def same(one: dict[int, dict[str, float]], other: dict[int, dict[str, float]]) -> bool:
    return repr(sorted((r, sorted(v.items())) for r, v in one.items())) == repr(
        sorted((r, sorted(v.items())) for r, v in other.items())
    )


NUMBERS = st.one_of(
    st.floats(0, 1e7).map(lambda value: f"{value:.4f}"),
    st.floats(-1e3, 1e3).map(lambda value: f"{value:.6f}"),
    st.integers(0, 10**12).map(str),
    st.floats(1e-9, 1e9).map(lambda value: f"{value:.3e}"),
    st.floats(0, 1).map(repr),
    st.sampled_from(["nan", "inf", "-inf", "0", "0.0000", "123456789.12345678", "7."]),
)
LINES = st.lists(
    st.one_of(
        st.tuples(NUMBERS, NUMBERS).map(lambda n: f"a: {n[0]}  acc_5: {n[1]}"),
        st.tuples(NUMBERS, NUMBERS).map(lambda n: f"a: {n[0]}  acc_6: {n[1]}"),
        st.sampled_from(["", "warning 12 of 3", "a: ", "W1124 12:41:10.331000 run.py:793]"]),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_any_lines_read_as_float_reads_them(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    assert same(fast(data), slowly(data))


@settings(max_examples=50, deadline=None)
@given(st.lists(LINES, max_size=4))
def test_a_reader_that_has_met_shapes_reads_on_as_well(blocks: list[list[str]]) -> None:
    reader = ShapeReader(layout_of)
    for lines in blocks:
        data = "\n".join(lines).encode()
        assert same(fast(data, reader), slowly(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_end_in_sheets_and_rest(data: bytes) -> None:
    block = ShapeReader(layout_of).read(data)
    assert block.lines == len(block.rest) + sum(len(sheet.rows) for sheet in block.sheets)


def test_a_digit_of_a_name_is_no_value() -> None:
    data = b"acc_5: 0.5000  acc_6: 0.6000\nacc_6: 0.6100  acc_5: 0.5100\n"
    assert fast(data) == {0: {"acc_5": 0.5, "acc_6": 0.6}, 1: {"acc_6": 0.61, "acc_5": 0.51}}


def test_sheets_of_two_layouts_are_laid_in_the_files_order() -> None:
    data = b"a: 1.0\nb: 2.0\na: 3.0\n"
    rows, table, present = merge(ShapeReader(layout_of).read(data).sheets, ["a", "b"])
    assert rows.tolist() == [0, 1, 2]
    assert present.tolist() == [[True, False], [False, True], [True, False]]
    assert table[2, 0] == 3.0
    assert math.isnan(table[1, 0])


@given(st.binary(max_size=200), st.integers(1, 40))
def test_pieces_are_the_whole_and_end_with_lines(data: bytes, size: int) -> None:
    pieces = list(pieces_of(data, size))
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


def test_thousands_of_lines_are_one_sheet() -> None:
    values = np.random.default_rng(0).random(5000)
    data = "".join(f"loss: {value:.4f}\n" for value in values).encode()
    (sheet,) = ShapeReader(layout_of).read(data).sheets
    assert np.array_equal(sheet.values[:, 0], np.round(values, 4))


def test_a_digit_that_damage_sets_beside_a_stamp_breaks_nothing() -> None:
    line = b"[misc.py:146] %s-11-24 00:01:02,%s >> Epoch: [0]  [10/1312]  closs: 8.5 (8.5)\n"
    for year, thousandths in ((b"12025", b"123"), (b"2025", b"1234"), (b"92025", b"4567")):
        reader = ShapeReader(metric_logger_layout, b"Epoch: [")
        block = reader.read((line % (year, thousandths)) * 3 + line % (b"2025", b"123"))
        rows = [row for sheet in block.sheets for row in sheet.rows.tolist()]
        values = [
            float(v) for sheet in block.sheets for v in sheet.values[:, sheet.names.index("closs")]
        ]
        assert sorted(rows) == [0, 1, 2, 3]
        assert values == [8.5] * 4

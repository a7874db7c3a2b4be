"""Reads many log lines of one make at the speed of NumPy instead of a regex a line.

A training prints the same line over and over with other digits in it. So a line without its digits
is its *shape*: the first line of a shape is read slowly, which tells where the wanted numbers are
among its runs of digits; every further line of that shape is then read for all at once, eight
digits an instruction. Numbers come out exactly as `float()` would read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGITS = b"0123456789"
_MOST_PLANS = 64
"""Layouts of one shape: names that differ in a digit alone. Further ones are read line by line."""
_MOST_SHAPES = 4096
_IS_DIGIT = bytes(int(48 <= byte <= 57) for byte in range(256))
_POWERS = 10.0 ** np.arange(0, 17)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a line holds what; found by a format's own slow reading of one line."""

    names: tuple[str, ...]
    """What the numbers are called, in the line's order."""
    spans: tuple[Span, ...]
    """Where each number stands."""
    fixed: tuple[Span, ...] = ()
    """Places whose digits belong to the layout itself, such as the 5 of `acc_action_5`."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Lines of a block that share one layout."""

    names: tuple[str, ...]
    """Column names."""
    rows: NDArray[np.int64]
    """Index of each line within the block, ascending."""
    values: NDArray[np.float64]
    """One row a line, one column a name."""


@dataclass(frozen=True, slots=True)
class TextBlock:
    """All lines of a piece of a log."""

    lines: int
    """How many there are."""
    sheets: tuple[Sheet, ...]
    """The ones that were read."""
    rest: tuple[tuple[int, bytes], ...]
    """Index and text of the others."""


@dataclass(frozen=True, slots=True)
class _Number:
    whole: int
    """Digit run before the point."""
    fraction: int
    """Digit run behind it, −1 for an integer."""
    sign: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """A layout in terms of digit runs; None for a number means that the slow way is needed."""

    layout: Layout
    runs: int
    numbers: tuple[_Number, ...] | None
    constants: tuple[float | None, ...]
    """`nan` and `inf` hold no digit: they are part of the shape and the same in every line."""
    fixed: tuple[tuple[int, bytes], ...]
    """Digit runs that must read just so."""


class ShapeReader:
    """Reads blocks of whole lines; remembers the shapes that it has met."""

    def __init__(self, layout_of: Callable[[bytes], Layout | None], marker: bytes = b"") -> None:
        self._layout_of = layout_of
        self._marker = marker
        self._plans: dict[bytes, list[_Plan]] = {}

    def read(self, data: bytes) -> TextBlock:
        """Read whole lines; the last one may lack its newline."""
        if not data:
            return TextBlock(0, (), ())
        if not data.endswith(b"\n"):
            data += b"\n"
        text = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(text == 10)
        starts = np.empty_like(ends)
        starts[0], starts[1:] = 0, ends[:-1] + 1
        shapes = data.translate(None, DIGITS).split(b"\n")[: len(ends)]
        # Bytes remember their hash, so that the second look costs a pointer's comparison.
        index = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
        numbers = np.fromiter(map(index.__getitem__, shapes), np.int64, len(shapes))
        wanted = [shape for shape in index if self._marker in shape]
        members = dict(zip(wanted, _rows_of(numbers, [index[s] for s in wanted]), strict=True))
        runs = _Runs(data, starts) if members else None
        sheets: list[Sheet] = []
        read = np.zeros(len(ends), bool)
        for shape, rows in members.items():
            assert runs is not None
            for sheet in self._read_shape(data, runs, shape, rows, starts, ends):
                read[sheet.rows] = True
                sheets.append(sheet)
        rest = tuple((row, data[starts[row] : ends[row]]) for row in np.flatnonzero(~read).tolist())
        return TextBlock(len(ends), tuple(sheets), rest)

    def _read_shape(
        self,
        data: bytes,
        runs: _Runs,
        shape: bytes,
        rows: NDArray[np.int64],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> list[Sheet]:
        sheets = []
        plans = self._plans.get(shape, [])
        for plan in plans:
            taken, sheet = self._apply(runs, plan, rows)
            if sheet is not None:
                sheets.append(sheet)
                rows = rows[~taken]
        while len(rows):
            line = data[starts[rows[0]] : ends[rows[0]]]
            layout = self._layout_of(line)
            if layout is None:
                rows = rows[1:]
                continue
            made = _plan(line, layout) if len(plans) < _MOST_PLANS else None
            if made is not None and made.numbers is not None and made not in plans:
                plans.append(made)
                if len(self._plans) < _MOST_SHAPES:
                    self._plans[shape] = plans
                taken, sheet = self._apply(runs, made, rows)
                if sheet is not None and taken[0]:
                    sheets.append(sheet)
                    rows = rows[~taken]
                    continue
            values = np.array([[float(line[a:b]) for a, b in layout.spans]])
            sheets.append(Sheet(layout.names, rows[:1], values))
            rows = rows[1:]
        return sheets

    def _apply(
        self, runs: _Runs, plan: _Plan, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], Sheet | None]:
        """Read the rows that this plan fits; which of them they were, and what they hold."""
        taken = runs.count[rows] == plan.runs
        if not taken.any() or plan.numbers is None:
            return np.zeros(len(rows), bool), None
        if plan.fixed:
            at = runs.first[rows[taken]][:, None] + np.array([column for column, _ in plan.fixed])
            taken[taken] = runs.equal(at, [digits for _, digits in plan.fixed])
        mine = rows[taken]
        if not len(mine):
            return taken, None
        whole = np.array([number.whole for number in plan.numbers], np.int64)
        fraction = np.array([number.fraction for number in plan.numbers], np.int64)
        sign = np.array([number.sign for number in plan.numbers])
        base = runs.first[mine][:, None]
        values, exact = runs.decimals(base, whole, fraction)
        values *= sign
        if not exact.all():
            inexact = np.flatnonzero(taken)[~exact]
            taken[inexact] = False
            mine, values = mine[exact], values[exact]
        constant = np.array([c is not None for c in plan.constants])
        if constant.any():
            full = np.empty((len(mine), len(plan.constants)))
            full[:, ~constant] = values
            full[:, constant] = [c for c in plan.constants if c is not None]
            values = full
        return taken, Sheet(plan.layout.names, mine, values)


def _rows_of(numbers: NDArray[np.int64], wanted: Sequence[int]) -> list[NDArray[np.int64]]:
    """The rows that hold each of these numbers."""
    if len(wanted) <= 16:
        return [np.flatnonzero(numbers == number) for number in wanted]
    order = np.argsort(numbers, kind="stable")
    sorted_numbers = numbers[order]
    lows = np.searchsorted(sorted_numbers, wanted, "left")
    highs = np.searchsorted(sorted_numbers, wanted, "right")
    return [order[low:high] for low, high in zip(lows, highs, strict=True)]


class _Runs:
    """The runs of digits of a block: where they are, and what they say."""

    def __init__(self, data: bytes, starts: NDArray[np.int64]) -> None:
        # Nine bytes in front, so that eight may be read before any end; positions count from there.
        padded = b"\0" * 9 + data + b"\0"
        digit = np.frombuffer(padded.translate(_IS_DIGIT), np.bool_)
        edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1
        self._text = np.frombuffer(padded, np.uint8)
        self.begin = edges[0::2].copy()
        self.end = edges[1::2].copy()
        self._words: NDArray[np.uint64] = np.ndarray(
            (len(padded) - 7,), "<u8", buffer=padded, strides=(1,)
        )
        bounds = np.searchsorted(self.begin, np.append(starts, len(data)) + 9)
        self.first = bounds[:-1]
        self.count = np.diff(bounds)

    def equal(self, at: NDArray[np.int64], digits: Sequence[bytes]) -> NDArray[np.bool_]:
        """Rows whose runs read just these digits, one column a run."""
        begin = self.begin[at]
        lengths = np.array([len(text) for text in digits])
        same = self.end[at] - begin == lengths
        for place in range(int(lengths.max())):
            wanted = np.array([text[place] if place < len(text) else 0 for text in digits])
            reach = np.minimum(begin + place, len(self._text) - 1)
            same &= (self._text[reach] == wanted) | (place >= lengths)
        equal: NDArray[np.bool_] = np.all(same, axis=1)
        return equal

    def _integers(self, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Values of these runs, for up to eight digits, and their lengths."""
        end = self.end[at]
        length = end - self.begin[at]
        # Eight bytes that end with the run; what stands before the run is shifted out to zero.
        drop = (64 - 8 * np.minimum(length, 8)).astype(np.uint64)
        word = self._words[end - 8] & np.uint64(0x0F0F0F0F0F0F0F0F)
        word = (word >> drop) << drop
        word = word * np.uint64(10) + (word >> np.uint64(8))
        low = (word & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
        high = ((word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(
            0x0000271000000001
        )
        # As signed numbers they become floats in one instruction.
        return ((low + high) >> np.uint64(32)).view(np.int64), length

    def decimals(
        self, base: NDArray[np.int64], whole: NDArray[np.int64], fraction: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Numbers whole.fraction of each row; and which rows were read without rounding twice."""
        integer, digits = self._integers(base + whole)
        values = integer.astype(np.float64)
        split = fraction >= 0
        exact: NDArray[np.bool_] = np.all(digits <= 8, axis=1)
        if split.any():
            part, length = self._integers(base + fraction[split])
            least, most = int(length.min()), int(length.max())
            if most > 7 or int(digits.max()) > 8:
                exact &= np.all(digits[:, split] + length <= 15, axis=1) & np.all(
                    length <= 8, axis=1
                )
            scale = _POWERS[most] if least == most <= 8 else _POWERS[np.minimum(length, 8)]
            # Both are integers below 2^53, so this one division rounds as float() does.
            values[:, split] = (values[:, split] * scale + part) / scale
        return values, exact


def _plan(line: bytes, layout: Layout) -> _Plan:
    """Say a layout in digit runs of this line."""
    begins: list[int] = []
    finishes: list[int] = []
    previous = False
    for position, byte in enumerate(line):
        digit = 48 <= byte <= 57
        if digit and not previous:
            begins.append(position)
        if previous and not digit:
            finishes.append(position)
        previous = digit
    if previous:
        finishes.append(len(line))
    by_extent = {extent: n for n, extent in enumerate(zip(begins, finishes, strict=True))}
    numbers: list[_Number] | None = []
    constants: list[float | None] = []
    for start, end in layout.spans:
        token = line[start:end]
        if not any(48 <= byte <= 57 for byte in token):
            constants.append(float(token))
            continue
        constants.append(None)
        number = _number(token, start, by_extent)
        if number is None or numbers is None:
            numbers = None
        else:
            numbers.append(number)
    fixed = tuple(
        (index, line[begin:finish])
        for index, (begin, finish) in enumerate(zip(begins, finishes, strict=True))
        if any(start <= begin and finish <= end for start, end in layout.fixed)
    )
    return _Plan(
        layout=layout,
        runs=len(begins),
        numbers=None if numbers is None else tuple(numbers),
        constants=tuple(constants),
        fixed=fixed,
    )


def _number(token: bytes, start: int, by_extent: dict[Span, int]) -> _Number | None:
    """The runs of `-12.34`; None for what has an exponent or another surprise.

    Damage may set a digit before or behind a token: `12026-11-20` has no run that is its year.
    """
    sign = -1.0 if token.startswith(b"-") else 1.0
    start += token[:1] in (b"-", b"+")
    whole, point, fraction = token.lstrip(b"-+").partition(b".")
    if not whole.isdigit() or (point and not fraction.isdigit()):
        return None
    end = start + len(whole)
    before = by_extent.get((start, end))
    behind = by_extent.get((end + 1, end + 1 + len(fraction))) if point else -1
    return None if before is None or behind is None else _Number(before, behind, sign)


def merge(
    sheets: Sequence[Sheet], names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Lay sheets of different layouts into one table in the block's order.

    Returns the line indices, the values in the order of `names`, and which cells were printed.
    """
    column = {name: index for index, name in enumerate(names)}
    rows = np.concatenate([sheet.rows for sheet in sheets])
    table = np.full((len(rows), len(names)), np.nan)
    present = np.zeros(table.shape, bool)
    at = 0
    for sheet in sheets:
        here = slice(at, at + len(sheet.rows))
        wanted = [(i, column[name]) for i, name in enumerate(sheet.names) if name in column]
        sources, targets = [i for i, _ in wanted], [t for _, t in wanted]
        table[here, targets] = sheet.values[:, sources]
        present[here, targets] = True
        at += len(sheet.rows)
    if len(sheets) > 1 and np.any(rows[1:] < rows[:-1]):
        order = np.argsort(rows, kind="stable")
        return rows[order], table[order], present[order]
    return rows, table, present


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    """Whole lines in pieces of about `size` bytes."""
    at = 0
    while len(data) - at > size:
        end = data.rfind(b"\n", at, at + size) + 1
        if end <= at:
            end = data.find(b"\n", at) + 1 or len(data)
        yield data[at:end]
        at = end
    if at < len(data):
        yield data[at:] if at else data

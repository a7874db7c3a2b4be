"""One metric of a run: a growing float32 column that keeps a pyramid of summaries as it grows.

A cell is a value (NaN and ±inf are values: the training logged them) or *missing*, which is kept
as a NaN with a payload of its own, so that a column of 10 million cells needs no bitmap beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlamon.store.pyramid import GROUP, MISSING_BITS, Pyramid, Summary, summarise

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

MISSING = np.uint32(MISSING_BITS).view(np.float32)
FIRST_CHUNK = 1 << 10
CHUNK = 1 << 17
"""Rows of a full chunk: half a megabyte, so that slack is small beside any run worth packing."""


def as_cells(values: NDArray[np.float64], present: NDArray[np.bool_] | None) -> F32:
    """Values as float32 cells: one NaN for all, finite ones kept finite, absent ones missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        cells = values.astype(np.float32)
    odd = ~np.isfinite(cells)
    if odd.any():
        cells[np.isnan(values)] = np.nan
        burst = odd & np.isfinite(values)
        cells[burst] = np.copysign(np.finfo(np.float32).max, values[burst])
    if present is not None:
        cells[~present] = MISSING
    return cells


def is_missing(cells: F32) -> NDArray[np.bool_]:
    """Which cells were never logged."""
    return np.asarray(cells.view(np.uint32) == MISSING_BITS)


class Chunked:
    """A growing array of one type in chunks: appending never moves what is already there."""

    def __init__(self, dtype: Any, filler: Any) -> None:
        self.rows = 0
        self._dtype = np.dtype(dtype)
        self._filler = filler
        # None stands for a chunk of filler only: a metric that starts late costs nothing before.
        self._chunks: list[NDArray[Any] | None] = []
        self._begins: list[Any] = []

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(chunk.nbytes for chunk in self._chunks if chunk is not None)

    def append(self, values: NDArray[Any]) -> None:
        """Add rows at the end."""
        taken = 0
        while taken < len(values):
            at = self.rows % CHUNK
            if at == 0:
                self._begins.append(values[taken])
            chunk = self._writable(at, at + len(values) - taken)
            count = min(len(chunk) - at, len(values) - taken)
            chunk[at : at + count] = values[taken : taken + count]
            taken += count
            self.rows += count

    def pad(self, rows: int) -> None:
        """Fill up to `rows` rows with the filler."""
        while self.rows < rows:
            index, at = divmod(self.rows, CHUNK)
            end = min(CHUNK, at + rows - self.rows)
            if at == 0:
                self._chunks.append(None)
                self._begins.append(self._filler)
            elif self._chunks[index] is not None:
                self._writable(at, end)[at:end] = self._filler
            self.rows += end - at

    def slice(self, first: int, end: int) -> NDArray[Any]:
        """Rows first..end; a view where they lie in one chunk. Rows not yet there are filler."""
        first, end = max(first, 0), max(end, first, 0)
        index, at = divmod(first, CHUNK)
        if end <= self.rows and at + end - first <= CHUNK and index < len(self._chunks):
            chunk = self._chunks[index]
            if chunk is not None:
                view = chunk[at : at + end - first]
                view.flags.writeable = False
                return view
        out = np.full(end - first, self._filler, self._dtype)
        stop = min(end, self.rows)
        if first >= stop:
            return out
        for row in range(first - at, stop, CHUNK):
            chunk = self._chunks[row // CHUNK]
            if chunk is not None:
                low, high = max(row, first), min(row + CHUNK, stop)
                out[low - first : high - first] = chunk[low - row : high - row]
        return out

    def take(self, rows: I64) -> NDArray[Any]:
        """The cells of these ascending rows, all of them below `rows`."""
        out = np.empty(len(rows), self._dtype)
        if not len(rows):
            return out
        touched = np.arange(int(rows[0]) // CHUNK, int(rows[-1]) // CHUNK + 1)
        cuts = np.searchsorted(rows, touched * CHUNK)
        for index, low, high in zip(touched, cuts, [*cuts[1:], len(rows)], strict=True):
            if low < high:
                chunk = self._chunks[index]
                if chunk is None:
                    out[low:high] = self._filler
                else:
                    out[low:high] = chunk[rows[low:high] - index * CHUNK]
        return out

    def search(self, first: int, end: int, edges: NDArray[Any]) -> I64:
        """First row in first..end, which must rise, that is not below each ascending edge."""
        found = np.full(len(edges), end, np.int64)
        if first >= end or not len(edges):
            return found
        # Where each chunk begins tells which edges to look for in it; the others cost nothing.
        chunks = np.arange(first // CHUNK, (end - 1) // CHUNK + 1)
        begins = np.array([self._begins[index] for index in chunks.tolist()], self._dtype)
        begins[0] = self.slice(first, first + 1)[0]
        owner = np.searchsorted(begins, edges, "left") - 1
        cuts = np.searchsorted(owner, np.arange(len(chunks) + 1), "left").tolist()
        found[: cuts[0]] = first
        for place in np.unique(owner[cuts[0] :]).tolist():
            low, high = cuts[place], cuts[place + 1]
            row = max(int(chunks[place]) * CHUNK, first)
            part = self.slice(row, min((int(chunks[place]) + 1) * CHUNK, end))
            found[low:high] = row + part.searchsorted(edges[low:high], "left")
        return found

    def _writable(self, at: int, wanted: int) -> NDArray[Any]:
        """The chunk of the next row, which is row `at` of it, with room for `wanted` rows."""
        index = self.rows // CHUNK
        if index == len(self._chunks):
            self._chunks.append(None)
        chunk = self._chunks[index]
        size = 0 if chunk is None else len(chunk)
        if size < min(wanted, CHUNK):
            room = FIRST_CHUNK if index == 0 else CHUNK
            while room < min(wanted, CHUNK):
                room *= 2
            grown = np.empty(room, self._dtype)
            grown[:at] = self._filler if chunk is None else chunk[:at]
            self._chunks[index] = chunk = grown
        assert chunk is not None
        return chunk


class MetricColumn:
    """Cells of one metric by row, and what a chart asks of them."""

    def __init__(self) -> None:
        self._cells = Chunked(np.float32, MISSING)
        self._pyramid = Pyramid()
        self.latest: float | None = None
        """Last value that was logged, as logged (float64)."""
        self.exact = True
        """Whether every value so far is held as it was logged: single precision lost nothing."""

    @property
    def rows(self) -> int:
        """Rows that this column reaches to; rows after it are missing."""
        return self._cells.rows

    @property
    def nbytes(self) -> int:
        """Bytes held, pyramid included."""
        return self._cells.nbytes + self._pyramid.nbytes

    def append(
        self, at: int, values: NDArray[np.float64], present: NDArray[np.bool_] | None = None
    ) -> None:
        """Put values at row `at` and on; rows between the column's end and `at` are missing."""
        if present is not None:
            if not present.any():
                return
            self.latest = float(values[np.flatnonzero(present)[-1]])
        elif len(values):
            self.latest = float(values[-1])
        self._cells.pad(at)
        cells = as_cells(values, present)
        self._cells.append(cells)
        if self.exact:
            kept = cells == values if present is None else (cells == values) | ~present
            self.exact = bool(kept.all()) or bool((kept | np.isnan(values)).all())
        done, whole = self._pyramid.rows, self.rows // GROUP * GROUP
        while done < whole:  # in pieces, so that a long gap never builds a long temporary
            piece = min(whole, done + CHUNK)
            self._pyramid.append(self._cells.slice(done, piece))
            done = piece

    def cells(self, first: int, end: int) -> F32:
        """Cells of a row range, missing ones as the payload NaN."""
        return self._cells.slice(first, end)

    def value(self, row: int) -> float | None:
        """The value at a row, None where none was logged."""
        cell = self._cells.slice(row, row + 1)
        return None if is_missing(cell)[0] else float(cell[0])

    def summarise(self, first: I64, end: I64) -> Summary:
        """Least, greatest and last finite value, their sum and number, and the kinds of values in
        each row range."""
        end = np.minimum(end, self.rows)
        first = np.minimum(first, end)
        return summarise(self._cells.take, self._pyramid, first, end)

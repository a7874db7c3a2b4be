"""Rows of text with roles instead of colours: what every panel is made of before it is painted.

A panel builds plain tuples; the widget compares them with what is on screen and repaints only the
rows that differ. Themes, 16 colours and NO_COLOR are then one table away, and a test reads a panel
without a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import takewhile

from rich.cells import cell_len, set_cell_size

Span = tuple[str, str]
"""Text and the role that colours it; a role may carry attributes, as in `closs bold`."""

Row = tuple[Span, ...]
"""One line of a panel, left to right."""


def cells(row: Row) -> int:
    """Return the number of terminal columns that a row takes."""
    total = 0
    for text, _ in row:
        total += len(text) if text.isascii() else cell_len(text)
    return total


def crop(row: Row, width: int) -> Row:
    """Cut a row to at most `width` columns; never in the middle of a wide character."""
    kept: list[Span] = []
    left = width
    for text, role in row:
        size = cell_len(text)
        if size <= left:
            kept.append((text, role))
            left -= size
            continue
        if left > 0:
            kept.append((set_cell_size(text, left), role))
        break
    return tuple(kept)


def cut(row: Row, width: int, mark: str = "…") -> Row:
    """Cut a row to at most `width` columns with a mark where text is missing; blanks at its end
    are none."""
    while row and cells(row) > width and not row[-1][0].strip():
        row = row[:-1]
    if row and cells(row) > width:
        text, role = row[-1]
        row = (*row[:-1], (text.rstrip(), role))
    if cells(row) <= width or width < len(mark):
        return crop(row, width)
    kept = crop(row, width - len(mark))
    return (*kept, (mark, kept[-1][1] if kept else ""))


def fit(row: Row, width: int, fill: str = " ", role: str = "") -> Row:
    """Cut or fill a row to exactly `width` columns."""
    size = cells(row)
    if size > width:
        row, size = crop(row, width), width
    if size < width:
        row = (*row, (fill * (width - size), role))
    return row


def spread(left: Row, right: Row, width: int, fill: str = " ", role: str = "") -> Row:
    """Put `left` and `right` at the two ends of `width` columns; the right end gives way first."""
    room = width - cells(left)
    if room <= 0:
        return crop(left, width)
    right = crop(right, room)
    gap = room - cells(right)
    return (*left, (fill * gap, role), *right) if gap else (*left, *right)


def shorten(text: str, width: int, mark: str = "…") -> str:
    """Cut text to `width` columns with a mark that something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= len(mark):
        return set_cell_size(text, max(0, width))
    return set_cell_size(text, width - len(mark)).rstrip() + mark


def shorten_name(name: str, width: int, mark: str = "…") -> str:
    """Cut a metric's name in its middle: long names differ at their ends."""
    if cell_len(name) <= width or width < len(mark) + 8:
        return shorten(name, width, mark)
    end = (width - len(mark)) * 3 // 5
    tail = name[-end:]
    while cell_len(tail) > end:
        tail = tail[1:]
    return set_cell_size(name, width - len(mark) - cell_len(tail)).rstrip() + mark + tail


@lru_cache(maxsize=64)
def shorten_names(names: tuple[str, ...], width: int, mark: str = "…") -> Mapping[str, str]:
    """Cut each of several names so that they stay different: where their ends do not tell them
    apart, what does is kept instead."""
    short = {name: shorten_name(name, width, mark) for name in names}
    alike: dict[str, list[str]] = {}
    for name, text in short.items():
        alike.setdefault(text, []).append(name)
    for group in alike.values():
        if len(group) > 1:
            alike_so_far = takewhile(lambda chars: len(set(chars)) == 1, zip(*group, strict=False))
            first = sum(1 for _ in alike_so_far)
            begin = max(group[0].rfind(sign, 0, first) for sign in "._/ ") + 1
            for name in group:
                head = name[: min(begin, width // 4)]
                room = width - cell_len(head) - len(mark)
                short[name] = head + mark + shorten(name[begin:], room, mark)
    return short


def column(text: str, width: int) -> str:
    """Fill text with blanks to `width` terminal columns; a wide character takes two."""
    return set_cell_size(text, max(width, cell_len(text)))


def text_of(row: Row) -> str:
    """Return a row's characters alone."""
    return "".join(text for text, _ in row)

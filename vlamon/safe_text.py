"""The one filter between texts that come from elsewhere and whatever shows them.

Names of metrics and runs, notes, paths and log lines may hold anything: escape sequences that
retitle a terminal or write its clipboard (C0, DEL and C1, U+009B included), bidirectional overrides
that reverse what stands beside them, newlines that forge a line, markup, formulas. Every output of
vlamon passes its texts through a function of this module:

    line            a terminal, one line
    markdown        Markdown, inline
    html_text       HTML, inside an element or a quoted attribute
    csv_text        a text cell of a CSV (numbers are written as they are)
    escaped_json    encoded JSON: the same value, without a character that a terminal acts on

Imports next to nothing: `vlamon status` passes here.
"""

from __future__ import annotations

import re

MARK = "·"
"""What stands for a character that must not be shown."""

_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"), " ")
"""Line breaks and tabs become a blank, so that the words of a traceback stay apart."""
_SPACES = "\u00a0\u3000"
"""Not printable by Python's account, but plain blanks in French and Chinese."""
_FORMULA = "=+-@＝＋－＠"
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(r"\s*(?:#{1,6}(?!\S)|[+-](?!\S)|[=-]+(?=\s*$)|\d{1,9}[.)](?!\S))")
"""What begins a heading, a quotation or a list at the start of a line of Markdown."""
_UNSHOWN_BYTES = re.compile(rb"[\x7f\xc2-\xf4]")


def line(text: str) -> str:
    """`text` as one line that a terminal shows and does not obey."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text.translate(_BLANKS)))


def markdown(text: str) -> str:
    """`text` as inline Markdown that shows it literally: no markup, no table cell, no raw HTML."""
    shown = _MARKDOWN.sub(r"\\\g<0>", line(text))
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if begin := _BLOCK.match(shown):
        at = begin.end() - 1
        shown = f"{shown[:at]}\\{shown[at:]}"
    return shown


def html_text(text: str) -> str:
    """`text` inside an element or a quoted attribute."""
    from html import escape

    return escape(line(text))


def csv_text(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula: an apostrophe stands before one."""
    shown = line(text)
    return f"'{shown}" if shown.lstrip()[:1] in tuple(_FORMULA) else shown


def escaped_json(encoded: bytes) -> bytes:
    r"""Encoded JSON with every character that is not printable as its `\u` escape."""
    if not _UNSHOWN_BYTES.search(encoded):
        return encoded
    text = encoded.decode("utf-8")
    return "".join(
        char if char.isprintable() or char in "\n\t" else _escape(char) for char in text
    ).encode("utf-8")


def _shown(char: str) -> str:
    return char if char.isprintable() or char in _SPACES else MARK


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))

"""The report as Markdown, for an issue or a wiki; charts become sparklines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlamon.analysis.series import Series
from vlamon.charts.numbers import number
from vlamon.report.body import Bar, Block, Body, Curve, DiagnosisBlock, Items, Note, Table
from vlamon.report.drawing import columns_of
from vlamon.safe_text import markdown

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 48


def markdown_of(body: Body) -> str:
    """A body, set as Markdown."""
    return "\n".join(_lines(body)) + "\n"


def _lines(body: Body) -> Iterator[str]:
    yield f"# {body.title}: {body.head}"
    yield ""
    if body.found:
        yield markdown(body.found)
        yield ""
    yield f"**{markdown(body.sentence)}**"
    yield ""
    yield from (f"- {markdown(file)}" for file in body.files)
    for section in body.sections:
        yield ""
        yield f"## {section.title}"
        for before, block in zip([None, *section.blocks], section.blocks, strict=False):
            if not isinstance(block, Bar):
                if not (isinstance(block, Curve) and isinstance(before, Curve)):
                    yield ""
                yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table(header, rows, flagged):
            yield _row(list(map(markdown, header)))
            yield "|" + "---|" * len(header)
            for row, flag in zip(rows, flagged, strict=True):
                cells = list(map(markdown, row))
                yield _row([f"**{cell}**" if cell and flag else cell for cell in cells])
        case Curve(title, series):
            low, high = columns_of(series, _SPARK).range
            span = f"{number(low, 3)} … {number(high, 3)}"
            yield f"- {markdown(title)}: `{sparkline(series)}` ({span})"
        case Items(items) if len(items) == 1:
            yield markdown(items[0])
        case Items(items):
            yield from (f"- {markdown(item)}" for item in items)
        case Note(text):
            yield f"_{markdown(text)}_"
        case DiagnosisBlock():
            yield f"### {markdown(block.title)} (`{block.id}`, {block.label})"
            yield ""
            yield markdown(block.evidence)
            yield ""
            yield f"**{block.advice_label}**: {markdown(block.advice)}"


def sparkline(curve: Series) -> str:
    """A curve in one line: the greatest value of each column."""
    drawn = columns_of(curve, min(_SPARK, len(curve)))
    values = np.log(drawn.high) if drawn.log else drawn.high
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    low, span = float(np.min(finite)), float(np.ptp(finite)) or 1.0
    signs = []
    for value, broken in zip(values.tolist(), drawn.broken.tolist(), strict=True):
        if broken or value != value:
            signs.append("✕" if broken else " ")
        else:
            signs.append(_BARS[round((value - low) / span * (len(_BARS) - 1))])
    return "".join(signs)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"

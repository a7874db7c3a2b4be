"""The report of `vlamon diff`: where two runs diverge, as text or as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from vlamon.analysis.compare import Comparison, Parting
from vlamon.charts.numbers import number
from vlamon.safe_text import line
from vlamon.views.json_lines import json_bytes, plain

_SHOWN = 24


def difference_text(names: tuple[str, str], comparison: Comparison) -> str:
    """A table, the earliest divergence first."""
    return "\n".join(map(line, _lines(names, comparison))) + "\n"


def difference_json(names: tuple[str, str], comparison: Comparison) -> str:
    """One object; non-finite numbers are the strings "nan", "inf" and "-inf"."""
    return json_bytes(plain(difference_object(names, comparison)), indent=True).decode()


def difference_object(names: tuple[str, str], comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain objects."""
    first = comparison.first
    return {
        "kind": "diff",
        "a": names[0],
        "b": names[1],
        "same": comparison.same,
        "first": None if first is None else _object(first),
        "metrics": [_object(parting) for parting in comparison.partings],
        "only_a": list(comparison.only_left),
        "only_b": list(comparison.only_right),
        "weights": [
            {"metric": name, "a": left, "b": right} for name, left, right in comparison.weights
        ],
    }


def _lines(names: tuple[str, str], comparison: Comparison) -> Iterator[str]:
    first = comparison.first
    yield f"A {names[0]}"
    yield f"B {names[1]}"
    yield ""
    if not comparison.comparable:
        yield "The runs have no metric with a common step or epoch: there is nothing to compare."
    elif first is None:
        most = max(parting.compared for parting in comparison.partings)
        yield f"Identical: {len(comparison.partings)} metrics over {most} common points."
    else:
        yield (
            f"The runs diverge at {first.first}, {first.metric} first: "
            f"{_exact(first.left)} | {_exact(first.right)}"
        )
    for name, left, right in comparison.weights:
        yield f"Weight of {name}: {left} | {right}"
    if comparison.partings:
        yield ""
        yield from _table(comparison)
    for side, only in (("A", comparison.only_left), ("B", comparison.only_right)):
        if only:
            yield f"Only in {side}: {', '.join(only)}"


def _table(comparison: Comparison) -> Iterator[str]:
    rows = [("metric", "from", "A", "B", "apart since", "last A", "last B")]
    for parting in comparison.partings[:_SHOWN]:
        rows.append(
            (
                line(parting.metric),
                _place(parting, parting.key),
                number(parting.left) if parting.differs else "",
                number(parting.right) if parting.differs else "",
                _place(parting, parting.apart_key),
                number(parting.last_left),
                number(parting.last_right),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    more = len(comparison.partings) - _SHOWN
    if more > 0:
        yield f"… and {more} more"


def _place(parting: Parting, key: int) -> str:
    unit = "epoch" if parting.grain == "epoch" else "step"
    return f"{unit} {key:,}" if key >= 0 else "–"


def _exact(value: float) -> str:
    return number(value) if not math.isfinite(value) else repr(value)


def _object(parting: Parting) -> dict[str, Any]:
    return {
        "metric": parting.metric,
        "grain": parting.grain,
        "compared": parting.compared,
        "differs": parting.differs,
        "where": parting.first,
        "step": parting.key if parting.differs and parting.grain != "epoch" else None,
        "epoch": parting.key if parting.differs and parting.grain == "epoch" else None,
        "a": parting.left if parting.differs else None,
        "b": parting.right if parting.differs else None,
        "apart": parting.apart,
        "last_a": parting.last_left,
        "last_b": parting.last_right,
    }

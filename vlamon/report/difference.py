"""The report of `vlamon diff`: where two runs diverge, as text or as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from vlamon.analysis.compare import Comparison, MetricDifference
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
        "metrics": [_object(difference) for difference in comparison.differences],
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
        most = max(difference.compared for difference in comparison.differences)
        yield f"Identical: {len(comparison.differences)} metrics over {most} common points."
    else:
        yield (
            f"The runs diverge at {first.first}, {first.metric} first: "
            f"{_exact(first.left)} | {_exact(first.right)}"
        )
    for name, left, right in comparison.weights:
        yield f"Weight of {line(name)}: {_weight(left)} in A, {_weight(right)} in B"
    if comparison.differences:
        yield ""
        yield from _table(comparison)
    for side, only in (("A", comparison.only_left), ("B", comparison.only_right)):
        if only:
            yield f"Only in {side}: {', '.join(only)}"


def _weight(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"


def _table(comparison: Comparison) -> Iterator[str]:
    rows = [("metric", "from", "A", "B", "apart since", "last A", "last B")]
    for difference in comparison.differences[:_SHOWN]:
        rows.append(
            (
                line(difference.metric),
                _place(difference, difference.key),
                number(difference.left) if difference.differs else "",
                number(difference.right) if difference.differs else "",
                _place(difference, difference.apart_key),
                number(difference.last_left),
                number(difference.last_right),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    more = len(comparison.differences) - _SHOWN
    if more > 0:
        yield f"… and {more} more"


def _place(difference: MetricDifference, key: int) -> str:
    unit = "epoch" if difference.grain == "epoch" else "step"
    return f"{unit} {key:,}" if key >= 0 else "–"


def _exact(value: float) -> str:
    return number(value) if not math.isfinite(value) else repr(value)


def _object(difference: MetricDifference) -> dict[str, Any]:
    return {
        "metric": difference.metric,
        "grain": difference.grain,
        "compared": difference.compared,
        "differs": difference.differs,
        "where": difference.first,
        "step": difference.key if difference.differs and difference.grain != "epoch" else None,
        "epoch": difference.key if difference.differs and difference.grain == "epoch" else None,
        "a": difference.left if difference.differs else None,
        "b": difference.right if difference.differs else None,
        "apart": difference.apart,
        "last_a": difference.last_left,
        "last_b": difference.last_right,
    }

"""The gutter always tells the range: two numbers at least, or the value of a constant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.charts.scale import Scale, fit
from vlamon.charts.y_labels import GUTTER, y_labels


def labels(low: float, high: float, rows: int = 9, log: bool = False) -> list[str]:
    series = (np.array([low], np.float32), np.array([high], np.float32))
    found = fit([series], log=log, rows=rows)
    return [label.strip() for label in y_labels(found, rows) if label]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 0.002, ["0.002"]),
        (0.99985, 0.99995, [".99994", ".99992", ".9999", ".99988", ".99986"]),
        (0.995e-5, 1.005e-5, ["+4e-8", "+2e-8", "1e-5", "-2e-8", "-4e-8"]),
        (9.999e-6, 9.9995e-6, ["+5e-10", "+4e-10", "+3e-10", "+2e-10", "+1e-10", "~1e-5"]),
        (1234.5, 1234.5, ["1234.5"]),
        (-123456.0, -123455.0, ["+1", "+0.8", "+0.6", "+0.4", "+0.2", "~-123k"]),
        (0.0, 1.0, ["1.0", "0.8", "0.6", "0.4", "0.2", "0"]),
    ],
)
def test_values_of_any_size_get_numbers(low: float, high: float, expected: list[str]) -> None:
    assert labels(low, high, rows=11) == expected


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(0, 0.5), st.integers(2, 14), st.booleans(), st.booleans())
def test_there_are_two_at_least_and_they_fit(
    value: float, share: float, rows: int, log: bool, negative: bool
) -> None:
    value = -value if negative and not log else value
    ends = sorted((value, value * (1 + share)))
    found = labels(ends[0], ends[1], rows, log)
    assert len(set(found)) == len(found), found
    assert len(found) >= 2 or np.float32(ends[1] - ends[0]) <= 1e-5 * abs(value), found
    assert all(len(label) <= GUTTER for label in found)


@pytest.mark.parametrize("value", [1e-4, 2e-6, 0.0, 1.0, 30.8, 123456.0, -0.25, 1.2345678])
@pytest.mark.parametrize("log", [False, True])
def test_a_constant_has_its_value_as_the_only_label(value: float, log: bool) -> None:
    (label,) = labels(value, value, rows=13, log=log)
    assert float(label.replace("k", "e3").lstrip("~")) == pytest.approx(value, 1e-2)


def test_a_range_of_one_row_claims_no_more_than_it_can() -> None:
    assert y_labels(Scale(0.0, 1.0), 1) in (["     0"], ["     1"], [""])
    assert y_labels(Scale(0.0, 1.0), 0) == []

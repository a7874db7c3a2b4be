"""The gutter always tells the range: two numbers at least, that are true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.charts.scale import Scale, fit
from vlamon.charts.y_labels import GUTTER, y_labels


def labels(low: float, high: float, rows: int = 9, log: bool = False) -> list[str]:
    found = fit(np.array([low], np.float32), np.array([high], np.float32), log=log)
    return [label.strip() for label in y_labels(found, rows) if label]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 0.002, ["0.0021", "0.0020"]),
        (0.99985, 0.99995, [".99994", ".99992", ".9999", ".99988", ".99986", ".99984"]),
        (0.995e-5, 1.005e-5, ["+6e-8", "+4e-8", "+2e-8", "1e-5", "-2e-8", "-4e-8"]),
        (9.999e-6, 9.9995e-6, ["+5e-10", "+4e-10", "+3e-10", "+2e-10", "+1e-10", "~1e-5"]),
        (1234.5, 1234.5, ["1.3k", "1.25k", "1.2k"]),
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
    assert len(set(found)) == len(found) >= 2, found
    assert all(len(label) <= GUTTER for label in found)


def test_a_range_of_one_row_claims_no_more_than_it_can() -> None:
    assert y_labels(Scale(0.0, 1.0), 1) in (["     0"], ["     1"], [""])
    assert y_labels(Scale(0.0, 1.0), 0) == []

"""Settings that make no sense are refused in words, before a training rests on them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vlamon.guard import GuardSettings


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("budget", -1, "at least 0"),
        ("margin", -5, "at least 0"),
        ("patience", -100, "at least 0"),
        ("keep", 0, "at least 1"),
        ("every", 0, "at least 1"),
        ("every", 2.5, "a whole number"),
        ("slots", 2.5, "a whole number"),
        ("slots", True, "a whole number"),
        ("slots", 1, "or at least 2"),
        ("backoff", 0, "a factor above 0"),
        ("backoff", 1.5, "at most 1"),
        ("backoff", "half", "a factor above 0"),
        ("deadline", -1, "seconds, 0 or more"),
        ("deadline", math.nan, "seconds, 0 or more"),
        ("last_deadline", -1, "seconds, 0 or more"),
        ("stall", 0, "seconds, more than 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: str, value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting}.*{why}"):
        GuardSettings(**{setting: value})


def test_the_least_of_everything_is_allowed() -> None:
    GuardSettings(
        slots=0, budget=0, margin=0, patience=0, cooldown=0, backoffs=0, deadline=math.inf
    )

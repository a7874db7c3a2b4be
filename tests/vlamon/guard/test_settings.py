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


LEAST = {
    "every": 1, "slots": 0, "near": 0, "near_every": 1, "patience": 0, "margin": 0,
    "cooldown": 0, "budget": 0, "budget_steps": 1, "backoffs": 0, "durable_every": 0, "keep": 1,
    "autopsy_steps": 0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_whole_numbers_begin_where_they_make_sense(name: str, least: int) -> None:
    assert getattr(GuardSettings(**{name: least}), name) == least  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^{name} {least - 1}: at least {least}$"):
        GuardSettings(**{name: least - 1})  # type: ignore[arg-type]


def test_a_factor_of_one_and_no_waiting_are_allowed() -> None:
    made = GuardSettings(backoff=1, deadline=0, last_deadline=0, stall=0.1, slots="auto")
    assert (made.backoff, made.deadline, made.slots) == (1, 0, "auto")
    for name in ("backoff", "deadline", "last_deadline", "stall"):
        with pytest.raises(ValueError, match=f"^{name} True"):
            GuardSettings(**{name: True})


@pytest.mark.parametrize(
    ("slots", "older", "spacing"),
    [
        (4, 1, 50),  # 76 quiet steps over the two slots between the newest and the oldest
        (4, 2, 76),
        (3, 1, 76),
        (3, 2, 76),
        (2, 1, 76),
        (8, 1, 50),
        ("auto", 1, 50),
        ("auto", 2, 76),
        (0, 1, 50),
    ],
)
def test_snapshots_are_so_far_apart_that_each_lives_to_be_trusted(
    slots: Any, older: int, spacing: int
) -> None:
    settings = GuardSettings(slots=slots)
    assert settings.trust_after(64) == 76
    assert settings.spacing_for(64, older) == spacing


def test_a_slow_detector_moves_snapshots_apart_and_a_part_of_a_step_counts() -> None:
    assert GuardSettings(every=1, patience=1).spacing_for(64) == 33
    assert GuardSettings(every=1, patience=2).spacing_for(64) == 33
    assert GuardSettings(every=40, patience=1).spacing_for(64) == 40


def test_palm_goes_a_hundred_steps_back_and_skips_two_hundred_batches() -> None:
    palm = GuardSettings.palm()
    assert (palm.every, palm.slots, palm.data, palm.margin) == (100, 3, "skip", 200)

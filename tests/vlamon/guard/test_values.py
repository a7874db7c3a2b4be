"""What a step had: its losses, and what was done about its update."""

from __future__ import annotations

import pytest

from vlamon.guard.autopsy import _first_to_leave
from vlamon.guard.values import Gate, StepValues, read


@pytest.mark.parametrize(
    ("values", "prevented"),
    [
        (StepValues(0), ""),
        (StepValues(0, factor=0.5), "clip"),
        (StepValues(0, skipped=True), "skip"),
        (StepValues(0, blocked=True), "skip"),
        (StepValues(0, skipped=True, factor=0.5), "skip"),
    ],
)
def test_what_was_done_about_an_update(values: StepValues, prevented: str) -> None:
    assert values.prevented == prevented


def test_what_the_gate_knows_is_read_with_the_losses() -> None:
    taken = read(3, {"closs": 2.0, "z_loss": None}, Gate(finite=True, update=True))
    assert taken.values == {"closs": 2.0, "z_loss": None}
    assert (taken.blocked, taken.skipped, taken.factor) == (False, False, 1.0)
    assert read(3, {}, Gate(finite=False)).blocked


def test_the_metric_that_doubled_first_is_named_and_the_largest_of_one_step() -> None:
    calm = [(step, {"a": 1.0, "b": 4.0}) for step in range(10)]
    late = [(10, {"a": 2.0, "b": 8.0}), (11, {"a": 2.1, "b": 8.0}), (12, {"a": 9.0, "b": 90.0})]
    history = [*calm, *late, *[(step, {"a": 1.0, "b": 4.0}) for step in range(13, 20)]]
    assert _first_to_leave(history, {"a", "b"}) == "a"
    both = [*calm, (10, {"a": 5.0, "b": 100.0}), *history[11:]]
    assert _first_to_leave(both, {"a", "b"}) == "b"
    assert _first_to_leave([*calm, *calm], {"a", "b"}) == ""

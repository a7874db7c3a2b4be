"""One row per step, however a tracker was called."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vlamon.taps.rows import Rows, TapRow


def rows_of(calls: list[tuple[int, dict[str, Any]]]) -> list[TapRow]:
    rows = Rows()
    found = [ended for step, values in calls if (ended := rows.add(step, values)) is not None]
    last = rows.flush()
    return found if last is None else [*found, last]


def test_tags_logged_one_at_a_time_join_in_their_step() -> None:
    calls = [(step, {tag: step + 0.5}) for step in range(3) for tag in ("loss", "lr", "norm")]
    assert rows_of(calls) == [
        TapRow(step, dict.fromkeys(("loss", "lr", "norm"), step + 0.5)) for step in range(3)
    ]


def test_an_epoch_as_the_step_of_a_tag_is_no_restart() -> None:
    calls: list[tuple[int, dict[str, Any]]] = []
    for epoch in range(3):
        calls += [(100 * epoch + step, {"loss": 1.0}) for step in range(1, 101)]
        calls.append((epoch, {"val": float(epoch)}))
    found = rows_of(calls)
    assert [row.step for row in found] == list(range(1, 301))
    assert [(row.step, row.values["val"]) for row in found if "val" in row.values] == [
        (100, 0.0),
        (200, 1.0),
        (300, 2.0),
    ]


def test_tokens_as_the_step_of_a_tag_do_not_move_the_run() -> None:
    calls: list[tuple[int, dict[str, Any]]] = []
    for step in range(1, 50):
        calls += [(step, {"loss": 1.0}), (step * 65_536, {"perf/speed": 3.0})]
    found = rows_of(calls)
    assert [row.step for row in found] == list(range(1, 50))
    assert all(row.values == {"loss": 1.0, "perf/speed": 3.0} for row in found)


def test_a_resumed_script_that_falls_back_begins_again_there() -> None:
    calls = [(step, {"loss": 1.0}) for step in [*range(10), *range(5, 8)]]
    assert [row.step for row in rows_of(calls)] == [*range(10), 5, 6, 7]


def test_a_script_that_jumps_far_ahead_is_followed() -> None:
    calls = [(step, {"loss": 1.0}) for step in (0, 1, 2, 5000, 5001)]
    assert [row.step for row in rows_of(calls)] == [0, 1, 2, 5000, 5001]


def test_a_sparse_tag_logged_before_the_loss_of_its_step_is_at_its_step() -> None:
    calls: list[tuple[int, dict[str, Any]]] = []
    for step in range(30):
        if step % 10 == 0:
            calls.append((step, {"lr": step / 10}))
        calls.append((step, {"loss": 1.0}))
    assert {row.step: row.values["lr"] for row in rows_of(calls) if "lr" in row.values} == {
        0: 0.0,
        10: 1.0,
        20: 2.0,
    }


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 4))
def test_no_value_of_an_ascending_run_is_lost_or_moved(gaps: list[int], tags: int) -> None:
    steps = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    calls = [(step, {f"tag{tag}": float(step)}) for step in steps for tag in range(tags)]
    found = rows_of(calls)
    assert [row.step for row in found] == steps
    assert all(set(row.values.values()) == {float(row.step)} for row in found)

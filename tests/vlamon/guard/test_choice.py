"""Which state a rollback tries first, as a table of troubles."""

from __future__ import annotations

import pytest

from vlamon.guard.choice import Trouble, best_first, nowhere, trusted_first
from vlamon.guard.ring import Slot
from vlamon.guard.snapshots import Candidate

START = -1


def held(step: int, *, trusted: bool) -> Candidate:
    return Candidate(step, Slot(step=step, since=step, filled=True, trusted=trusted))


TRUSTED = [held(step, trusted=True) for step in (227, 75, START)]
YOUNG = [held(step, trusted=False) for step in (323, 311, 303)]
EVERYTHING = [*YOUNG, *TRUSTED]


def order(trouble: Trouble) -> list[int]:
    return [each.step for each in best_first(TRUSTED, EVERYTHING, trouble, START)]


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        pytest.param(
            Trouble(onset=330), [323, 311, 303, 227, 75, START], id="the nearest for one batch"
        ),
        pytest.param(
            Trouble(onset=315, age=8), [311, 303, 227, 75, START], id="only from before the onset"
        ),
        pytest.param(
            Trouble(onset=330, older=True, again=True, returned_to=311),
            [303, 227, 75, 323, 311, START],
            id="once more: a state older, and the start last",
        ),
        pytest.param(
            Trouble(onset=330, older=True, again=True, returned_to=227),
            [75, START, 227],
            id="once more behind a trusted one",
        ),
        pytest.param(
            Trouble(onset=330, careful=True),
            [227, 75, 323, 311, 303, START],
            id="trusted ones first for a lower lr or an order",
        ),
        pytest.param(
            Trouble(onset=200, age=130), [75, START, 227], id="a slow one: before its onset first"
        ),
        pytest.param(
            Trouble(onset=320, age=14),
            [227, 75, 303, START],
            id="a slow one: no young state that is close to the onset",
        ),
    ],
)
def test_the_best_state_comes_first(trouble: Trouble, expected: list[int]) -> None:
    kept = [step for step in order(trouble) if step in expected]
    assert kept == expected


def test_states_that_are_left_out_are_those_of_the_trouble() -> None:
    assert 323 not in order(Trouble(onset=315, age=8))
    assert 311 not in order(Trouble(onset=320, age=14))


def test_a_start_on_disk_or_gone_changes_nothing() -> None:
    trouble = Trouble(onset=330, careful=True)
    found = best_first(TRUSTED[:2], EVERYTHING[:-1], trouble, START)
    assert [each.step for each in found] == [227, 75, 323, 311, 303]
    on_disk = [*TRUSTED[:2], Candidate(START)]
    found = best_first(on_disk, [*YOUNG, *on_disk], trouble, START)
    assert [each.step for each in found] == [227, 75, 323, 311, 303, START]


@pytest.mark.parametrize(("age", "young"), [(0, [99]), (12, [99]), (13, [83])])
def test_a_trouble_that_was_seen_late_leaves_sixteen_steps_to_its_estimated_onset(
    age: int, young: list[int]
) -> None:
    steps = (100, 99, 84, 83)
    candidates = [held(step, trusted=False) for step in steps]
    found = [each.step for each in best_first([], candidates, Trouble(onset=100, age=age), START)]
    assert found[: len(young)] == young
    assert 100 not in found


def test_the_nearest_comes_first_up_to_twelve_steps_after_the_onset() -> None:
    young, sure = held(80, trusted=False), held(60, trusted=True)
    for age, expected in ((12, [80, 60]), (13, [60, 80])):
        found = best_first([sure], [young, sure], Trouble(onset=100, age=age), START)
        assert [each.step for each in found] == expected


def test_of_states_behind_a_slow_onset_the_nearest_to_it_comes_first() -> None:
    sure = [held(step, trusted=True) for step in (180, 150, 120, 100, 60)]
    found = trusted_first(sure, Trouble(onset=100, age=90))
    assert [each.step for each in found] == [100, 60, 120, 150, 180]
    once = trusted_first(sure, Trouble(onset=100))
    assert [each.step for each in once] == [180, 150, 120, 100, 60]


def test_a_state_that_did_not_help_comes_last_where_it_would_come_first() -> None:
    sure = [held(step, trusted=True) for step in (180, 150, 120)]

    def found(older: bool, returned_to: int | None) -> list[int]:
        trouble = Trouble(onset=200, older=older, returned_to=returned_to)
        return [each.step for each in trusted_first(sure, trouble)]

    assert found(True, 180) == [150, 120, 180]
    assert found(True, 150) == [180, 150, 120]
    assert found(False, 180) == [180, 150, 120]
    assert found(True, None) == [180, 150, 120]
    assert trusted_first([], Trouble(onset=200, older=True)) == []


@pytest.mark.parametrize(
    ("to", "exact", "known", "why"),
    [
        (None, False, [], "there is no trusted snapshot to return to, neither in memory nor on "),
        (40, True, [], "there is no trusted snapshot to return to"),
        (None, False, [9, 4], "none of the trusted snapshots fits this training any more"),
        (0, False, [9, 4], "there is no snapshot at or before step 0: the oldest is of step 4"),
        (40, True, [90, 4], "there is no snapshot of step 40 any more; there are those of 90, 4"),
    ],
)
def test_a_return_that_leads_nowhere_says_what_there_is(
    to: int | None, exact: bool, known: list[int], why: str
) -> None:
    assert nowhere(to, exact, known).startswith(why)

"""Which state a rollback tries first, as a table of troubles."""

from __future__ import annotations

import pytest

from vlamon.guard.choice import Trouble, best_first
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

"""What the records of a run amount to before any rule looks at them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vlamon.analysis.test_diagnosis import batches
from vlamon.analysis.evidence import gather


def test_an_epochs_mean_is_over_the_batches_that_the_run_kept() -> None:
    before = batches(closs=[9.0] * 30 + [95.0] * 20)
    again = batches(1, 30, closs=[7.0] * 30)
    reduced = gather([before, again]).reduced["closs"]
    assert reduced.epoch.tolist() == [0]
    assert reduced.values.tolist() == [8.0], "not the twenty that were rolled back"
    assert reduced.step.tolist() == [59]


def test_a_second_rollback_takes_back_batches_of_every_attempt_before() -> None:
    blocks = [
        batches(0, 0, closs=[1.0] * 10),
        batches(1, 6, closs=[2.0] * 10),
        batches(2, 4, closs=[3.0] * 2),
    ]
    kept = gather(blocks).fine["closs"].kept
    assert kept.tolist() == [True] * 4 + [False] * 6 + [False] * 10 + [True] * 2


def test_an_epoch_that_was_left_for_good_keeps_the_mean_of_what_was_seen() -> None:
    left = batches(closs=[5.0] * 10)
    left.epoch[5:] = 1.0
    back = batches(1, 3, closs=[4.0])
    reduced = gather([left, back]).reduced["closs"]
    assert dict(zip(reduced.epoch.tolist(), reduced.values.tolist(), strict=True)) == {
        0.0: pytest.approx(np.mean([5.0, 5.0, 5.0, 4.0])),
        1.0: 5.0,
    }

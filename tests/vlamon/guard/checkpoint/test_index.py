"""Which checkpoints of a branch there are, which can be trusted, and which retention must leave."""

from __future__ import annotations

from pathlib import Path

from vlamon.guard.checkpoint.index import Index


def index(*steps: int, trust_after: int = 20) -> Index:
    held = Index(trust_after)
    for step in steps:
        held.begin(step)
        held.written(step, place(step))
    return held


def place(step: int) -> Path:
    return Path(f"checkpoints/step-{step:09d}")


def test_a_checkpoint_is_a_candidate_until_it_was_quiet_for_long_enough() -> None:
    held = index(10, 20)
    held.quiet_until(29)
    assert held.steps(trusted_only=True) == []
    held.quiet_until(30)
    assert held.steps(trusted_only=True) == [10]
    assert held.steps(trusted_only=False) == [20, 10]


def test_an_explosion_leaves_the_trusted_ones() -> None:
    held = index(10, 20)
    held.quiet_until(30)
    assert held.doubt()
    assert held.steps(trusted_only=False) == [10]
    assert not held.doubt()


def test_an_explosion_that_began_some_time_ago_leaves_what_is_older_or_the_oldest() -> None:
    held = index(10, 20, 30)
    held.quiet_until(50)
    assert held.doubt(before=20)
    assert held.steps(trusted_only=False) == [20, 10]
    assert held.doubt(before=5)
    assert held.steps(trusted_only=False) == [10]


def test_one_that_cannot_be_read_is_lost_and_the_others_stay() -> None:
    held = index(10, 20, 30)
    held.lost(20)
    assert held.steps(trusted_only=False) == [30, 10]


def test_what_was_being_written_when_the_training_went_back_is_of_the_branch_it_left() -> None:
    held = index(10)
    held.begin(20)
    held.forget_after(10)
    held.written(20, place(20))
    assert held.steps(trusted_only=False) == [10]


def test_a_checkpoint_that_could_not_be_written_is_none() -> None:
    held = index(10)
    held.begin(20)
    held.failed(20)
    assert held.steps(trusted_only=False) == [10]


def test_retention_leaves_the_newest_trusted_one_and_the_one_that_will_be_trusted_next() -> None:
    held = index(0, 10, 20, 30)
    held.quiet_until(30)
    assert held.spared() == {place(10).name, place(20).name}


def test_a_resume_finds_the_branch_that_it_goes_on_with() -> None:
    """Newest first on disk: 300 was left for 110, and 90 was left for 80 before that."""
    on_disk = [place(step) for step in (120, 110, 300, 80, 90, 50)]
    held = Index(trust_after=20)
    held.found(on_disk, place(110), 110)
    assert held.steps(trusted_only=False) == [110, 80, 50]
    assert held.steps(trusted_only=True) == [110, 80, 50]
    held.found(on_disk, place(120), 120)
    assert held.steps(trusted_only=True) == [120, 80, 50]

"""Which sample comes next, and how a cursor names it."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.sampler import Sampler

FRAMES = np.arange(100) * 3


def sampler(**changes: object) -> Sampler:
    given = {"batch": 4, "world_share": 0.25, "seed": 1, **changes}
    return Sampler(FRAMES, **given)  # type: ignore[arg-type]


def names(one: Sampler, draws: int) -> list[int]:
    return [name for _ in range(draws) for name in one.draw().sample_ids]


def test_a_pass_shows_every_frame_once_and_the_next_in_another_order() -> None:
    first, second = (names_of(sampler(), turn) for turn in range(2))
    assert sorted(n // 2 for n in first) == FRAMES.tolist()
    assert sorted(n // 2 for n in second) == FRAMES.tolist()
    assert first != second


def names_of(one: Sampler, turn: int) -> list[int]:
    return [one.name(cursor) for cursor in range(turn * 100, turn * 100 + 100)]


def test_two_numbers_are_all_it_takes_to_go_on() -> None:
    whole = names(sampler(), 60)
    interrupted = sampler()
    names(interrupted, 31)
    resumed = sampler()
    resumed.load_state_dict(interrupted.state_dict())
    assert names(resumed, 29) == whole[31 * 4 :]


def test_ranks_share_what_one_rank_would_have_drawn() -> None:
    alone = names(sampler(batch=8), 5)
    left, right = (sampler(batch=4, rank=rank, ranks=2) for rank in range(2))
    together = [n for _ in range(5) for one in (left, right) for n in one.draw().sample_ids]
    assert together == alone


def test_a_cursor_names_a_sample_whatever_was_drawn_before() -> None:
    fresh, used = sampler(), sampler()
    names(used, 40)
    assert fresh.name(250) == used.name(250)


def test_world_rows_come_in_their_share() -> None:
    kinds = [n % 2 for n in names(sampler(), 500)]
    assert 0.2 < np.mean(kinds) < 0.3


def test_skipping_counts_whole_steps_of_all_ranks_and_micro_batches() -> None:
    one = sampler(ranks=2, draws=3)
    one.skip(5)
    assert one.cursor == 5 * 3 * 4 * 2


def test_another_seed_is_refused_with_the_seed_to_use() -> None:
    with pytest.raises(ValueError, match="--seed 1"):
        sampler(seed=2).load_state_dict(sampler().state_dict())

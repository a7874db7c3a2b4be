"""Which states are kept in memory, which give way, and which can be trusted."""

from __future__ import annotations

import pytest
import torch

from tests.vlamon.guard.toy import Toy
from vlamon.guard.ring import Ring

SPACING, REACH, TRUST = 76, 288, 76


def state(value: float = 0.0) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor([value])}


def steps(ring: Ring) -> list[int]:
    return [slot.step for slot in ring.held()]


def test_four_slots_hold_states_of_the_ages_that_a_slow_divergence_needs() -> None:
    ring = Ring(4, TRUST, REACH)
    for step in range(0, 6000, SPACING):
        ring.quiet_until(step)
        ring.take(step, state())
        ages = sorted(step - held for held in steps(ring))
        assert len(ages) == min(4, step // SPACING + 1)
        if step > 2 * REACH:
            assert ages[:2] == [0, SPACING]
            assert 2 * SPACING <= ages[2] <= 4 * SPACING
            assert 4 * SPACING <= ages[3] <= 6 * SPACING
            oldest = ring.oldest_trusted()
            assert oldest is not None
            assert oldest.step == step - ages[3]


def test_an_oldest_state_that_nothing_replaces_goes_at_twice_the_reach() -> None:
    ring = Ring(3, TRUST, REACH)
    oldest = []
    for step in range(0, 1300, SPACING):
        ring.quiet_until(step)
        ring.take(step, state())
        oldest.append(steps(ring)[0])
    first_gone = next(step for step, held in enumerate(oldest) if held)
    assert (first_gone - 1) * SPACING <= 2 * REACH < first_gone * SPACING


def test_the_newest_trusted_state_is_never_given_up() -> None:
    ring = Ring(2, TRUST, REACH)
    ring.take(0, state(), trusted=True)
    for step in (10, 20, 30):
        ring.take(step, state())
        assert steps(ring) == [0, step]
    ring.quiet_until(30 + TRUST)
    ring.take(120, state())
    assert steps(ring) == [30, 120]


def test_a_state_is_trusted_after_so_many_quiet_steps_of_its_own_age() -> None:
    ring = Ring(3, TRUST, REACH, near=1)
    ring.take(100, state())
    ring.take_near(101, state())
    ring.quiet_until(100 + TRUST - 1)
    assert ring.trusted() is None
    ring.quiet_until(100 + TRUST)
    assert [slot.trusted for slot in ring.held()] == [True, False]
    ring.count_on(50)  # the loop counted on through a rollback
    assert [slot.since for slot in ring.held()] == [150, 151]
    ring.quiet_until(150 + TRUST)
    assert [slot.trusted for slot in ring.held()] == [True, False]
    ring.quiet_until(151 + TRUST)
    assert [slot.trusted for slot in ring.held()] == [True, True]


def test_the_newest_trusted_state_at_or_before_a_step_is_found() -> None:
    ring = Ring(4, TRUST, REACH)
    for step in (10, 20, 30):
        ring.take(step, state(), trusted=step != 30)
    found = [ring.trusted(to) for to in (None, 30, 20, 19, 9)]
    assert [slot and slot.step for slot in found] == [20, 20, 20, 10, None]
    oldest = ring.oldest_trusted()
    assert oldest is not None
    assert oldest.step == 10


def test_a_rollback_drops_what_is_newer_than_the_state_that_it_returns_to() -> None:
    ring = Ring(3, TRUST, REACH, near=2)
    for step in (10, 20, 30):
        ring.take(step, state())
    for step in (25, 35):
        ring.take_near(step, state())
    ring.forget_after(20)
    assert steps(ring) == [10, 20]
    ring.forget(ring.held()[0])
    assert steps(ring) == [20]


def test_near_slots_take_turns_and_the_empty_one_comes_first() -> None:
    ring = Ring(2, TRUST, REACH, near=2)
    assert [ring.take_near(step, state()).step for step in (5, 6)] == [5, 6]
    ring.take_near(7, state())
    assert steps(ring) == [6, 7]
    ring.forget(ring.held()[1])
    ring.take_near(8, state())
    assert steps(ring) == [6, 8]


def test_a_slot_holds_a_copy_with_what_was_noted() -> None:
    ring, live = Ring(2, TRUST, REACH), state(1.0)
    slot = ring.take(3, live, closs=2.5, place=9)
    assert slot is not None
    live["x"].fill_(7.0)
    assert slot.state()["x"].tolist() == [1.0]
    assert (slot.closs, slot.note, slot.trusted) == (2.5, {"place": 9}, False)


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (None, [-1, 10, 20, 30]),
        (30, [-1, 10, 20, 30]),
        (29, [-1, 10, 20]),
        (20, [-1, 10, 20]),
        (-1, [-1]),
        (-5, [-1]),
    ],
)
def test_an_explosion_that_goes_on_leaves_what_was_taken_before_it_began(
    before: int | None, left: list[int]
) -> None:
    """What nobody trusts is dropped in any case; of the trusted ones the oldest stays."""
    toy = Toy(slots=6)
    toy.guard.start()
    for step in (10, 20, 30, 40):
        toy.guard.snapshots.take(step, trusted=step != 40)
    assert toy.guard.snapshots.doubt(before)
    assert steps(toy.guard.snapshots.ring) == left
    assert not toy.guard.snapshots.doubt(before)


@pytest.mark.parametrize("slots", [0, 1])
def test_a_ring_of_no_slots_takes_nothing_and_one_of_a_single_slot_is_refused(slots: int) -> None:
    if slots:
        with pytest.raises(ValueError, match="a ring of one slot"):
            Ring(1, TRUST)
        return
    ring = Ring(0, TRUST, near=2)
    assert ring.take(1, state()) is None
    assert (ring.near, ring.held(), ring.trusted(), ring.oldest_trusted()) == ([], [], None, None)

"""How far a rank's loss is from the others', against how far it was at first."""

from __future__ import annotations

import math

import pytest

from vlamon.detect.rank_losses import FIRST, Compared, RankLosses


class Ranks:
    """Reports of three ranks or more, one of which is watched."""

    def __init__(self) -> None:
        self.losses = RankLosses()
        self.count = 0

    def report(self, *values: float | None) -> dict[int, Compared]:
        self.count += 1
        return self.losses.compare({rank: (self.count, value) for rank, value in enumerate(values)})

    def usual(self, *values: float) -> None:
        """What the ranks have at first."""
        for _ in range(FIRST):
            self.report(*values)

    def until_far(self, *values: float, at_most: int = 400) -> int | None:
        """Reports of these values until the last rank is far above where it was."""
        for count in range(1, at_most + 1):
            if self.report(*values)[len(values) - 1].far:
                return count
        return None


def test_a_rank_is_known_after_forty_reports_of_its_own() -> None:
    ranks = Ranks()
    for _ in range(FIRST - 1):
        assert ranks.report(2.0, 2.0, 2.2) == {}
    found = ranks.report(2.0, 2.0, 2.2)
    assert sorted(found) == [0, 1, 2]
    assert found[2].loss == pytest.approx(2.2)
    assert (found[2].usual, found[2].far) == (2.0, False)
    late = ranks.report(2.0, 2.0, 2.2, 2.0)
    assert sorted(late) == [0, 1, 2], "the fourth has only begun"


def test_a_report_that_is_seen_again_counts_once() -> None:
    losses = RankLosses()
    for _ in range(3 * FIRST):
        assert losses.compare({0: (1, 2.0), 1: (1, 2.0), 2: (1, 2.2)}) == {}
    ranks = Ranks()
    ranks.usual(2.0, 2.0, 2.2)
    again = [ranks.losses.compare({0: (7, 2.0), 1: (7, 2.0), 2: (7, 9.0)}) for _ in range(50)]
    assert again[-1] == again[0]
    assert not again[-1][2].far


def test_two_ranks_can_be_compared_and_one_cannot() -> None:
    pair, lone = Ranks(), Ranks()
    pair.usual(2.0, 2.2)
    lone.usual(2.0)
    assert sorted(pair.report(2.0, 2.2)) == [0, 1]
    assert lone.report(2.0) == {}


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_rank_without_a_finite_loss_is_left_out(missing: float | None) -> None:
    ranks = Ranks()
    ranks.usual(2.0, 2.0, 2.2)
    found = ranks.report(2.0, missing, 2.2)
    assert sorted(found) == [0, 2]
    assert found[0].usual == pytest.approx(2.1)
    assert ranks.report(2.0, missing, missing) == {}


def test_losses_of_zero_are_no_level_to_be_a_share_of() -> None:
    ranks = Ranks()
    ranks.usual(0.0, 0.0, 0.0)
    assert ranks.report(0.0, 0.0, 1.0) == {}


def test_a_fifth_above_its_own_distance_is_far() -> None:
    """The running mean takes a twentieth of each report: ten of them carry half a median so far."""
    ranks = Ranks()
    ranks.usual(2.0, 2.0, 2.2)
    assert ranks.until_far(2.0, 2.0, 3.2) == 10
    slight = Ranks()
    slight.usual(2.0, 2.0, 2.2)
    assert slight.until_far(2.0, 2.0, 2.58) is None
    below = Ranks()
    below.usual(2.0, 2.0, 2.2)
    assert below.until_far(2.0, 2.0, 0.1) is None, "lower is no drift that anybody has to look at"


def test_what_a_rank_varied_by_at_first_is_no_drift() -> None:
    """Eight standard deviations of the running mean: 0.65 of the median here, of single reports
    that lie half a median to either side."""
    ranks = Ranks()
    for _ in range(FIRST // 2):
        ranks.report(2.0, 2.0, 2.0)
        ranks.report(2.0, 2.0, 4.0)
    assert ranks.until_far(2.0, 2.0, 4.2) is None
    ranks = Ranks()
    for _ in range(FIRST // 2):
        ranks.report(2.0, 2.0, 2.0)
        ranks.report(2.0, 2.0, 4.0)
    assert ranks.until_far(2.0, 2.0, 5.0) == 21


def test_a_loss_below_zero_has_distances_too() -> None:
    ranks = Ranks()
    ranks.usual(-2.0, -2.0, -2.0)
    found = ranks.report(-2.0, -2.0, -2.0)[2]
    assert (found.loss, found.usual) == (-2.0, -2.0)
    assert ranks.until_far(-2.0, -2.0, -1.0) == 10


def test_near_zero_a_distance_is_a_share_of_a_tenth_of_the_greatest_loss() -> None:
    """Else the noise of a loss that has fallen to nothing would be a drift."""
    near, far = Ranks(), Ranks()
    for ranks in (near, far):
        ranks.usual(10.0, 10.0, 10.0)
    assert near.until_far(0.001, 0.001, 0.19) is None
    assert far.until_far(0.001, 0.001, 0.501) == 10


def test_the_running_mean_is_told_on_the_scale_of_the_losses() -> None:
    ranks = Ranks()
    ranks.usual(2.0, 2.0, 2.0)
    found = ranks.report(2.0, 2.0, 4.0)
    assert found[2].loss == pytest.approx(2.0 + 2.0 * 0.05)
    found = ranks.report(2.0, 2.0, 4.0)
    assert found[2].loss == pytest.approx(2.0 + 2.0 * (0.05 + 0.95 * 0.05))

"""When exactly a rank is silent, slow, throttled or broken, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from vlamon.detect.ranks import EVERY, RankFinding, RankJudge, RankReport, columns, interval


def report(count: int, **changes: object) -> RankReport:
    known: dict[str, object] = {"step": count, "values": {}, "host": "n", "pid": 9}
    return RankReport(count, **{**known, **changes})  # type: ignore[arg-type]


def looks(
    count: int, others: Mapping[int, RankReport], since: int = 0, judge: RankJudge | None = None
) -> list[tuple[float, RankFinding]]:
    """What is found in so many looks, half a second apart, in which rank 0 always reports anew."""
    judge, found = judge or RankJudge(), []
    for look in range(since, since + count):
        now = look * EVERY
        found += [
            (now, each) for each in judge.observe({0: report(look, pid=8), **others}, now)
        ]  # fmt: skip
    return found


# ---- silent ----


def test_a_rank_is_silent_from_the_sixth_second_on() -> None:
    ((now, found),) = looks(40, {1: report(0, step=3)})
    assert now == 6.0
    assert (found.kind, found.ranks, found.step) == ("silent", (1,), 3)
    assert found.text == (
        "rank 1 (n, pid 9) has reported nothing for 6 s: killed, stopped, or cut off; "
        "its last step is 3"
    )
    assert found.data == {"host": "n", "pid": 9}


def test_a_rank_that_ended_is_not_silent() -> None:
    assert looks(40, {1: report(0, ended="done")}) == []


@pytest.mark.parametrize(("gap", "told"), [(2.0, 7.0), (2.5, 13.5)])
def test_four_reports_that_rank_0_missed_itself_are_held_against_nobody(
    gap: float, told: float
) -> None:
    judge, found = RankJudge(), []
    now, count = 0.0, 0
    while now < 15.0:
        reports = {0: report(count), 1: report(0)}
        found += [(now, each.kind) for each in judge.observe(reports, now)]
        now, count = now + (gap if now == 5.0 else EVERY), count + 1
    assert found == [(told, "silent")]


@pytest.mark.parametrize(
    ("ranks", "seconds"), [(1, 0.5), (128, 0.5), (129, 129 / 256), (256, 1.0), (1024, 4.0)]
)
def test_the_more_ranks_the_less_often_each_reports(ranks: int, seconds: float) -> None:
    assert interval(ranks) == max(0.5, seconds)


# ---- slow ----


def phases(look: int, data: float, forward: float = 0.3, step_time: float = 1.0) -> RankReport:
    values = {"data_wait": data, "step_time": step_time}
    return report(look, values=values, forward=forward)


@pytest.mark.parametrize(
    ("data", "forward", "slow"),
    [
        (0.2, 0.3, None),  # just twice the usual time
        (0.24, 0.3, None),  # more, and less than 0.15 of a step
        (0.2501, 0.3, "data"),
        (0.1, 0.6, None),
        (0.1, 0.61, "forward"),
    ],
)
def test_a_slow_phase_takes_twice_the_time_and_a_share_of_the_step(
    data: float, forward: float, slow: str | None
) -> None:
    judge, found = RankJudge(), []
    for look in range(30):
        reports = {rank: phases(look, 0.1) for rank in range(4)}
        reports[3] = phases(look, data, forward)
        found += judge.observe(reports, look * EVERY)
    assert [(each.kind, each.ranks, each.data["phase"]) for each in found] == (
        [] if slow is None else [("straggler", (3,), slow)]
    )


def test_a_straggler_is_told_with_its_time_that_of_the_others_and_since_when() -> None:
    judge, found = RankJudge(), []
    for look in range(20):
        reports = {rank: phases(look, 0.1) for rank in range(3)}
        reports[2] = phases(look, 0.4 if look >= 5 else 0.1)
        found += judge.observe(reports, look * EVERY)
    (told,) = found
    assert told.text == (
        "rank 2 (n, pid 9) is a straggler: loading data takes 400 ms a step there and 100 ms "
        "elsewhere, and every rank waits (since step 5)"
    )
    assert told.step == 12, "eight looks, which are four seconds"
    assert told.data == {"phase": "data", "seconds": 0.4, "usual": 0.1, "since": 5}


def test_of_two_ranks_the_slower_one_is_the_straggler() -> None:
    judge, found = RankJudge(), []
    for look in range(10):
        reports = {0: phases(look, 0.1), 1: phases(look, 0.4)}
        found += judge.observe(reports, look * EVERY)
    assert [each.ranks for each in found] == [(1,)]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_nobody_can_be_compared_with_is_no_straggler(ranks: int) -> None:
    judge, found = RankJudge(), []
    for look in range(20):
        reports = {0: report(look), **{rank: phases(look, 0.4) for rank in range(1, ranks)}}
        found += judge.observe(reports, look * EVERY)
    assert found == []


@pytest.mark.parametrize("known", [True, False])
def test_without_the_time_of_a_step_nobody_is_slow(known: bool) -> None:
    judge, found = RankJudge(), []
    step = {"step_time": 0.0} if known else {}
    for look in range(20):
        waits = (0.1, 0.4)
        reports = {
            rank: report(look, values={"data_wait": wait, **step})
            for rank, wait in enumerate(waits)
        }
        found += judge.observe(reports, look * EVERY)
    assert found == []


@pytest.mark.parametrize(("every", "needed"), [(0.5, 8), (1.0, 4), (4.0, 3)])
def test_what_is_slow_is_so_for_four_seconds_and_for_three_looks(every: float, needed: int) -> None:
    judge, told = RankJudge(every), []
    for look in range(20):
        reports = {0: phases(look, 0.1), 1: phases(look, 0.4)}
        told += [look + 1 for _ in judge.observe(reports, look * every)]
    assert told == [needed]


def test_a_rank_is_slow_again_from_the_step_at_which_it_is() -> None:
    judge, texts = RankJudge(), list[str]()
    slow = [*[True] * 3, *[False] * 5, *[True] * 10]
    for look, so in enumerate(slow):
        reports = {0: phases(look, 0.1), 1: phases(look, 0.4 if so else 0.1)}
        texts += [each.text for each in judge.observe(reports, look * EVERY)]
    (text,) = texts
    assert text.endswith("(since step 8)")


@pytest.mark.parametrize(("hot", "told"), [((1,), 1), ((1, 2), 2), ((1, 2, 3), 0)])
def test_heat_of_more_than_half_of_the_gpus_is_the_rooms(hot: tuple[int, ...], told: int) -> None:
    judge, found = RankJudge(), []
    for look in range(20):
        reports = {
            rank: report(look, throttle="power brake" if rank in hot else "") for rank in range(4)
        }
        found += judge.observe(reports, look * EVERY)
    assert [each.kind for each in found] == ["throttled"] * told


# ---- broken ----


def test_a_broken_batch_is_told_when_all_ranks_have_reached_its_step() -> None:
    judge = RankJudge()
    broken = report(5, step=11, broken=(11, "closs"))
    behind = {0: report(5, step=10), 1: report(5, step=None), 2: broken}
    assert judge.observe(behind, 0.0) == []
    assert judge.observe({**behind, 0: report(6, step=11)}, 0.5) == []
    reached = {0: report(7, step=11), 1: report(7, step=11), 2: broken}
    (found,) = judge.observe(reached, 1.0)
    assert (found.kind, found.ranks, found.step) == ("broken", (2,), 11)
    assert found.text == (
        "closs is not finite on rank 2 at step 11, and finite on the other 2: look at the batch "
        "there"
    )
    assert found.data == {"metric": "closs"}
    assert judge.observe(reached, 1.5) == []


def test_nobody_is_waited_for_longer_than_three_seconds() -> None:
    judge = RankJudge()
    found = [
        now
        for now in (10.0, 10.5, 11.0, 12.0, 12.9, 13.0, 13.5)
        for each in judge.observe(
            {0: report(int(10 * now), step=3), 1: report(1, step=11, broken=(11, "closs"))}, now
        )
        if each.kind == "broken"
    ]
    assert found == [13.0]


def test_at_the_end_nobody_is_waited_for() -> None:
    judge = RankJudge()
    reports = {0: report(1, step=3), 1: report(1, step=11, broken=(11, "closs"))}
    found = judge.at_the_end(reports, 5.0, 1.0)
    assert [each.kind for each in found] == ["broken"]


def test_a_batch_that_broke_everywhere_is_told_without_the_others() -> None:
    reports = {rank: report(1, step=9, broken=(9, "z_loss")) for rank in range(12)}
    (found,) = RankJudge().observe(reports, 0.0)
    assert found.text == "z_loss is not finite on ranks 0, 1, 2, 3, 4, 5, 6, 7 … at step 9"
    eight = {rank: report(1, step=9, broken=(9, "z_loss")) for rank in range(8)}
    (found,) = RankJudge().observe(eight, 0.0)
    assert found.text == "z_loss is not finite on ranks 0, 1, 2, 3, 4, 5, 6, 7 at step 9"


# ---- columns ----


def test_the_columns_are_over_the_ranks_that_have_a_finite_value() -> None:
    values = (1.0, 4.0, math.nan, 2.0, math.inf)
    reports = {rank: report(1, values={"closs": value}) for rank, value in enumerate(values)}
    assert columns(reports) == {
        "ranks_closs_median": 2.0,
        "ranks_closs_min": 1.0,
        "ranks_closs_max": 4.0,
        "ranks_closs_max_rank": 1.0,
    }
    assert columns({rank: reports[rank] for rank in (0, 1)})["ranks_closs_median"] == 2.5
    assert columns({rank: reports[rank] for rank in (0, 2)}) == {}

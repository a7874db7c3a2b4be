"""Who is slow, silent or broken among the ranks, on a clock that the test moves."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from vlamon.detect.ranks import EVERY, SILENT, SLOW_FOR, RankJudge, RankReport, columns, interval

LOOKS = int(SLOW_FOR / EVERY)


class Job:
    """Its ranks report every half second, or less often where there are many."""

    def __init__(self, size: int) -> None:
        values = {"closs": 2.0, "step_time": 0.4, "data_wait": 0.01}
        self.reports = {
            rank: RankReport(0, 0, values, 0.1, host="n", pid=rank) for rank in range(size)
        }
        self.every = interval(size)
        self.judge = RankJudge(self.every)
        self.now = 0.0
        self.told: list[tuple[str, tuple[int, ...]]] = []

    def look(self, times: int = 1, but: tuple[int, ...] = (), gap: float = 0.0) -> None:
        for _ in range(times):
            self.now += gap or self.every
            for rank, report in self.reports.items():
                if rank not in but:
                    self.reports[rank] = replace(
                        report, count=report.count + 1, step=(report.step or 0) + 1
                    )
            found = self.judge.observe(self.reports, self.now)
            self.told += [(finding.kind, finding.ranks) for finding in found]

    def change(self, rank: int, **values: float) -> None:
        report = self.reports[rank]
        self.reports[rank] = replace(report, values={**report.values, **values})


def test_a_rank_that_says_nothing_is_reported_once_and_its_return_too() -> None:
    job = Job(4)
    job.look(10)
    job.look(int(2 * SILENT) + 20, but=(3,))
    assert job.told == [("silent", (3,))]
    job.look(2)
    assert job.told == [("silent", (3,)), ("back", (3,))]


def test_a_silent_rank_is_reported_with_its_last_step_where_it_had_one() -> None:
    judge = RankJudge()
    reports = {0: RankReport(0, step=7), 1: RankReport(0)}
    judge.observe(reports, 0.0)
    found = judge.at_the_end(reports, 100.0, SILENT)
    assert [finding.text.endswith("its last step is 7") for finding in found] == [True, False]
    assert not any("None" in finding.text for finding in found)


def test_many_ranks_report_less_often_and_are_judged_by_the_same_clock() -> None:
    job = Job(1024)
    assert job.every == 4.0
    job.look(20)
    assert job.told == [], "nobody is silent between two reports"
    job.look(3, but=(1000,))
    assert job.told == [("silent", (1000,))]
    job.change(5, data_wait=0.25)
    job.look(3)
    assert ("straggler", (5,)) in job.told


def test_a_rank_that_ended_and_a_rank_0_that_stood_still_raise_no_alarm() -> None:
    job = Job(2)
    job.look(5)
    job.look(1, but=(1,), gap=300.0)
    job.look(3)
    job.reports[1] = replace(job.reports[1], ended="ended")
    job.look(100, but=(1,))
    assert job.told == []


def test_a_straggler_is_named_after_some_looks_and_when_it_keeps_up_again() -> None:
    job = Job(8)
    job.change(5, data_wait=0.25)
    job.look(LOOKS - 1)
    assert job.told == []
    job.look(40)
    assert job.told == [("straggler", (5,))]
    job.change(5, data_wait=0.01)
    job.look(LOOKS)
    assert job.told[1:] == [("recovered", (5,))]


def test_twice_a_small_time_is_no_straggler() -> None:
    job = Job(8)
    job.change(5, data_wait=0.03)
    job.look(100)
    assert job.told == []


def test_a_gpu_that_heat_holds_back_is_named_unless_half_of_them_are() -> None:
    job = Job(4)
    job.reports[2] = replace(job.reports[2], throttle="thermal slowdown (hardware)")
    job.change(2, gpu_temperature=91.0)
    job.look(LOOKS)
    assert job.told == [("throttled", (2,))]
    job.reports[2] = replace(job.reports[2], throttle="")
    job.look(LOOKS)
    assert job.told[1:] == [("recovered", (2,))]
    hot = Job(4)
    hot.reports = {
        rank: replace(report, throttle="power brake" if rank else "")
        for rank, report in hot.reports.items()
    }
    hot.look(50)
    assert hot.told == []


def test_what_holds_a_gpu_back_is_reported_with_its_temperature() -> None:
    judge, found = RankJudge(), list[str]()
    for count in range(20):
        hot = RankReport(count, 7, {"gpu_temperature": 91.4}, throttle="power brake")
        seen = judge.observe({0: RankReport(count, 7), 1: hot}, float(count))
        found += [finding.text for finding in seen]
    assert found == ["rank 1 has a GPU that is held back at 91 °C (power brake) (since step 7)"]


@pytest.mark.parametrize("size", [2, 3, 24])
def test_a_replica_whose_loss_rises_away_is_named(size: int) -> None:
    job, choose = Job(size), random.Random(1)
    for look in range(400):
        for rank in range(size):
            risen = max(0.0, (look - 200) / 100) if rank == 1 else 0.0
            job.change(rank, closs=choose.gauss(2.0, 0.2) + 0.5 * (rank == 0) + risen)
        job.look()
    assert job.told == [("apart", (1,))]


@pytest.mark.parametrize("size", [2, 24])
def test_noise_data_of_its_own_and_a_rise_of_all_are_no_drift(size: int) -> None:
    job, choose = Job(size), random.Random(2)
    for look in range(600):
        level = 8.0 - look / 40 if look < 300 else 0.5 + (look - 300) / 10
        for rank in range(size):
            own = 1.5 if rank == 1 else 1.0
            job.change(rank, closs=own * level * choose.lognormvariate(0, 0.3))
        job.look()
    assert job.told == []


def test_the_broken_batch_is_that_of_the_ranks_that_had_it_first() -> None:
    job = Job(4)
    job.look(10)
    job.reports[2] = replace(job.reports[2], broken=(11, "closs"))
    job.look()
    job.reports = {
        rank: report if rank == 2 else replace(report, broken=(12, "closs"))
        for rank, report in job.reports.items()
    }
    job.look(30)
    assert job.told == [("broken", (2,))]


def test_512_ranks_are_sixteen_columns() -> None:
    job = Job(512)
    job.change(77, closs=9.0)
    found = columns(job.reports)
    assert len(found) == 12, "no rank tells a grad_norm here"
    assert found["ranks_closs_median"] == found["ranks_closs_min"] == 2.0
    assert (found["ranks_closs_max"], found["ranks_closs_max_rank"]) == (9.0, 77.0)
    assert columns({0: job.reports[0]}) == {}

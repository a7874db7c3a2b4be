"""Tells apart jobs that write to one log: no verdict on the mixture of their rows would hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlamon.analysis.series import Floats, Ints, Series

_MOST_JOBS = 8
_LEAST = 8
"""Steps that do not grow from which on rows may alternate."""
_SHARE = 0.2
"""Share of the rows that do not grow; restarts and epochs make few."""
_FAR = 10.0
"""Times its usual gap at which a job's first row is far from its second."""
_APART = 5.0
"""Distance of the levels of two jobs at the same steps, in changes from row to row: micro-batches
and ranks have one level."""


@dataclass(slots=True)
class _Job:
    """A chain of rows whose steps grow."""

    step: int
    value: float
    rows: list[int]


def jobs_of(series: Series) -> list[Ints]:
    """The rows of each job, the longest first; one job where the rows do not alternate."""
    whole = [np.arange(len(series))]
    stuck = np.diff(series.step) <= 0
    if series.grain != "batch" or stuck.sum() < max(_LEAST, _SHARE * len(series)):
        return whole
    jobs = _chains(series.step, series.values)
    if jobs is None or len(jobs) < 2:
        return whole
    owner = np.empty(len(series), np.int64)
    for number, job in enumerate(jobs):
        owner[job] = number
    switches = int((np.diff(owner) != 0).sum())
    falls = int((np.diff(series.step) < 0).sum())
    alternates = switches >= max(_LEAST, _SHARE * len(series))
    if not alternates or (falls < _LEAST and not _levels_differ(series.values, jobs)):
        return whole
    return sorted(jobs, key=len, reverse=True)


def _chains(steps: Ints, values: Floats) -> list[Ints] | None:
    """Give each row to the job that it goes on from: the furthest before it, or of several the one
    with the nearest value. None where there are too many."""
    jobs: list[_Job] = []
    for row, (step, value) in enumerate(zip(steps.tolist(), values.tolist(), strict=True)):
        before = [job for job in jobs if job.step < step]
        if not before:
            if len(jobs) == _MOST_JOBS:
                return None
            jobs.append(_Job(step, value, [row]))
            continue
        furthest = max(job.step for job in before)
        job = min(
            (job for job in before if job.step == furthest), key=lambda job: abs(job.value - value)
        )
        job.step, job.value = step, value
        job.rows.append(row)
    return _first_rows_moved([job.rows for job in jobs], steps)


def _first_rows_moved(jobs: list[list[int]], steps: Ints) -> list[Ints]:
    """A job's first row may be another's: nothing told then how far ahead a job begins."""
    for job in jobs:
        gaps = np.diff(steps[job])
        if len(job) < _LEAST or gaps[0] <= _FAR * np.median(gaps):
            continue
        behind = [other for other in jobs if other is not job and steps[other[0]] > steps[job[0]]]
        if behind:
            min(behind, key=lambda other: int(steps[other[0]])).insert(0, job.pop(0))
    return [np.array(job) for job in jobs]


def _levels_differ(values: Floats, jobs: list[Ints]) -> bool:
    levels = sorted(float(np.nanmedian(values[job])) for job in jobs)
    moves = max(float(np.nanmedian(np.abs(np.diff(values[job])))) for job in jobs if len(job) > 1)
    return bool(np.min(np.diff(levels)) > _APART * moves)

"""Rows of two jobs in one log are told apart, and nothing else is taken for two jobs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import anomalies
from vlamon.analysis.diagnosis import diagnose
from vlamon.analysis.evidence import Evidence, gather
from vlamon.records import BatchBlock, Column

ROWS = 120


def evidence(rows: Sequence[tuple[int, float]]) -> Evidence:
    steps = np.array([step for step, _ in rows])
    starts = np.flatnonzero(np.diff(steps, prepend=steps[0]) < 0)
    attempts = np.searchsorted(starts, np.arange(len(rows)), "right")
    return gather(
        BatchBlock(
            seq=0,
            attempt=int(attempts[row]),
            step=steps[row : row + 1],
            epoch=np.full(1, np.nan),
            time=np.full(1, np.nan),
            columns={"loss": Column(np.array([loss]))},
        )
        for row, (_, loss) in enumerate(rows)
    )


def falling(row: int, level: float = 2.0) -> float:
    return level + 3 * 0.97**row + 0.01 * (row % 3)


def ids(found: Evidence) -> set[str]:
    return {diagnosis.id for diagnosis in diagnose(found)}


def test_jobs_at_other_steps_are_told_apart_from_their_first_row_on() -> None:
    rows = [r for n in range(ROWS) for r in ((10 * n, falling(n)), (5000 + 10 * n, falling(n, 30)))]
    found = evidence(rows)
    assert found.other_jobs == (ROWS,)
    assert found.fine["loss"].step.tolist() in (
        [10 * n for n in range(ROWS)],
        [5000 + 10 * n for n in range(ROWS)],
    )
    assert "interleaved-jobs" in ids(found)
    assert "restart" not in ids(found)


def test_jobs_at_the_same_steps_are_told_apart_by_their_levels() -> None:
    rows = [r for n in range(ROWS) for r in ((10 * n, falling(n)), (10 * n, falling(n, 30)))]
    found = evidence(rows)
    assert found.other_jobs == (ROWS,)
    assert not [a for a in anomalies(found) if a.level == "explode"]


def test_restarts_epochs_and_micro_batches_are_one_job() -> None:
    restarted = [(n, falling(n)) for n in (*range(60), *range(40, 100), *range(80, 120))]
    epochs = [(n % 10, falling(n)) for n in range(ROWS)]
    micro = [(n, falling(n) + 0.3 * (k % 2)) for n in range(ROWS) for k in range(4)]
    for rows in (restarted, epochs, micro):
        assert evidence(rows).other_jobs == ()

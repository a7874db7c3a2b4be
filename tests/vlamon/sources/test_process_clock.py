"""A new process in the same epoch is told by time that the old one's iterations do not explain."""

from __future__ import annotations

import numpy as np

from vlamon.sources.formats.process_clock import ProcessClock


def lines_of(
    start: int, stop: int, paces: np.ndarray, begun: float
) -> list[tuple[int, float, float]]:
    """Iteration, time stamp and mean iteration time of each line that a process prints."""
    lines = []
    for k in range(-(-start // 10) * 10, stop, 10):
        mine = paces[: k + 1 - start]
        lines.append((k, begun + float(mine.sum()), round(float(mine[-1000:].mean()), 4)))
    return lines


def told(lines: list[tuple[int, float, float]], pieces: int = 1) -> dict[int, int]:
    """Iteration of each line that a new process began, and the earliest that it may count from."""
    clock, found = ProcessClock(), {}
    for part in np.array_split(np.arange(len(lines)), pieces):
        k, time, pace = (np.array(column) for column in zip(*[lines[i] for i in part], strict=True))
        since = clock.restarts(np.zeros(len(k), np.int64), k, time, pace)
        found.update({int(a): int(s) for a, s in zip(k, since, strict=True) if s >= 0})
    return found


def test_a_resume_past_the_window_is_seen() -> None:
    first = lines_of(0, 1401, np.full(1401, 3.0), 0)
    second = lines_of(1403, 1600, np.full(197, 3.0), first[-1][1] + 400)
    for pieces in (1, 5, len(first + second)):
        assert told(first + second, pieces) == {1410: 1401}


def test_a_slow_first_iteration_does_not_hide_a_resume() -> None:
    # Its mean time, taken for the old process's, would be more time than has passed.
    slow = np.r_[40.0, np.full(196, 3.0)]
    first = lines_of(0, 601, np.full(601, 3.0), 0)
    second = lines_of(603, 800, slow, first[-1][1] + 60)
    assert told(first + second) == {610: 601}


def test_a_stall_is_no_new_process_when_it_enters_nor_when_it_leaves_the_window() -> None:
    paces = np.full(2500, 3.0)
    paces[[333, 405, 1204]] += 60
    lines = lines_of(0, 2500, paces, 0)
    for cut in (0, 30, 120):
        for pieces in (1, 9):
            assert told(lines[cut:], pieces) == {}


def test_a_time_that_is_something_else_is_not_believed() -> None:
    paces = np.random.default_rng(1).uniform(1, 9, 100)
    lines = [(10 * row, 30.0 * row, float(pace)) for row, pace in enumerate(paces)]
    # However few lines come at a time: the misunderstandings are counted over the whole log.
    assert 0 < len(told(lines, len(lines))) <= 8

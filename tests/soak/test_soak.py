"""A short soak, and that its checks see what they are there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.soak import checks
from tests.soak.checks import Calm, Step
from tests.soak.soak import Plan, soak

TRUTH = [Step(0, step, 1.0 / (step + 1)) for step in range(10)]


@pytest.mark.slow
def test_whatever_happens_at_once_every_promise_holds(tmp_path: Path) -> None:
    outcome = soak(tmp_path, Plan(seconds=20.0, seed=1))
    assert not outcome.broken, f"{outcome.summary}: {outcome.broken}"


def test_another_number_is_seen() -> None:
    noisy = [*TRUTH, Step(1, 9, 0.5)]
    assert checks.of_numbers(noisy, TRUTH, explode_at=9) == []
    noisy[3] = Step(0, 3, 0.25 + 1e-17 + 1e-16)
    assert checks.of_numbers(noisy, TRUTH, explode_at=9)


def test_an_explosion_that_was_not_rolled_back_is_seen() -> None:
    assert checks.of_numbers(TRUTH, TRUTH, explode_at=9)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, step) for step in range(10) if step != 4],
        [(0, step) for step in range(9)],
        [(0, step) for step in (*range(10), 4)],
    ],
    ids=["lost", "lost at the end", "twice"],
)
def test_a_row_that_is_lost_or_repeated_is_seen(rows: list[tuple[int, int]]) -> None:
    lines: list[dict[str, Any]] = [{"kind": "batch", "attempt": a, "step": s} for a, s in rows]
    assert checks.of_monitors([lines], TRUTH, killed=set())
    gap: dict[str, Any] = {"kind": "gap", "rows": 1}
    assert not checks.of_monitors([[*lines, gap]], TRUTH, killed=set())


def test_growth_is_seen() -> None:
    first = Calm(1, 10, 3, 100 << 20)
    for later in (Calm(1, 14, 3, 0), Calm(1, 10, 6, 0), Calm(1, 10, 3, 500 << 20)):
        assert checks.of_calm_moments([first, later])
    assert not checks.of_calm_moments([first, Calm(2, 14, 6, 500 << 20)])  # another process


def test_what_is_left_is_seen(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert not checks.of_left_overs(tmp_path.parent / "none", tmp_path)
    (tmp_path / "checkpoints" / "step-000000003.writing-12").mkdir()
    (tmp_path / "vla.sock").touch()
    assert len(checks.of_left_overs(tmp_path, tmp_path / "none")) == 2 - 1
    assert len(checks.of_left_overs(tmp_path.parent / "none", tmp_path)) == 2


def test_half_a_line_and_a_lost_line_are_seen(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("step: 0 loss: 1.0\n")
    assert not checks.of_log(tmp_path, TRUTH, killed=set())
    log.write_text("step: 0 lo")
    assert len(checks.of_log(tmp_path, TRUTH, killed=set())) == 2

"""A clock that is set back and forth under a training: the same rows, weights and checkpoints."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.vlamon.emitter.test_journal import read_all, steps_in
from tests.vlamon.guard.toy import Order, Toy, identical, once_written
from vlamon import Emitter


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds and decades, back and forth, at every reading."""
    dice, real = random.Random(1), time.time
    monkeypatch.setattr(time, "time", lambda: real() + dice.choice((-1e9, -5.0, 0.0, 7.0, 5e8)))


def trained(run_dir: Path) -> Toy:
    def written(step: int) -> Callable[[Toy, torch.Tensor], torch.Tensor]:
        return once_written(run_dir / "checkpoints" / f"step-{step:09}")

    toy = Toy(run_dir, once={4 * 18: written(10), 4 * 24: written(20)})
    orders = {
        10: [Order("checkpoint")],
        20: [Order("checkpoint")],
        25: [Order("rollback", {"data": "replay"})],
    }
    assert toy.run(30, orders) == 30
    return toy


def test_a_jumping_clock_changes_no_weight_and_no_order_of_checkpoints(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    steady = trained(tmp_path / "steady")
    request.getfixturevalue("jumping")
    jumped = trained(tmp_path / "jumping")
    assert identical(jumped.weights(), steady.weights())
    # When the one of the new branch is written depends on the disk, not which one is the newest.
    for run_dir in (tmp_path / "steady", tmp_path / "jumping"):
        written = [int(path.name[5:]) for path in (run_dir / "checkpoints").glob("step-*")]
        assert {10, 20} <= set(written)
        assert Toy(run_dir).guard.start() == max(written) + 1


@pytest.mark.usefixtures("jumping")
def test_a_jumping_clock_loses_no_row(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(300):
            emitter.log(step, closs=1.0)
    assert steps_in(read_all(tmp_path / "run.vlaj")) == list(range(300))

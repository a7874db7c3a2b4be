"""Two ranks: every step takes the same collectives, and a resume is exact whatever learns."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.trainer.test_command import ENVIRONMENT, SETTINGS, TORCHRUN, TRAINER
from tests.trainer.test_totals import rows, weighed

QUIET = (*SETTINGS, "--set", "loop.validation_samples=0", "--set", "guard.mode=off")


def on_two_ranks(run_dir: Path, steps: int, *settings: str, resume: bool = False) -> None:
    changes = [part for each in settings for part in ("--set", each)]
    where = ("--run-dir", str(run_dir), "--steps", str(steps))
    more = ("--resume",) if resume else ()
    done = subprocess.run(
        [*TORCHRUN, *TRAINER[1:], *QUIET, *changes, *more, *where],
        capture_output=True,
        text=True,
        timeout=400,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def written(run_dir: Path, step: int) -> bytes:
    return (run_dir / "checkpoints" / f"step-{step:09d}" / "tensors.bin").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("objectives.energy=hinge", "objectives.coupling=freeze_backbone"),
        ("closs_weight=0", "z_loss_weight=0"),
    ],
)
def test_a_rank_without_a_gradient_does_not_leave_the_other_waiting(
    settings: tuple[str, ...], tmp_path: Path
) -> None:
    """Rows of one kind: often one rank of the two has no action, and sometimes both."""
    cut = ("loop.batch=1", "loop.accumulate=2", "data.world_share=0.6")
    on_two_ranks(tmp_path, 30, *settings, *cut)
    seen = rows(tmp_path)
    assert len(seen) == 30
    assert {"grad_norm" in values for values, _ in seen} == {True, False}
    for values, weights in seen:
        if "total" in values:
            parts = {name: weight for name, weight in weights.items() if name != "energy"}
            assert weighed(values, parts) == pytest.approx(values["total"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", ["cache", "adaptive"])
def test_a_resumed_coupling_goes_on_bit_for_bit_on_two_ranks(coupling: str, tmp_path: Path) -> None:
    settings = (
        "objectives.energy=hinge",
        "objectives.energy_width=16",
        f"objectives.coupling={coupling}",
        "objectives.cache_refresh=4",
        "data.world_share=0.4",
    )
    on_two_ranks(tmp_path / "whole", 24, *settings)
    on_two_ranks(tmp_path / "parts", 14, *settings)
    on_two_ranks(tmp_path / "parts", 24, *settings, resume=True)
    assert written(tmp_path / "parts", 23) == written(tmp_path / "whole", 23)

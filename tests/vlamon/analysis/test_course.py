"""Rules about the course of a run: rising, never falling, struck again and again, and policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vlamon.analysis.diagnosis import diagnose
from vlamon.analysis.evidence import gather
from vlamon.records import BatchBlock, Column

NOISE = np.random.default_rng(0).lognormal(0, 0.05, 600)
ROWS = np.arange(600)
FALLING = (2 + 3 * np.exp(-ROWS / 100)) * NOISE


def ids(first: int = 0, **metrics: Sequence[float] | np.ndarray) -> set[str]:
    count = len(next(iter(metrics.values())))
    nowhere = np.full(count, np.nan)
    columns = {name: Column(np.asarray(values, float)) for name, values in metrics.items()}
    block = BatchBlock(0, 0, np.arange(first, first + count), nowhere, nowhere, columns)
    return {diagnosis.id for diagnosis in diagnose(gather([block]))}


def test_a_loss_that_falls_and_rises_again_is_reported() -> None:
    rising = FALLING + np.maximum(0, ROWS - 300) / 300
    assert "loss-rises" in ids(loss=rising)
    assert "loss-rises" not in ids(loss=FALLING)


def test_noise_at_the_end_of_a_run_is_no_rise() -> None:
    noisy = 2 * np.random.default_rng(1).lognormal(0, 0.8, 600)
    assert "loss-rises" not in ids(loss=noisy)


def test_a_loss_that_stands_where_it_began_never_fell() -> None:
    assert "never-fell" in ids(loss=2.3 * np.random.default_rng(2).lognormal(0, 0.002, 600))
    assert "never-fell" not in ids(loss=FALLING)


def test_a_loss_that_rises_from_nothing_at_an_even_pace_rises_and_did_not_explode() -> None:
    assert ids(loss=0.0001 * (1 + ROWS) * NOISE) >= {"loss-rises"}
    assert not ids(loss=0.0001 * (1 + ROWS) * NOISE) & {"never-fell", "closs-explosion"}
    # It has a level, from which it goes; or the pace grows.
    assert "closs-explosion" in ids(loss=(1 + ROWS / 100) * NOISE)
    assert "closs-explosion" in ids(loss=0.01 * np.exp(ROWS / 100) * NOISE)
    assert "closs-explosion" in ids(loss=np.where(ROWS < 500, 0.0001 * ROWS + 1e-4, 0.5) * NOISE)


def test_a_loss_need_not_have_fallen_while_the_learning_rate_warms_up() -> None:
    flat = 2.3 * np.random.default_rng(2).lognormal(0, 0.002, 600)
    assert "never-fell" not in ids(loss=flat, lr=1e-6 * ROWS)
    assert "never-fell" in ids(loss=flat, lr=np.minimum(1e-6 * ROWS, 5e-5))


def test_a_resumed_run_may_begin_where_it_ends() -> None:
    flat = 2.3 * np.random.default_rng(2).lognormal(0, 0.002, 600)
    assert "never-fell" not in ids(loss=flat, first=50_000)


def test_rounds_that_begin_where_the_run_began_are_no_explosions() -> None:
    rounds = 0.01 * np.exp(-(ROWS % 80) / 5) * NOISE + 1e-9
    assert ids(loss=rounds) & {"trained-in-rounds", "closs-explosion"} == {"trained-in-rounds"}
    # Once is no round, nor are uneven ones, nor rises far above where the run began.
    once = 0.01 * np.exp(-np.where(ROWS < 300, ROWS, ROWS - 300) / 5) * NOISE + 1e-9
    uneven = np.select(
        [ROWS < 60, ROWS < 300, ROWS < 340], [ROWS, ROWS - 60, ROWS - 300], ROWS - 340
    )
    higher = np.where(ROWS >= 80, 10, 1) * rounds
    for loss in (once, 0.01 * np.exp(-uneven / 5) * NOISE + 1e-9, higher):
        assert ids(loss=loss) & {"trained-in-rounds", "closs-explosion"} == {"closs-explosion"}


def test_single_batches_that_spike_again_and_again_point_to_samples() -> None:
    struck = FALLING.copy()
    struck[[250, 350, 450, 550]] *= 30
    assert "recurring-single-spikes" in ids(loss=struck)
    struck[[350, 450, 550]] = FALLING[[350, 450, 550]]
    assert "recurring-single-spikes" not in ids(loss=struck)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("actor/entropy", np.linspace(2, 0.01, 600), "entropy-collapse"),
        ("actor/entropy", np.linspace(0.3, 3, 600), "entropy-explosion"),
        ("actor/ppo_kl", np.append(np.full(500, 0.01), np.full(100, 2.0)), "kl-explosion"),
    ],
)
def test_a_policy_s_entropy_and_distance_are_judged(
    name: str, values: np.ndarray, expected: str
) -> None:
    assert expected in ids(loss=FALLING, **{name: values})
    calm = np.full(600, float(values[0]))
    assert expected not in ids(loss=FALLING, **{name: calm})
    assert expected not in ids(loss=FALLING, **{f"{name}_coef": values})


def test_a_reward_that_is_lost_again_is_reported() -> None:
    reward = 100 * np.minimum(ROWS, 300) / 300 * NOISE
    fallen = np.where(ROWS < 450, reward, 10 * NOISE)
    told = {"train/value_loss": FALLING, "rollout/ep_rew_mean": fallen}
    assert "reward-falls" in ids(**told)
    assert "reward-falls" not in ids(**told | {"rollout/ep_rew_mean": reward})


def test_a_loss_with_a_moving_target_need_not_fall() -> None:
    rising = FALLING + np.maximum(0, ROWS - 300) / 300
    told = {"train/loss": rising, "train/entropy_loss": -NOISE}
    assert "loss-rises" in ids(**told)
    assert not ids(**told, **{"rollout/ep_rew_mean": ROWS * NOISE}) & {"loss-rises", "never-fell"}


def test_a_loss_without_a_lower_bound_is_reported() -> None:
    assert "falls-without-end" in ids(loss=2 - np.exp(ROWS / 30))
    assert "falls-without-end" not in ids(loss=2 - ROWS * NOISE)

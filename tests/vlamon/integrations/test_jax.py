"""Real JAX arrays through an emitter, on a CPU."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

jax = pytest.importorskip("jax", reason="needs the extra jax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from tests.vlamon.emitter.emitted import journal_of, rows_of  # noqa: E402
from vlamon import Emitter  # noqa: E402

STEPS = 60


@jax.jit
def long_computation(x: Any) -> Any:
    return jax.lax.fori_loop(0, 60, lambda _, a: jnp.tanh(a @ a), jnp.full((400, 400), x)).sum()


@jax.jit
def train_step(w: Any, x: Any, y: Any) -> Any:
    """One step of a regression, as octo and openpi return theirs: state and a dict of arrays."""

    def loss_of(w: Any) -> Any:
        error = x @ w - y
        info = {"mse": jnp.square(error).mean(), "l1_loss_per_dim": jnp.abs(error).mean(0)}
        return info["mse"] + info["l1_loss_per_dim"].sum(), info

    (loss, info), gradient = jax.value_and_grad(loss_of, has_aux=True)(w)
    return w - 0.05 * gradient, {**info, "loss": loss, "grad_norm": jnp.linalg.norm(gradient)}


def trained(emitter: Emitter | None) -> tuple[np.ndarray, list[dict[str, Any]]]:
    key = jax.random.key(0)
    x = jax.random.normal(key, (64, 4))
    y, w, infos = x @ jnp.ones((4, 2)), jnp.zeros((4, 2)), []
    for step in range(STEPS):
        w, info = train_step(w, x, y)
        infos.append(info)
        if emitter is not None:
            emitter.log(step, lr=jnp.bfloat16(0.05), **info)
    return np.asarray(w), infos


def test_every_step_of_a_training_arrives_as_computed_and_no_bit_of_it_changes(
    tmp_path: Path,
) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        weights, infos = trained(emitter)
    plain, _ = trained(None)
    assert weights.tobytes() == plain.tobytes()
    rows = rows_of(journal_of(tmp_path))
    assert [step for step, _ in rows] == list(range(STEPS))
    for (_, values), info in zip(rows, infos, strict=True):
        assert values["lr"] == float(jnp.bfloat16(0.05))
        for name in ("mse", "loss", "grad_norm"):
            assert values[name] == float(info[name])
        parts = np.asarray(info["l1_loss_per_dim"]).tolist()
        assert [values["l1_loss_per_dim_0"], values["l1_loss_per_dim_1"]] == parts


def test_log_does_not_wait_for_what_is_still_computed(tmp_path: Path) -> None:
    long_computation(0.0).block_until_ready()
    with Emitter(None, run_dir=tmp_path) as emitter:
        loss = long_computation(0.001)
        assert not loss.is_ready()
        began = time.perf_counter()
        emitter.log(0, loss=loss)
        logged = time.perf_counter() - began
        assert not loss.is_ready()
        loss.block_until_ready()
        assert logged < 0.5 * (time.perf_counter() - began)
    ((_, values),) = rows_of(journal_of(tmp_path))
    assert values["loss"] == float(loss)


def test_an_array_that_is_donated_before_it_is_read_ends_no_training(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(20):
            donated = long_computation(0.001 * step)
            emitter.log(step, donated=donated, lr=0.1)
            donated.delete()
    rows = rows_of(journal_of(tmp_path))
    assert [values for _, values in rows] == [{"lr": 0.1}] * 20
    assert any("deleted" in reason for reason in emitter.swallowed_by_reason)


def test_a_tracer_is_reported_as_not_a_number_and_the_function_compiles(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:

        @jax.jit
        def traced(x: Any) -> Any:
            emitter.log(0, loss=x, lr=0.1)
            return 2 * x

        assert float(traced(jnp.float32(1.5))) == 3.0
    assert rows_of(journal_of(tmp_path)) == [(0, {"lr": 0.1})]
    assert any("loss" in reason for reason in emitter.swallowed_by_reason)

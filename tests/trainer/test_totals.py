"""The total that monitors see is the one that was differentiated, and the sum of its terms."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.trainer.trainings import trained
from vlamon.records import BatchBlock
from vlamon.sources.journal import JournalSource

Row = tuple[dict[str, float], dict[str, float]]


def rows(run_dir: Path) -> list[Row]:
    """The values and the weights of every batch."""
    source = JournalSource(run_dir / "run.vlaj")
    found: list[Row] = []
    weights: dict[str, float] = {}
    while not source.finished:
        for block in source.read(0.1):
            if isinstance(block, BatchBlock):
                weights = dict(block.weights) or weights  # empty where they are as before
                for index in range(len(block.step)):
                    values = {
                        name: float(column.values[index])
                        for name, column in block.columns.items()
                        if column.present is None or column.present[index]
                    }
                    found.append((values, weights))
    source.close()
    return found


def weighed(values: dict[str, float], weights: dict[str, float]) -> float:
    return sum(weights[name] * values[name] for name in weights if name in values)


def test_the_total_is_the_sum_of_the_terms_where_a_micro_batch_lacks_one(tmp_path: Path) -> None:
    settings = ("loop.accumulate=2", "data.world_share=0.6", "loop.validation_samples=0")
    trained(tmp_path, 40, *settings)
    seen = rows(tmp_path)
    for values, weights in seen:
        assert weighed(values, weights) == pytest.approx(values["total"], rel=1e-5)
    effective = {weights["loss_ct"] for values, weights in seen if "loss_ct" in values}
    assert effective == {10.0, 5.0}  # half of the micro-batches: half of the weight


def test_the_factors_of_an_adaptive_coupling_travel_with_the_weights(tmp_path: Path) -> None:
    settings = (
        "objectives.energy=hinge",
        "objectives.energy_width=16",
        "objectives.coupling=adaptive",
        "loop.validation_samples=0",
        "data.world_share=0",
    )
    trained(tmp_path, 30, *settings)
    seen = rows(tmp_path)
    assert seen[0][1]["energy"] == pytest.approx(0.1)
    assert {weights["loss_ct"] for _, weights in seen} >= {10.0, 5.0}
    for values, weights in seen:
        apart = {name: weight for name, weight in weights.items() if name != "energy"}
        assert weighed(values, apart) == pytest.approx(values["total"], rel=1e-5)


@pytest.mark.parametrize("coupling", ["entangled", "entangled+adaptive"])
def test_an_entangled_energy_has_its_weight_however_a_step_is_cut(
    coupling: str, tmp_path: Path
) -> None:
    settings = (
        "objectives.energy=hinge",
        "objectives.energy_width=16",
        f"objectives.coupling={coupling}",
        "loop.validation_samples=0",
        "loop.accumulate=2",
        "data.world_share=0",
    )
    trained(tmp_path, 3, *settings)
    for values, weights in rows(tmp_path):
        assert math.isclose(weighed(values, weights), values["total"], rel_tol=1e-5)
        assert weights["energy"] == pytest.approx(0.1 if "adaptive" in coupling else 1.0)

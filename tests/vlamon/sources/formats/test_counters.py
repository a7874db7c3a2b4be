"""Steps that a log spells its own way, and objects behind a logger's prefix."""

from __future__ import annotations

import pytest

from vlamon.sources.formats import json_lines, nanogpt


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ('{"current_steps": 15, "total_steps": 512, "loss": 0.5, "percentage": 2.9}', 15),
        ('{"loss": 0.5, "global_step/max_steps": "114/2353", "elapsed_time": "6s"}', 114),
        ('{"epoch": 5, "num_updates": "2200", "loss": "0.5"}', 2200),
        (
            '[2022-04-08 19:52:09,693][train_inner][INFO] - {"num_updates": "200", "loss": "0.5"}',
            200,
        ),
    ],
)
def test_a_step_is_found_under_the_name_that_its_project_uses(line: str, step: int) -> None:
    (row,) = json_lines.read(line)
    assert row.step == step
    assert row.metrics["loss"] == 0.5
    assert not {"total_steps", "percentage", "current_steps"} & set(row.metrics)


@pytest.mark.parametrize(
    "line", ["config {'loss': 1}", 'see "x": {"loss": 1}', "{loss: 1}", 'a = {"loss": 1'],
)  # fmt: skip
def test_a_configuration_behind_words_is_no_object(line: str) -> None:
    assert json_lines.read(line) == ()


def test_nested_names_are_kept_whole() -> None:
    (row,) = nanogpt.read("step:12 - actor/pg_loss:0.5 - critic/score/mean:1.25 - time/mean:3.0")
    assert row.step == 12
    assert row.metrics == {"actor/pg_loss": 0.5, "critic/score/mean": 1.25, "time/mean": 3.0}

"""JSON Lines whose writer had ideas of its own."""

from __future__ import annotations

import pytest

from tests.vlamon.sources.formats.reading import rows
from vlamon.sources.formats import SURE
from vlamon.sources.formats.json_lines import recognises


def test_numbers_may_be_written_as_text() -> None:
    text = '{"step": "400", "loss": "0.5", "lr": "1e-4", "name": "run 7", "grad": "-Infinity"}\n'
    assert rows("json-lines", text) == [(400, {"loss": 0.5, "lr": 1e-4, "grad": float("-inf")})]


@pytest.mark.parametrize("name", ["Step", "global_step", "trainer/global_step", "_step", "Iter"])
def test_a_step_goes_by_many_names(name: str) -> None:
    assert rows("json-lines", f'{{"{name}": 500, "loss": 0.4}}\n') == [(500, {"loss": 0.4})]


def test_a_nested_step_is_one() -> None:
    text = '{"trainer": {"global_step": 7}, "loss": 0.4}\n'
    assert rows("json-lines", text) == [(7, {"loss": 0.4})]


@pytest.mark.parametrize(
    ("head", "sure"),
    [
        (b'{"lr": 1e-4, "batch_size": 8}\n', False),
        (b"noise\n" * 99 + b'{"lr": 1e-4}\n', False),
        (b"noise\n" * 99 + b'{"step": 1, "loss": 3}\n', True),
        (b'{"loss": 3}\n{"loss": 2}\n{"loss": 1}\n', True),
    ],
)
def test_a_configuration_is_no_log(head: bytes, sure: bool) -> None:
    assert (recognises(head, "x") >= SURE) == sure


def test_a_row_that_says_it_is_of_the_validation_is_no_training_row() -> None:
    text = '{"mode": "train", "iter": 9, "loss": 0.4}\n{"mode": "val", "iter": 9, "loss": 9.0}\n'
    assert rows("json-lines", text) == [(9, {"loss": 0.4})]

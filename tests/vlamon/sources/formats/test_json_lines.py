"""JSON Lines whose writer had ideas of its own."""

from __future__ import annotations

import pytest

from tests.vlamon.sources.formats.reading import rows
from vlamon.sources.formats import SURE, sniff
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


def test_objects_behind_a_logger_come_before_a_stray_pair() -> None:
    head = b"".join(
        b'[train_inner][INFO] - {"epoch": 1, "num_updates": "%d", "loss": "9.2"}\n'
        b"[trainer][INFO] - begin training epoch %d\n"
        b"[18:58:06][utils][INFO] - saved (epoch %d @ 479 updates, score 6.389)\n" % (n, n, n)
        for n in range(3)
    )
    found = sniff(head)
    assert found is not None
    assert found.name == "json-lines"


def test_a_trainers_summary_of_the_run_is_no_step_and_no_other_format() -> None:
    text = (
        '{"loss": 2.5, "epoch": 0.1, "global_step/max_steps": "10/20"}\n'
        '{"loss": 2.25, "epoch": 0.2, "global_step/max_steps": "20/20"}\n'
        '{"train_loss": 2.4, "train_runtime": 9.5, "global_step/max_steps": "20/20"}\n'
        '{"best_metric": 2.1, "log_history": [{"loss": 2.5, "step": 10}]}\n'
    )
    found = sniff(text.encode(), "logging.jsonl")
    assert found is not None
    assert found.name == "json-lines"
    assert [(step, metrics["loss"]) for step, metrics in rows("json-lines", text)] == [
        (10, 2.5),
        (20, 2.25),
    ]

"""Numbers and names in lines of `key: value`: the right ones, or none."""

from __future__ import annotations

import pytest

from tests.vlamon.sources.formats.reading import parsed, rows
from vlamon.sources.formats import SURE
from vlamon.sources.formats.key_values import recognises


@pytest.mark.parametrize(
    ("line", "step", "loss"),
    [
        ("step=1,000 loss=1,234.5", 1000, 1234.5),
        ("step=3_000 loss=1", 3000, 1.0),
        ("step: 1e3, loss: 1.5", 1000, 1.5),
        ("Epoch: 1/10, Step: 300/1000, loss: 1.2,acc: 85.3%", 300, 1.2),
        ("Step 1200, loss: 0.5", 1200, 0.5),
        ("step: 7 loss=2,345,678", 7, 2345678.0),
        ("batch: 0.5s step: 8 loss: 1.5", 8, 1.5),
    ],
)
def test_a_number_is_read_as_it_was_meant(line: str, step: int, loss: float) -> None:
    ((found, metrics),) = rows("key-values", line + "\n")
    assert (found, metrics["loss"]) == (step, loss)


@pytest.mark.parametrize(
    "line",
    [
        "step=10k loss=1.5",
        "step=1,00 loss=1.5",
        "step=1.5 loss=1.5",
        "step=1e-3 loss=1.5",
        "step=2000 loss=1.5k",
        "step=2000 loss=1,234",
    ],
)
def test_a_line_whose_numbers_may_be_others_is_unknown(line: str) -> None:
    parser, records = parsed("key-values", line + "\n")
    assert (parser.unknown.count, records) == (1, [])


def test_names_may_be_of_any_language() -> None:
    text = "损失: 1.5, step: 10\n步数：1,200，损失：0.5，学习率：1e-4\nperte_loss_é=2.5 step=1300\n"
    assert rows("key-values", text) == [
        (10, {"损失": 1.5}),
        (1200, {"损失": 0.5, "学习率": 1e-4}),
        (1300, {"perte_loss_é": 2.5}),
    ]


def test_milliseconds_and_seconds_become_one_column() -> None:
    text = "step=1 loss=1 time=412.11ms\nstep=2 loss=1 time=1.2s\n"
    assert [metrics["time"] for _, metrics in rows("key-values", text)] == [0.41211, 1.2]


@pytest.mark.parametrize(
    ("head", "sure"),
    [
        (b"lr: 1e-4\n" * 9, False),
        (b"loss_weight: 10\nz_loss_weight: 1e-5\n", False),
        (b"loss: 3.0\nloss: 2.0\nloss: 1.0\n", True),
        (b"step: 1, loss: 3.0\n", True),
    ],
)
def test_settings_are_no_log(head: bytes, sure: bool) -> None:
    assert (recognises(head, "x") >= SURE) == sure

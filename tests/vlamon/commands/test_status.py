"""`vlamon status` says of a training that stands still that it does."""

from __future__ import annotations

import json

import pytest

from vlamon.commands.status import LEAST_SILENCE, as_line, sentence, silence
from vlamon.records import RunInfo, Status

INFO = RunInfo(run_id="r", name="runs/a", boot="b")


def status(**given: object) -> Status:
    return Status(**{"state": "training", "step": 9, "phase": "step", "time": 100.0, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "now", "silent"),
    [
        ({"steps_per_second": 20.0}, 104.0, None),
        ({"steps_per_second": 20.0}, 112.0, 12.0),
        ({"steps_per_second": 0.1}, 190.0, None),
        ({"steps_per_second": 0.1}, 201.0, 101.0),
        ({"steps_per_second": None}, 125.0, None),
        ({"steps_per_second": None}, 131.0, 31.0),
        ({"state": "paused", "steps_per_second": 20.0}, 500.0, None),
        ({"state": "ended"}, 500.0, None),
        ({"time": 0.0, "steps_per_second": 20.0}, 500.0, None),
    ],
)
def test_silence_is_ten_usual_steps_without_news(
    given: dict[str, object], now: float, silent: float | None
) -> None:
    assert silence(status(**given), now, LEAST_SILENCE) == silent


def test_a_hung_training_is_not_said_to_train() -> None:
    """One of its ranks is stopped, and the others wait for it in a collective."""
    hung = status(steps_per_second=20.0, eta=90.0)
    said = sentence(INFO, hung, {}, 72.0)
    assert said.startswith("runs/a  silent for 1:12 in step  step 9")
    assert "training" not in said
    assert "eta" not in said
    line = json.loads(as_line(INFO, hung, {}, 72.0))
    assert line["silent_for"] == 72.0
    assert json.loads(as_line(INFO, hung, {}, None))["silent_for"] is None


def test_a_training_that_moves_is_said_to_train() -> None:
    assert sentence(INFO, status(), {"closs": 1.5}, None).startswith("runs/a  training  step 9")

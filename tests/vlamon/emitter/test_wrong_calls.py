"""What a script gets wrong is counted and reported, and ends no training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon import Emitter
from vlamon.emitter import EmitterError
from vlamon.records import BatchBlock, EpochRow, Event, Status


def test_what_no_reader_can_use_is_left_out_at_the_edge(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(0, epoch=math.inf, closs=1.0, **{"a\nb": 2.0, "\x1b]0;x": 3.0})
        emitter.log(1 << 60, closs=1.0)
        emitter.event("eval\n\x1b[2J")
        emitter.log_epoch(math.inf, "train", {"closs": 1.0})
        emitter.status(eta=math.nan, steps_per_second=math.inf)
        emitter.set_weights({"closs": math.nan})
    found = journal_of(tmp_path)
    (block,) = of_type(found, BatchBlock)
    assert math.isnan(block.epoch[0])
    assert list(block.columns) == ["closs"]
    assert all(event.kind.isprintable() for event in of_type(found, Event))
    assert of_type(found, EpochRow) == []
    assert all(status.eta is None for status in of_type(found, Status))
    assert emitter.weights == {}
    assert emitter.swallowed == 6


@pytest.mark.parametrize(
    "call",
    [
        lambda emitter: emitter.log("x", closs=1.0),
        lambda emitter: emitter.log(None, closs=1.0),
        lambda emitter: emitter.log(1 << 80, closs=1.0),
        lambda emitter: emitter.log(1, epoch="first", closs=1.0),
        lambda emitter: emitter.log(1, closs=object()),
        lambda emitter: emitter.log(1, **{"\ud800": 1.0}),
        lambda emitter: emitter.log(1, **{"n" * 300: 1.0}),
        lambda emitter: emitter.log_epoch("x", "train", {"closs": 1.0}),
        lambda emitter: emitter.log_epoch(0, "train", 7),
        lambda emitter: emitter.event("note", step="x"),
        lambda emitter: emitter.set_weights({"closs": "heavy"}),
        lambda emitter: emitter.set_attempt("x"),
        lambda emitter: emitter.status(state="flying"),
        lambda emitter: emitter.status(mood="good"),
        lambda emitter: emitter.status(snapshots=[3]),
    ],
)
def test_a_wrong_call_is_counted_and_reported_and_never_raises(tmp_path: Path, call: Any) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        call(emitter)
        emitter.log(5, closs=2.0)
    assert emitter.swallowed == 1
    assert len(emitter.swallowed_by_reason) == 1
    found = journal_of(tmp_path)
    assert of_type(found, BatchBlock)[-1].columns["closs"].values[-1] == 2.0
    (told,) = [event for event in of_type(found, Event) if event.severity == "warn"]
    assert "left something out" in told.text


def test_what_is_swallowed_a_thousand_times_is_reported_twice(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(1000):
            emitter.log(step, closs="high")
    assert emitter.swallowed == 1000
    told = [event.text for event in of_type(journal_of(tmp_path), Event) if event.kind == "note"]
    assert len(told) == 2
    assert "1000 × closs is a text" in told[1]


def test_a_call_of_the_wrong_shape_is_counted_and_never_raises(tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(closs=1.0)
        emitter.log(1, 0.5, 2.0, 3.0, closs=1.0)  # type: ignore[call-arg]
        emitter.log(2, closs=1.0)
    assert emitter.swallowed == 2
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == [2]


@pytest.mark.parametrize(
    "mistake",
    [
        {"path": 5},
        {"path": b"/tmp/vla.sock"},
        {"run_dir": 5},
        {"weights": {"closs": "heavy"}},
        {"weights": ["closs"]},
        {"total_steps": "many"},
        {"vocab": math.inf},
    ],
)
def test_a_wrong_argument_is_one_sentence(mistake: dict[str, Any]) -> None:
    with pytest.raises(EmitterError, match=rf"^{next(iter(mistake))} must be .*\.$"):
        Emitter(**mistake)


def test_a_launcher_that_sets_nonsense_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "")
    with Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(3, closs=1.0)
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == [3]

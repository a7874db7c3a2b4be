"""TensorBoard reads the event file that `vlamon export` writes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.vlamon.store.blocks import batches
from vlamon.cli import run
from vlamon.records import EpochRow, Event, Interval, Record
from vlamon.views.tfevents import event_file

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="needs tensorboard, the consumer",
)
LOGS = Path(__file__).parents[2] / "fixtures" / "logs"


def read(place: Path, records: list[Record]) -> accumulator.EventAccumulator:
    (place / "events.out.tfevents.1.x").write_bytes(b"".join(event_file(records)))
    found = accumulator.EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_every_batch_is_a_scalar_at_its_step_and_time(tmp_path: Path) -> None:
    values = [0.1 + 0.2, math.nan, math.inf, 1e300, -1e-3]
    block = batches(
        {"closs": values, "损失 λ": [1.0, None, 2.0, None, 3.0]},
        first_step=7_000_000_000,
        times=[1e9 + 0.25 * i for i in range(5)],
    )
    found = read(tmp_path, [block])

    scalars = found.Scalars("closs")
    with np.errstate(over="ignore"):
        assert np.array_equal([s.value for s in scalars], np.float32(values), equal_nan=True)
    assert [s.step for s in scalars] == [7_000_000_000 + i for i in range(5)]
    assert [s.wall_time for s in scalars] == [1e9 + 0.25 * i for i in range(5)]
    assert [s.value for s in found.Scalars("损失 λ")] == [1, 2, 3]


def test_epochs_intervals_and_events_have_their_places(tmp_path: Path) -> None:
    interval = Interval(0, 1, 10, {"closs": 9.0}, {}, {}, time=1.5e9)
    event = Event("1", "rollback", 151, 0, 2e9, text="back to 151")
    found = read(tmp_path, [interval, EpochRow(3.0, "val_ind", {"closs": 2.0}), event])

    assert [(s.step, s.value) for s in found.Scalars("closs")] == [(10, 9.0)]
    assert [(s.step, s.value) for s in found.Scalars("val_ind/closs")] == [(3, 2.0)]
    (note,) = found.Tensors("events/rollback")
    assert (note.step, note.tensor_proto.string_val[0]) == (151, b"back to 151")
    assert found.SummaryMetadata("events/rollback").plugin_data.plugin_name == "text"


def test_the_command_writes_a_directory_that_tensorboard_opens(tmp_path: Path) -> None:
    out = tmp_path / "board"
    assert run(["export", str(LOGS / "log_train.txt"), "-o", f"{out}/"]) == 0

    found = accumulator.EventAccumulator(str(out))
    found.Reload()
    assert max(s.value for s in found.Scalars("train/closs")) == pytest.approx(95.19)

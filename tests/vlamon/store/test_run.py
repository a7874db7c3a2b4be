"""What a run's store answers: attempts, weights, epochs beside batches, the newest values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.vlamon.store.blocks import batches, column
from vlamon.hardware import Device as GpuDevice
from vlamon.hardware import GpuSample
from vlamon.records import (
    EpochBlock,
    EpochRow,
    Event,
    Gap,
    Interval,
    Link,
    MetricsAnnounced,
    MetricSpec,
    Reply,
    RunInfo,
    Status,
)
from vlamon.store import Attempt, RunStore


def test_an_empty_store_answers_everything() -> None:
    store = RunStore()

    assert store.rows == 0
    assert store.metrics == ()
    assert store.attempts == []
    assert store.latest("closs") is None
    assert store.value("closs", 0) is None
    assert store.row_of_step(0) is None
    assert store.weights_at() == {}
    assert store.steps().tolist() == []
    assert store.envelope("closs", [0, 1]).count.tolist() == [0]
    assert store.gpu.latest is None


def test_rows_behind_the_last_value_of_a_sparse_metric_are_missing() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0] * 10, "pull_closs": [0.4] * 10}))
    store.apply(batches({"closs": [1.0] * 40}, first_step=10))

    for first in (0, 9, 10, 12, 30):
        assert len(store.values("pull_closs", first, 50)) == 50 - first
        assert store.present("pull_closs", first, 50).sum() == max(0, 10 - first)


def test_a_metric_is_exact_until_a_value_needs_more_than_single_precision() -> None:
    store = RunStore()
    store.apply(batches({"closs": [0.5, None, math.nan, math.inf], "lr": [0.5, 1e-300, 0.1, 1.0]}))
    assert store.exact("closs")
    assert not store.exact("lr")
    store.apply(batches({"closs": [float(np.float32(0.1))]}, first_step=4))
    assert store.exact("closs")
    store.apply(batches({"closs": [0.1]}, first_step=5))
    assert not store.exact("closs")


def test_the_version_grows_with_every_record() -> None:
    store = RunStore()
    seen = [store.version]
    for record in (
        RunInfo("id", "name"),
        batches({"closs": [1.0]}),
        Status("training", 0),
        Event("1", "note", 0, 0, 0.0),
        Gap(3, 1, 3),
        Reply("x", True),
        Link("live"),
        GpuSample(0.0, ()),
        EpochRow(0.0, "train", {"closs": 1.0}),
        Interval(0, 0, 9, {"closs": 1.0}, {}, {}),
    ):
        store.apply(record)
        seen.append(store.version)

    assert seen == sorted(set(seen))
    assert store.gaps[0].rows == 3
    assert store.replies[0].ok
    assert store.events[0].kind == "note"


def test_a_rollback_keeps_the_abandoned_rows_as_an_attempt_of_their_own() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0, 2.0, 95.0]}, first_step=10))
    store.apply(batches({"closs": [1.5, 1.4]}, first_step=11, attempt=1))

    assert store.attempts == [Attempt(0, 0, 3, 10, 12), Attempt(1, 3, 5, 11, 12)]
    assert store.row_of_step(12) == 4
    assert store.row_of_step(12, attempt=0) == 2
    assert store.row_of_step(10) == 0
    assert store.row_of_step(10, attempt=1) is None
    assert store.value("closs", 2) == 95.0


def test_steps_that_fall_unannounced_start_a_stretch_of_their_own() -> None:
    store = RunStore()
    store.apply(batches({"closs": [1.0, 2.0, 3.0, 4.0]}, steps=[5, 6, 2, 3]))

    assert [a.first_step for a in store.attempts] == [5, 2]
    assert store.envelope("closs", [0, 4, 9]).high.tolist() == [4.0, 2.0]


def test_weights_are_those_in_force_at_a_row() -> None:
    store = RunStore()
    store.apply(RunInfo("id", "name", metrics=(MetricSpec("loss_ct", "trained", 10.0),)))
    store.apply(batches({"closs": [1.0] * 5}))
    store.apply(batches({"closs": [1.0] * 5}, first_step=5, weights={"loss_ct": 2.0}))

    assert store.weights_at(4) == {"loss_ct": 10.0}
    assert store.weights_at(5) == {"loss_ct": 2.0}
    assert store.weights_at() == {"loss_ct": 2.0}
    store.apply(MetricsAnnounced((MetricSpec("energy", "trained", 0.5),)))
    assert store.weights_at() == {"loss_ct": 2.0, "energy": 0.5}, "what is told again counts"


def test_metrics_announced_later_join_the_card() -> None:
    store = RunStore()
    store.apply(RunInfo("id", "name", metrics=(MetricSpec("closs", "trained", 1.0),)))
    store.apply(MetricsAnnounced((MetricSpec("acc_action_5"),)))

    assert list(store.specs) == ["closs", "acc_action_5"]
    assert store.info is not None
    assert len(store.info.metrics) == 2


def test_epoch_lines_alone_are_the_rows() -> None:
    store = RunStore()
    columns = {"closs": column([3.26, 4.06]), "loss_ct": column([0.085, None])}
    store.apply(EpochBlock("train", np.array([0.0, 1.0]), columns))
    store.apply(EpochRow(1.0, "val_ind", {"closs": 5.0}))

    assert store.rows == 2
    assert store.metrics == ("closs", "loss_ct", "val_ind_closs")
    assert store.envelope("closs", [0, 1, 2]).high.tolist() == pytest.approx([3.26, 4.06])
    assert store.epochs_of_rows().tolist() == [0.0, 1.0]
    assert store.latest("val_ind_closs") == 5.0
    assert store.value("val_ind_closs", 1) == 5.0
    assert store.epochs[0].metrics == {"closs": 3.26, "loss_ct": 0.085}
    assert store.epochs[-1] == EpochRow(1.0, "val_ind", {"closs": 5.0})
    with pytest.raises(IndexError):
        store.epochs[3]


def test_epoch_lines_beside_batches_lie_at_the_end_of_their_epoch() -> None:
    store = RunStore()
    store.apply(EpochRow(0.0, "train", {"closs": 7.0}))
    store.apply(EpochRow(1.0, "train", {"closs": 6.0}))
    store.apply(batches({"closs": [8.0] * 20}, epochs=[i // 10 for i in range(20)]))

    assert store.metrics == ("closs", "train_closs")
    envelope = store.envelope("train_closs", [0, 9, 10, 19, 20])
    assert envelope.flags.tolist() == [0, 1, 0, 1]
    assert store.value("train_closs", 3) == 7.0
    assert store.value("train_closs", 10) == 6.0
    assert np.isfinite(store.values("train_closs", 0, 20)).sum() == 2


def test_an_epoch_line_that_knows_its_step_lies_there() -> None:
    store = RunStore()
    store.apply(batches({"closs": [8.0] * 20}))
    store.apply(EpochRow(0.0, "val", {"closs": 7.5}, step=12))

    assert store.envelope("val_closs", [0, 12, 13, 20]).flags.tolist() == [0, 1, 0]


def test_intervals_are_rows_where_there_are_no_batches() -> None:
    store = RunStore()
    store.apply(RunInfo("id", "name", steps_per_epoch=1312))
    first = Interval(0, 0, 10, {"closs": 9.0}, {"closs": 0.001}, {"closs": (9.0, 9.0)})
    second = Interval(
        1, None, 10, {}, {}, {"closs": (8.5, 8.6), "acc_action_5": (0.1, 0.1)}, attempt=0
    )
    store.apply(first)
    store.apply(second)

    assert store.steps().tolist() == [10, 1322]
    assert store.metrics == ("closs", "acc_action_5")
    # A line without a recovered mean shows what it printed.
    assert store.value("closs", 1) == 8.5
    assert store.intervals[0] == first
    assert store.intervals[1] == second


def test_the_latest_value_is_exact_and_may_be_nan() -> None:
    store = RunStore()
    store.apply(batches({"closs": [0.1, None]}))
    assert store.latest("closs") == 0.1
    store.apply(batches({"closs": [math.nan]}, first_step=2))
    assert math.isnan(store.latest("closs") or 0.0)


def test_gpu_history_is_by_device_and_field() -> None:
    def device(index: int, util: float | None) -> GpuDevice:
        return GpuDevice(index, "u", "H200", util, None, None, None, None, None, None, None)

    store = RunStore()
    store.apply(GpuSample(1.0, (device(0, 90.0), device(1, None))))
    store.apply(GpuSample(2.0, (device(0, 95.0),)))

    assert store.gpu.history(0, "util").tolist() == [90.0, 95.0]
    assert np.isnan(store.gpu.history(1, "util")).all()
    assert store.gpu.times().tolist() == [1.0, 2.0]
    assert store.gpu.latest is not None


def test_ten_million_cells_stay_near_their_raw_size() -> None:
    store = RunStore()
    rows, names = 1_000_000, [f"m{i}" for i in range(10)]
    part = np.random.default_rng(0).normal(size=50_000).tolist()
    for start in range(0, rows, 50_000):
        store.apply(batches(dict.fromkeys(names, part), first_step=start))

    raw = rows * len(names) * 4
    steps_and_times = rows * 16
    assert store.nbytes < 1.35 * raw + steps_and_times

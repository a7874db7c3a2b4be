"""Numbers and names in lines of `key: value`: the right ones, or none."""

from __future__ import annotations

from time import process_time

import pytest

from tests.vlamon.sources.formats.reading import evaluations, parsed, rows
from vlamon.records import BatchBlock, EpochRow
from vlamon.sources.formats import SURE, key_values
from vlamon.sources.formats.key_values import recognises
from vlamon.sources.formats.rows import MOST_NAMES


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


@pytest.mark.parametrize(
    "line",
    [
        "gradient_accumulation_steps=1,",
        "  max_grad_norm=1.0,",
        "router_aux_loss_coef=0.001",
        "mtp_loss_scaling_factor: 0.1",
        "loss_weight=1.0)",
        "dict(norm_decay_mult=0.0, bias_decay_mult=0.0),",
        "Set the environment variable D4RL_SUPPRESS_IMPORT_ERROR=1 to suppress this message.",
        "export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0",
        "multiprocessing/errors/error_handler.py:145: in wrapper",
        "train: task=detect, epochs=100, batch=16, imgsz=640, lr0=0.01, lr=0.1",
        "  log_loss_scale_to_tensorboard: 0",
        "label_smoothing_loss_alpha: 0.1",
        "normalized_shape: 768",
    ],
)
def test_a_setting_never_becomes_a_row(line: str) -> None:
    assert rows("key-values", (line + "\n") * 9) == []
    assert recognises((line + "\n").encode() * 9, "x") == 0


def test_a_batch_counted_within_its_epoch_goes_on_through_the_epochs() -> None:
    text = "".join(
        f"[{epoch}/30] iter: {n}/278. lr:0.000030 . Loss: 0.0{epoch}, Acc:0.961\n"
        for epoch in (1, 2, 3)
        for n in (100, 200)
    )
    _, records = parsed("key-values", text)
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert [step for block in blocks for step in block.step.tolist()] == [
        *(100, 200, 378, 478, 656, 756),
    ]
    assert {block.attempt for block in blocks} == {0}
    assert blocks[0].epoch.tolist() == [1, 1, 2, 2, 3, 3]
    assert blocks[0].columns["Acc"].values[0] == 0.961


@pytest.mark.parametrize(
    ("line", "split"),
    [
        ("Val loss: 0.231, Acc: 0.922, F1_score: 0.922", "val"),
        ("Test loss: 0.285, Acc: 0.918", "test"),
        ("2024-05-01 12:00:01 - INFO - Validation: loss=0.3, acc=0.9", "val"),
        ("[2024-05-01 12:00:01,123] Test_loss: 0.3", "test"),
    ],
)
def test_a_line_about_a_held_out_split_is_no_training_row(line: str, split: str) -> None:
    text = f"Epoch: 3, Step: 100/200, Loss: 1.5\n{line}\n"
    assert [step for step, _ in rows("key-values", text)] == [100]
    ((found, step, metrics),) = evaluations("key-values", text)
    assert (found, step) == (split, 100)
    assert "loss" in metrics


def test_values_below_a_heading_belong_to_its_epoch() -> None:
    text = "".join(
        f"Epoch {epoch}/24\n----------\ntrain Loss: 0.{9 - epoch}\nval Loss: 0.5 Acc: 0.8\n\n"
        for epoch in range(3)
    )
    _, records = parsed("key-values", text)
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [0, 1, 2]
    assert [(r.split, r.epoch) for r in records if isinstance(r, EpochRow)] == [
        *(("val", 0), ("val", 1), ("val", 2)),
    ]


def test_samples_counted_within_an_epoch_go_on_through_the_epochs() -> None:
    line = "Train Epoch: {} [{}/60000 ({:.0f}%)]\tLoss: {:.6f}\n"
    text = "".join(line.format(e, n, n / 600, e + n / 1e5) for e in (1, 2) for n in (0, 640, 59968))
    assert [step for step, _ in rows("key-values", text)] == [0, 640, 59968, 60000, 60640, 119968]


def test_values_without_a_count_in_front_of_counted_ones_are_settings() -> None:
    text = "closs=1.0 loss_ct=10.0\n" + "".join(f"step={n} closs=2.5\n" for n in (10, 20))
    assert rows("key-values", text) == [(10, {"closs": 2.5}), (20, {"closs": 2.5})]


def test_a_bar_in_front_of_a_line_says_nothing_of_it() -> None:
    line = (
        "Validation: |    | 0/? [00:00<?, ?it/s][03/05] INFO  Epoch 3: v_loss 4.5  loss 5.25e+00\n"
    )
    ((_, metrics),) = rows("key-values", line)
    assert metrics == {"v_loss": 4.5, "loss": 5.25}


def test_a_settings_name_with_a_loss_in_it_is_no_metric() -> None:
    assert rows("key-values", "    FOCAL_LOSS_GAMMA: 2.0\n" * 4) == []
    assert len(rows("key-values", "TOTAL_LOSS: 2.0\n" * 4)) == 4


def test_a_place_in_a_source_file_is_no_value() -> None:
    text = "INFO train.py:232 step: 10 loss: 2.5\n"
    assert rows("key-values", text) == [(10, {"loss": 2.5})]


@pytest.mark.parametrize("piece", ["a-", "a/", "a ", "1,234,", "epoch ", ": ", "[1/2] ", "loss "])
def test_a_hostile_line_costs_time_in_proportion_to_its_length(piece: str) -> None:
    def cost(length: int) -> float:
        line = "x=" + piece * (length // len(piece))
        begin = process_time()
        key_values.KeyValueReader().read(line)
        return process_time() - begin

    short = min(cost(2_000) for _ in range(5))
    assert min(cost(16_000) for _ in range(5)) < 32 * short + 0.02


def test_a_new_name_on_each_line_stops_costing_columns() -> None:
    _, records = parsed("key-values", "".join(f"step={n} loss{n}=1\n" for n in range(3000)))
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert len({name for block in blocks for name in block.columns}) == MOST_NAMES
    assert sum(block.rows for block in blocks) == 3000


@pytest.mark.parametrize(
    ("line", "step", "metrics"),
    [
        ("Epoch 1 Step 100 Loss 0.5 Acc 0.9", 100, {"Loss": 0.5, "Acc": 0.9}),
        ("| epoch   2 |   200/ 2928 batches | lr 5.00 | loss  8.05 | ppl  36.5", 200, None),
        ("Train Epoch 1 Iter 7 lr_scale 3 loss 0.5", 7, {"loss": 0.5}),
        ("| INFO | __main__:train:100 - Step: 10, Loss: 0.5", 10, {"Loss": 0.5}),
    ],
)
def test_a_metric_beside_a_count_needs_no_sign(
    line: str, step: int, metrics: dict[str, float] | None
) -> None:
    ((found, read),) = rows("key-values", line + "\n")
    assert (found, read) == (step, metrics or {"loss": 8.05, "ppl": 36.5})


@pytest.mark.parametrize(
    ("line", "step", "epoch"),
    [
        ("[000500/50000] X4K | loss 0.5 | VRAM 9.8/15.9GB | GPU 0% | batch 16", 500, None),
        ("[12/100] loss: 0.5", 12, None),
        ("[0/25][50/1583] Loss: 0.5 D(x): 0.81", 50, 0),
        ("Epoch [3/90] loss: 0.5", None, 3),
        ("[1/30] iter: 100/278. loss: 0.5", 100, 1),
        ("Epoch [1/90] batch 16 loss 0.5", 16, 1),
        ("episode 7 | step: 20 | loss: 0.5", 20, 7),
        ("Episode: 7, loss: 0.5", 7, None),
        ("epoch=0 i=14/530 loss=0.5", 14, 0),
        ("Epoch 1, Step 25, total used time 47.7 (s), loss so far is 0.5", 25, 1),
    ],
)
def test_a_count_without_a_name_counts_where_no_other_does(
    line: str, step: int | None, epoch: float | None
) -> None:
    (row,) = key_values.read(line)
    assert (row.step, row.epoch) == (step, epoch)
    assert row.metrics.get("loss", row.metrics.get("Loss")) == 0.5


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        (
            "Epoch 3 | train: loss 0.31 acc 0.9 | val: loss 0.52 acc 0.8",
            {"loss": 0.31, "acc": 0.9, "val_loss": 0.52, "val_acc": 0.8},
        ),
        (
            "epoch 3 train : [loss = 0.031, top1 = 99.35%], valid : [loss = 0.624, top1 = 85.40%]",
            {"loss": 0.031, "top1": 99.35, "val_loss": 0.624, "val_top1": 85.4},
        ),
        ("epoch 3 loss: 0.5, lr: 0.1, lr: 0.2", {"loss": 0.5}),
    ],
)
def test_a_value_is_of_the_split_in_front_of_it(line: str, metrics: dict[str, float]) -> None:
    (row,) = key_values.read(line)
    assert row.metrics == metrics

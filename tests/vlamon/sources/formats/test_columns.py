"""Numbers that stand in columns: DARTS, YOLO's console, skorch, tables of bars."""

from __future__ import annotations

import pytest

from tests.vlamon.sources.formats.reading import evaluations, parsed, rows
from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff

DARTS = """\
11/20 03:00:01 AM gpu device = 0
11/20 03:00:02 AM starting training at epoch 0
11/20 03:00:02 AM epoch 0 lr 2.500000e-02
11/20 03:00:03 AM train 000 2.302585e+00 10.937500 56.250000
11/20 03:00:33 AM train 004 2.150517e+00 20.187500 61.250000
11/20 03:01:01 AM train_acc 22.250000
11/20 03:01:02 AM valid 000 1.750000e+00 35.500000 85.250000
11/20 03:01:30 AM valid_acc 38.250000 | valid_obj 1.687500
11/20 03:01:31 AM epoch 1 lr 2.250000e-02
11/20 03:01:32 AM epoch 1 epsilon_alpha 3.000000e-02
11/20 03:01:33 AM train 000 1.750000e+00 35.500000 81.250000
11/20 03:02:03 AM train 004 1.650000e+00 37.500000 85.250000
11/20 03:02:31 AM train_acc  41.125000
11/20 03:02:31 AM train_loss 1.593750
11/20 03:03:00 AM valid_acc  41.375000
"""
YOLO_HEADER = "     Epoch   gpu_mem       box       obj       cls     total    labels  img_size\n"
YOLO = (
    "Starting training for 2 epochs...\n\n"
    + YOLO_HEADER
    + "   0/1  7.99G  0.09067  0.0189  0.02807  0.1376  64  640:  50%|██   | 1/2 [00:01<00:01]\r"
    + "   0/1  7.99G   0.0875  0.0189  0.02807   0.125  64  640: 100%|█████| 2/2 [00:02<00:00]\n"
    + "    Class    Images    Labels      P      R    mAP@.5  mAP@.5:.95: 100%|██| 4/4 [00:01]\n"
    + "      all       111       345  0.512  0.498     0.471       0.225\n\n"
    + YOLO_HEADER
    + "   1/1  8.01G   0.0625  0.0155   0.0225  0.1005  51  640: 100%|█████| 2/2 [00:02<00:00]\n"
)
SKORCH = """\
  epoch    train_loss    valid_acc    valid_loss     dur
-------  ------------  -----------  ------------  ------
      1        0.6875       0.6000        0.6750  0.0591
      2        0.6625       0.6125        0.6500  0.0488
"""
BARS = """\
Training on cuda:0
| Epoch | Train Loss | Train Acc | Val Loss | Learning Rate |
|-------|------------|-----------|----------|---------------|
|     0 | 7.0433     | 0.11%     | 6.9336   | 0.000559      |
Saved checkpoint to best.pt
|     1 | 6.8873     | 0.14%     | 7.1428   | 0.001236      |
"""


@pytest.mark.parametrize(
    ("text", "known"), [(DARTS, "darts"), (YOLO, "columns"), (SKORCH, "columns"), (BARS, "csv")]
)
def test_columns_are_known_by_their_lines(text: str, known: str) -> None:
    found = sniff(text.encode(), "train.log")
    assert found is not None
    assert found.name == known


def test_darts_counts_batches_through_its_epochs() -> None:
    assert rows("darts", DARTS) == [
        (0, {"loss": 2.302585, "lr": 0.025, "top1": 10.9375, "top5": 56.25}),
        # Of five batches the first had 2.302585, so that the others had 2.1125.
        (4, {"loss": 2.1125, "lr": 0.025, "top1": 22.5, "top5": 62.5}),
        (5, {"loss": 1.75, "lr": 0.0225, "top1": 35.5, "top5": 81.25}),
        (9, {"loss": 1.625, "lr": 0.0225, "top1": 38.0, "top5": 86.25}),
    ]
    assert [(split, metrics) for split, _, metrics in evaluations("darts", DARTS)] == [
        ("train", {"acc": 22.25}),
        ("val", {"acc": 38.25, "loss": 1.6875}),
        ("train", {"acc": 41.125, "loss": 1.59375}),
        ("val", {"acc": 41.375}),
    ]


def test_a_darts_run_that_goes_back_to_an_epoch_is_another_attempt() -> None:
    begun = DARTS.splitlines(keepends=True)
    again = "".join(begun + [line for line in begun if "epoch 1" in line or "train 000 1" in line])
    records = parsed("darts", again)[1]
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert [(b.attempt, b.step.tolist()) for b in blocks][-2:] == [(0, [9]), (1, [5])]


def test_a_row_of_yolo_is_an_epoch_and_its_last_drawing_counts() -> None:
    blocks = [r for r in parsed("columns", YOLO)[1] if isinstance(r, BatchBlock)]
    assert all(block.averaged for block in blocks)
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [0, 1]
    assert [metrics for _, metrics in rows("columns", YOLO)] == [
        {"box_loss": 0.0875, "obj_loss": 0.0189, "cls_loss": 0.02807, "total": 0.125},
        {"box_loss": 0.0625, "obj_loss": 0.0155, "cls_loss": 0.0225, "total": 0.1005},
    ]
    ((split, _, scores),) = evaluations("columns", YOLO)
    assert (split, scores) == (
        "val",
        {"P": 0.512, "R": 0.498, "mAP@.5": 0.471, "mAP@.5:.95": 0.225},
    )


def test_an_epoch_that_is_still_being_drawn_is_known_but_no_row() -> None:
    text = YOLO[: YOLO.index("\r")]
    found = sniff(text.encode())
    assert found is not None
    assert found.name == "columns"
    assert rows("columns", text) == []


def test_scores_of_masks_stand_beside_those_of_boxes() -> None:
    header = (
        "  Class Images Instances Box(P R mAP50 mAP50-95) Mask(P R mAP50 mAP50-95): 100%|██| 1/1\n"
    )
    text = YOLO + header + "  all 128 929 0.5 0.25 0.125 0.75 0.4 0.3 0.2 0.1\n"
    scores = evaluations("columns", text)[-1][2]
    assert (scores["mAP50"], scores["mask_mAP50"]) == (0.125, 0.2)


def test_rows_of_skorch_are_its_epochs() -> None:
    blocks = [r for r in parsed("columns", SKORCH)[1] if isinstance(r, BatchBlock)]
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [1, 2]
    assert [row["train_loss"] for _, row in rows("columns", SKORCH)] == [0.6875, 0.6625]


def test_a_table_of_bars_is_read_among_other_lines() -> None:
    parser, records = parsed("csv", BARS)
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [0, 1]
    assert [row for _, row in rows("csv", BARS)] == [
        {"Train Loss": 7.0433, "Train Acc": 0.11, "Val Loss": 6.9336, "Learning Rate": 0.000559},
        {"Train Loss": 6.8873, "Train Acc": 0.14, "Val Loss": 7.1428, "Learning Rate": 0.001236},
    ]
    assert [line for _, line in parser.unknown.samples] == [
        *("Training on cuda:0", "Saved checkpoint to best.pt"),
    ]


@pytest.mark.parametrize("rows_have_it", [True, False])
def test_a_tab_behind_the_last_column_is_no_column(rows_have_it: bool) -> None:
    tail = "\t" if rows_have_it else ""
    text = f"step\tloss\tlr\t\n10\t1.5\t0.1{tail}\n20\t1.25\t0.1{tail}\n"
    found = sniff(text.encode())
    assert found is not None
    assert found.name == "csv"
    assert rows("csv", text) == [(10, {"loss": 1.5, "lr": 0.1}), (20, {"loss": 1.25, "lr": 0.1})]


def test_rows_may_end_in_a_tab_that_their_header_lacks() -> None:
    assert rows("csv", "step\tloss\n10\t1.5\t\n20\t1.25\t\n") == [
        *((10, {"loss": 1.5}), (20, {"loss": 1.25})),
    ]


def box(loss: float) -> str:
    edge = "+" + "-" * 24 + "+\n"
    return f"{edge}| fps        | 120       |\n| train/loss | {loss}      |\n{edge}"


def test_boxes_without_a_step_are_numbered_once_they_are_a_series() -> None:
    text = "".join(map(box, (0.75, 0.5, 0.25)))
    found = sniff(text.encode())
    assert found is not None
    assert found.name == "tables"
    assert [(step, row["train/loss"]) for step, row in rows("tables", text)] == [
        *((0, 0.75), (1, 0.5), (2, 0.25)),
    ]
    assert rows("tables", box(0.75) + box(0.5)) == []

"""PyTorch's ProgressMeter: the batch's own value, at a step that goes on through the epochs."""

from __future__ import annotations

from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff
from vlamon.sources.formats.progress_meter import FORMAT, read

LINE = "Epoch: [{epoch}][{step:2d}/4]\tTime 60.794 (60.732)\tLoss {loss:.4f} (9.0000)\tLr: 0.6"


def log() -> bytes:
    lines = ["=> creating model 'resnet50'", "lr: 0.1"]
    for epoch in range(3):
        lines += [LINE.format(epoch=epoch, step=n, loss=epoch + n / 10) for n in range(1, 5)]
        lines.append("Test: [ 10/50]\tTime 0.1 (0.1)\tLoss 99.0 (99.0)")
    return ("\n".join(lines) + "\n").encode()


def test_each_row_is_the_batchs_value_and_no_restart_begins_with_an_epoch() -> None:
    known = sniff(log())
    assert known is not None
    assert known.name == "progress-meter"
    parser = FORMAT.open("")
    blocks = [record for record in parser.feed(log()) if isinstance(record, BatchBlock)]
    steps = [step for block in blocks for step in block.step.tolist()]
    losses = [value for block in blocks for value in block.columns["Loss"].values.tolist()]
    assert steps == list(range(1, 13))
    assert losses == [epoch + n / 10 for epoch in range(3) for n in range(1, 5)]
    assert {block.attempt for block in blocks} == {0}
    assert blocks[0].columns["Lr"].values[0] == 0.6


def test_an_evaluation_is_no_training_row() -> None:
    assert read("Test: [ 10/50]\tTime 0.1 (0.1)\tLoss 99.0 (99.0)") == ()


def test_a_run_that_begins_anew_is_another_attempt() -> None:
    parser = FORMAT.open("")
    lines = [LINE.format(epoch=e, step=n, loss=1.0) for e, n in ((0, 1), (0, 2), (1, 1), (0, 1))]
    records = parser.feed(("\n".join(lines) + "\n").encode())
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    assert [block.attempt for block in blocks] == [0, 1]


def test_the_heads_of_swin_and_timm_are_known() -> None:
    swin = "INFO Train: [1/300][10/1251]\teta 0:20:00 lr 1e-06\tloss 6.5 (7.0)\tgrad_norm inf (inf)"
    ((row),) = read(swin)
    assert (row.epoch, row.step, row.of, row.metrics["loss"]) == (1, 10, 1251, 6.5)
    timm = "Train: 3 [  50/1251 (  4%)]  Loss: 6.25 (6.93)  Time: 0.5s, 250.1/s  LR: 1e-06"
    ((row),) = read(timm)
    assert (row.epoch, row.step, row.of, row.metrics["Loss"]) == (3, 50, 1251, 6.25)

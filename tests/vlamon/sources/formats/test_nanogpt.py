"""nanoGPT's evaluations and times."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, parsed, rows
from vlamon.analysis.evidence import gather


def log(steps: int) -> str:
    lines = []
    for step in range(steps):
        if step % 10 == 0:
            lines.append(f"step {step}: train loss {5 - step / 100}, val loss {6 - step / 100}")
        lines.append(f"iter {step}: loss {4 - step / 100}, time 45.10ms, mfu 30.00%")
    return "\n".join(lines) + "\n"


def test_an_evaluation_estimates_both_losses() -> None:
    text = "step 250: train loss 4.1, val loss 4.2\n"
    assert evaluations("nanogpt", text) == [
        ("eval_train", 250, {"loss": 4.1}),
        ("val", 250, {"loss": 4.2}),
    ]
    assert rows("nanogpt", text) == []


def test_an_estimated_loss_is_not_taken_for_an_epochs_mean() -> None:
    evidence = gather(parsed("nanogpt", log(40))[1])
    assert evidence.lines == {}
    assert evidence.by_epoch("loss") is None
    assert len(evidence.fine["loss"]) == 40
    assert evidence.evaluations["eval_train"]["loss"].step.tolist() == [0, 10, 20, 30]


def test_milliseconds_and_seconds_become_one_column() -> None:
    text = "iter 0: loss 9, time 1.2s, mfu 1%\niter 1: loss 9, time 412.11ms, mfu 1%\n"
    assert [metrics["time"] for _, metrics in rows("nanogpt", text)] == [1.2, 0.41211]
    text = "step:1/9 train_loss:3.3 train_time:170024ms step_avg:136.02ms\n"
    ((_, metrics),) = rows("nanogpt", text)
    assert metrics == {"train_loss": 3.3, "train_time": 170.024, "step_avg": 0.13602}


def test_an_evaluation_in_front_of_its_step_belongs_to_it() -> None:
    text = "".join(
        f"validation loss: {9 - n}.5\nHellaSwag accuracy: 25/100=0.25\n"
        f"step {n:5d} | loss: {9 - n}.25 | lr 8.4e-07 | norm: 1.5 | dt: 5.5ms | tok/sec: 101.5\n"
        for n in (0, 1)
    )
    assert [step for step, _ in rows("nanogpt", text)] == [0, 1]
    assert evaluations("nanogpt", text + "validation loss: 7.5\n") == [
        ("val", 0, {"loss": 9.5, "hellaswag": 0.25}),
        ("val", 1, {"loss": 8.5, "hellaswag": 0.25}),
        ("val", 1, {"loss": 7.5}),
    ]


def test_a_unit_behind_a_loss_is_no_part_of_it() -> None:
    text = (
        "step 250: train loss 0.2558 BPC, val loss 3.8420 BPC\n"
        "iter 250: loss 0.3802 BPC, time 297.26ms, mfu 7.51%\n"
    )
    assert [(step, metrics["loss"]) for step, metrics in rows("nanogpt", text)] == [(250, 0.3802)]
    assert ("val", 250, {"loss": 3.842}) in evaluations("nanogpt", text)


def test_a_line_with_an_epoch_is_another_familys() -> None:
    text = "".join(
        f"2021-09-03 20:17:5{n} | INFO | yolox.core.trainer:246 - epoch: {n}/300, iter: {i}/47, "
        f"mem: 1491Mb, iter_time: 0.487s, total_loss: 10.7, lr: 7.073e-06, ETA: 1:54:27\n"
        for n in (1, 2)
        for i in (10, 20, 30, 40)
    )
    assert rows("nanogpt", text) == []
    assert [step for step, _ in rows("key-values", text)] == [10, 20, 30, 40, 57, 67, 77, 87]

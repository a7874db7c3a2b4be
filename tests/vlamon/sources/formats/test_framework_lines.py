"""Text lines of single frameworks: their steps, their names, and what is left out."""

from __future__ import annotations

import pytest

from tests.vlamon.sources.formats.reading import Rows, evaluations, parsed, rows
from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff

MMENGINE = """\
2024/06/05 20:09:42 - mmengine - INFO - Epoch(train)   [1][ 50/100]  lr: 1.0e-03  eta: 0:01:00  \
time: 0.5  data_time: 0.1  memory: 3500  loss: 2.5  loss_kpt: 0.5  acc_pose: 0.25
2024/06/05 20:09:52 - mmengine - INFO - Epoch(train)   [2][ 50/100]  lr: 1.0e-03  eta: 0:01:00  \
time: 0.5  data_time: 0.1  memory: 3500  loss: 1.5  loss_kpt: 0.25  acc_pose: 0.5
2024/06/05 20:10:42 - mmengine - INFO - Epoch(val)   [2][ 10/20]    eta: 0:00:01  time: 0.1  \
data_time: 0.01  memory: 900
2024/06/05 20:10:52 - mmengine - INFO - Epoch(val) [2][20/20]    coco/AP: 0.75  data_time: 0.01
"""
MMCV = """\
2022-03-14 12:46:24,845 - mmdet - INFO - Epoch [1][600/632]\tlr: 2.000e-02, eta: 2:58:29, \
time: 0.764, memory: 3500, loss_cls: 0.5, loss: 2.5
2022-03-14 12:47:02,837 - mmdet - INFO - Epoch [2][50/632]\tlr: 2.000e-02, eta: 1 day, 2:57:59, \
time: 0.760, memory: 3500, loss_cls: 0.25, loss: 1.5
2022-03-14 12:48:02,837 - mmdet - INFO - Epoch(val) [2][625]\tbbox_mAP: 0.25
"""
MMSEG = "2022-03-14 12:46:24,845 - mmseg - INFO - Iter [50/160000]\tlr: 1e-02, decode.loss: 2.5\n"
PADDLE = "2022-03-14 12:46:24 [INFO]\t[TRAIN] epoch: 1, iter: 10/20000, loss: 2.5, lr: 0.01\n"
DETECTRON2 = """\
[03/14 12:46:24 d2.utils.events]:  eta: 1 day, 0:10:00  iter: 19  total_loss: 2.5  loss_cls: 0.5  \
  time: 0.5  last_time: 0.4  data_time: 0.01  lr: 0.0002  max_mem: 2000M
[03/14 12:46:34 d2.utils.events]:  eta: 0:09:00  iter: 39  total_loss: 1.5  loss_cls: 0.25  \
time: 0.5  data_time: 0.01  lr: 0.0004  max_mem: 2000M
"""
MEGATRON = """\
------------------------ arguments ------------------------
  initial_loss_scale .............................. 4294967296
  mtp_loss_scaling_factor ......................... 0.1
-------------------- end of arguments ---------------------
 [2024-05-01 12:00:00] iteration        1/    5000 | consumed samples:          256 | elapsed time \
per iteration (ms): 812.5 | learning rate: 1.500E-06 | global batch size:   256 | \
lm loss: 1.083E+01 | loss scale: 1.0 | grad norm: 5.25 | number of skipped iterations:   0 |
 iteration        2/    5000 | consumed samples:          512 | elapsed time per iteration (ms): \
800.0 | learning rate: 3.000E-06 | lm loss: 9.5E+00 | loss scale: 1.0 | grad norm: nan |
 validation loss at iteration 2 | lm loss value: 9.25E+00 | lm loss PPL: 1.04E+04 |
"""
TITAN = """\
2026-04-18 22:15:40,200 - root - INFO - step:  1  loss: 12.25000  grad_norm: 10.5000  \
memory: 27.83GiB(88.75%)  tps: 7,718  tflops: 5.24  mfu: 1.68%
2026-04-18 22:15:44,378 - root - INFO - step: 10  loss: 11.50000  grad_norm:  9.5000  \
memory: 29.11GiB(92.83%)  tps: 70,593  tflops: 47.97  mfu: 15.38%
2026-04-18 22:15:48,378 - root - INFO - validate step: 10  loss: 11.25000  memory: 29.11GiB(92.8%)
"""
VERL = """\
step:0 - val-core/gsm8k/reward/mean@1:0.25
step:1 - actor/pg_loss:0.5 - critic/score/mean:0.75 - critic/rewards/mean:np.float64(0.5) - \
perf/mfu/actor:0.125
step:2 - actor/pg_loss:-0.5 - critic/score/mean:1.0 - val-core/gsm8k/reward/mean@1:0.5
"""
LLM_C = "s:0 tel:11.0\ns:0 trl:10.75 lr:0.000001 norm:15.5\ns:1 trl:10.5 lr:0.000002 norm:15.25\n"
BARE = "0 val 10.75\n0 hella 0.25\n0 train 10.5\n1 train 10.25\n"


def losses(text: str, name: str) -> list[tuple[int, float]]:
    found = sniff(text.encode())
    assert found is not None
    return [(step, row[name]) for step, row in rows(found.name, text) if name in row]


@pytest.mark.parametrize(
    ("text", "known", "loss", "expected"),
    [
        (MMENGINE, "mm-text", "loss", [(50, 2.5), (150, 1.5)]),
        (MMCV, "mm-text", "loss", [(600, 2.5), (682, 1.5)]),
        (MMSEG, "mm-text", "decode.loss", [(50, 2.5)]),
        (PADDLE, "mm-text", "loss", [(10, 2.5)]),
        (DETECTRON2, "detectron2", "total_loss", [(19, 2.5), (39, 1.5)]),
        (MEGATRON, "megatron", "lm loss", [(1, 10.83), (2, 9.5)]),
        (TITAN, "torchtitan", "loss", [(1, 12.25), (10, 11.5)]),
        (VERL, "verl", "actor/pg_loss", [(1, 0.5), (2, -0.5)]),
        (LLM_C, "llm.c", "train_loss", [(0, 10.75), (1, 10.5)]),
        (BARE, "llm.c", "train_loss", [(0, 10.5), (1, 10.25)]),
    ],
)
def test_each_loss_stands_at_its_step(text: str, known: str, loss: str, expected: Rows) -> None:
    found = sniff(text.encode())
    assert found is not None
    assert found.name == known
    assert losses(text, loss) == expected
    blocks = [record for record in parsed(known, text)[1] if isinstance(record, BatchBlock)]
    assert {block.attempt for block in blocks} == {0}


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        (MMENGINE, "mm-text", [("val", 150, {"coco/AP": 0.75})]),
        (MMCV, "mm-text", [("val", 682, {"bbox_mAP": 0.25})]),
        (MEGATRON, "megatron", [("val", 2, {"lm loss": 9.25, "lm loss PPL": 10400.0})]),
        (TITAN, "torchtitan", [("val", 10, {"loss": 11.25, "memory": 29.11})]),
        (LLM_C, "llm.c", [("val", 0, {"loss": 11.0})]),
        (
            VERL,
            "verl",
            [("val", n, {"val-core/gsm8k/reward/mean@1": v}) for n, v in ((0, 0.25), (2, 0.5))],
        ),
    ],
)
def test_an_evaluation_is_a_split_of_its_own(
    text: str, known: str, expected: list[tuple[str, int, dict[str, float]]]
) -> None:
    assert evaluations(known, text) == expected


def test_megatrons_arguments_are_no_rows() -> None:
    dump = MEGATRON.split(" [2024")[0]
    assert sniff(dump.encode() * 9) is None


def test_names_are_kept_whole_and_counts_are_no_metrics() -> None:
    (_, first), _ = rows("megatron", MEGATRON)
    assert first == {
        "iteration_time": 0.8125,
        "lr": 1.5e-06,
        "global batch size": 256.0,
        "lm loss": 10.83,
        "loss scale": 1.0,
        "grad norm": 5.25,
    }
    assert rows("verl", VERL)[0][1]["critic/rewards/mean"] == 0.5
    assert rows("torchtitan", TITAN)[1][1]["tps"] == 70593


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ("nanogpt", "step:1/9 train_loss:{} norm:2"),
        ("nanogpt", "iter 260: loss {}, time 45.1ms, mfu 30%"),
        ("nanogpt", "step 1/9 | train loss {} | norm 0.28"),
        ("openpi", "Step 100: loss={}, grad_norm=0.5"),
        ("openpi", "step=100 loss={} lr=2.5e-05"),
        ("hf-trainer", "{{'loss': {}, 'epoch': 0.1}}"),
        ("hf-trainer", "{{'loss': '{}', 'epoch': 0.1}}"),
        ("torchtitan", "step:  1  loss: {}  grad_norm: 0.5"),
        ("mm-text", "Iter [50/100]\tlr: 0.5, loss: {}, loss_b: 0.5"),
        ("megatron", " iteration  1/ 50 | lm loss: {} | grad norm: 0.5 |"),
        ("key-values", "step=1 loss={} b_loss=0.5"),
    ],
)
@pytest.mark.parametrize("value", ["1,234", "0,5"])
def test_a_value_that_may_be_two_numbers_is_read_as_none(known: str, line: str, value: str) -> None:
    found = rows(known, line.format(value) + "\n")
    for _, metrics in found:
        assert not {"loss", "train_loss", "lm loss"} & metrics.keys()


OLMO = """\
2024-05-01 12:00:00.000\thost:0\tolmo.train:967\tINFO\t[step=10/739328,epoch=0]
    optim/total_grad_norm=4.5
    train/CrossEntropyLoss=10.51
    throughput/total_tokens=41,943,040
2024-05-01 12:00:10.000\thost:0\tolmo.train:967\tINFO\t[step=20/739328,epoch=0]
    train/CrossEntropyLoss=9.5
"""
COMPOSER = """\
[epoch=1][batch=10/48]:
\t Train time/batch: 9
\t Train loss/train/total: 11.5
[Eval batch=1/10] Eval on eval data
[epoch=1][batch=20/48]:
\t Train loss/train/total: 10.5
\t Eval metrics/eval/Perplexity: 99.5
"""
FAIRSEQ = """\
2021-05-01 12:00:00 | INFO | train_inner | epoch 001:    100 / 479 loss=9.25, ppl=619.9, \
num_updates=100, lr=3e-06, gnorm=1.5
2021-05-01 12:00:10 | INFO | train_inner | epoch 002:    21 / 479 loss=8.25, ppl=304.4, \
num_updates=500, lr=6e-06, gnorm=1.25
2021-05-01 12:00:20 | INFO | valid | epoch 002 | valid on 'valid' subset | loss 6.5 | ppl 83.8 | \
num_updates 958
2021-05-01 12:00:30 | INFO | train | epoch 002 | loss 7.5 | ppl 90 | num_updates 958 | lr 7e-06
"""
FAIRSEQ_JSON = """\
[2022-04-08 18:48:05,372][train_inner][INFO] - {"epoch": 1, "loss": "9.25", "num_updates": "200"}
[2022-04-08 18:58:04,035][valid][INFO] - {"epoch": 1, "valid_loss": "6.5", \
"valid_num_updates": "479"}
[2022-04-08 18:58:06,786][train][INFO] - {"epoch": 1, "train_loss": "7.5", \
"train_num_updates": "479", "train_lr": "7e-06"}
[2022-04-08 19:00:05,372][train_inner][INFO] - {"epoch": 2, "loss": "8.25", "num_updates": "600"}
"""
ACT = """\
Epoch 0
Val loss:   12.25310
l1: 0.241 kl: 1.201 loss: 12.253 
Train loss: 5.19222
l1: 0.182 kl: 0.501 loss: 5.192 

Epoch 1
Val loss:   2.5
l1: 0.241 kl: 0.201 loss: 2.500 
Train loss: 1.5
l1: 0.182 kl: 0.101 loss: 1.500 
Best ckpt, val loss 2.500000 @ epoch1
"""  # noqa: W291
OPENVLA = "\r".join(
    f"=>> [Epoch 000] Global Step {n:06d} =>> LR :: 0.000020 - Loss :: {9 - n}.2500:  1%|1 | {n}/9"
    for n in (1, 1, 2)
)
DEEPSPEED = """\
[2024-05-01 12:00:00,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=0, lr=[9e-05]
steps: 10 loss: 2.5000 iter time (s): 0.512 samples/sec: 125.000
steps: 20 loss: 2.2500 iter time (s): 0.512 samples/sec: 125.000
"""


@pytest.mark.parametrize(
    ("text", "known", "loss", "expected"),
    [
        (OLMO, "indented", "train/CrossEntropyLoss", [(10, 10.51), (20, 9.5)]),
        (COMPOSER, "indented", "loss/train/total", [(10, 11.5), (20, 10.5)]),
        (FAIRSEQ, "fairseq", "loss", [(100, 9.25), (500, 8.25)]),
        (FAIRSEQ_JSON, "json-lines", "loss", [(200, 9.25), (600, 8.25)]),
        (ACT, "act", "loss", [(0, 5.19222), (1, 1.5)]),
        (OPENVLA, "openvla", "loss", [(1, 8.25), (2, 7.25)]),
        (DEEPSPEED, "key-values", "loss", [(10, 2.5), (20, 2.25)]),
    ],
)
def test_a_rarer_framework_is_read_at_its_steps(
    text: str, known: str, loss: str, expected: Rows
) -> None:
    found = sniff(text.encode())
    assert found is not None
    assert found.name == known
    assert losses(text, loss) == expected


def test_the_summaries_of_an_epoch_are_splits() -> None:
    for known, text in (("fairseq", FAIRSEQ), ("json-lines", FAIRSEQ_JSON)):
        found = {split: (step, row["loss"]) for split, step, row in evaluations(known, text)}
        step = 958 if known == "fairseq" else 479
        assert found == {"val": (step, 6.5), "train": (step, 7.5)}
    act = [(split, row["loss"], row["kl"]) for split, _, row in evaluations("act", ACT)]
    assert act == [("val", 12.2531, 1.201), ("val", 2.5, 0.201)]
    assert rows("indented", OLMO)[0][1]["throughput/total_tokens"] == 41943040


def test_values_below_a_learning_iteration_are_its_row() -> None:
    text = "".join(
        f"{'#' * 40}\n   Learning iteration {n}/1500   \n\n"
        "     Computation: 5 steps/s (learning 0.1s)\n"
        f"     Mean surrogate loss: {n}.5\n     Mean reward: 5.25\n"
        f"{'-' * 40}\n     Total time: 5.5s\n"
        for n in (10, 11)
    )
    found = sniff(text.encode())
    assert found is not None
    assert found.name == "indented"
    assert rows("indented", text) == [
        (n, {"Mean surrogate loss": n + 0.5, "Mean reward": 5.25}) for n in (10, 11)
    ]

"""A MetricLogger's evaluations and sums: known, and no rows of the training."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, parsed

EPOCH = """\
Epoch: [{n}]  [0/2]  eta: 0:00:10  lr: 0.000100  loss: 9.5000 (9.5000)  time: 5.0  data: 3.2
Epoch: [{n}]  [1/2]  eta: 0:00:03  lr: 0.000100  loss: 8.5000 (9.0000)  time: 3.1  data: 1.6
Epoch: [{n}] Total time: 0:00:06 (3.2445 s / it)
Averaged stats: lr: 0.000100  loss: 8.5000 (9.1250)
Test:  [ 0/79]  eta: 0:06:53  loss: 99.0000 (99.0000)  acc1: 1.0 (1.0)  time: 5.2  data: 3.1
Test:  [78/79]  eta: 0:00:00  loss: 97.0000 (98.0000)  acc1: 3.0 (2.0)  time: 5.2  data: 3.1
Test: Total time: 0:00:19 (0.2411 s / it)
Averaged stats: loss: 97.0000 (98.0000)
"""


def test_an_evaluation_is_a_split_of_its_own() -> None:
    text = "".join(EPOCH.format(n=n) for n in range(3))
    parser, _ = parsed("reference-output", text)
    assert parser.unknown.count == 0
    assert evaluations("reference-output", text) == [
        ("test", None, {"loss": 98.0, "acc1": 2.0}) for _ in range(3)
    ]


def test_an_epochs_averages_are_those_of_its_training() -> None:
    parser, _ = parsed("reference-output", "".join(EPOCH.format(n=n) for n in range(3)))
    averaged = getattr(parser, "averaged")  # noqa: B009
    assert [(row.epoch, row.metrics["loss"]) for row in averaged] == [
        (0.0, 9.125),
        (1.0, 9.125),
        (2.0, 9.125),
    ]

"""Which metrics are judged, what share of the total each has, and which verdict counts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from vlamon.detect.components import ComponentDetectors, Judgement, is_loss
from vlamon.detect.rules import SpikeRules
from vlamon.detect.spikes import Verdict
from vlamon.records import BatchBlock, Column

BOTH = {"closs": 1.0, "aux": 2.0}


def flat(
    count: int = 60, weights: Mapping[str, float] | None = BOTH, **values: float
) -> ComponentDetectors:
    """Detectors behind batches that were all alike: every ratio and z is exact."""
    components = ComponentDetectors()
    for _ in range(count):
        assert components.observe(values, weights).level == "ok"
    return components


# ---- the share of the total ----


def test_the_share_of_a_component_is_of_the_weighted_total() -> None:
    """1 % of 99 + 1: an aux of 0.5, which counts twice."""
    components = flat(closs=99.0, aux=0.01)
    assert components.minor("aux", 0.499, BOTH)
    assert not components.minor("aux", 0.501, BOTH)
    assert components.minor("aux", -0.499, BOTH)
    assert not components.minor("aux", -0.501, BOTH)


@pytest.mark.parametrize(
    ("name", "value", "weights"),
    [
        ("aux", 1e-9, None),
        ("aux", 1e-9, {}),
        ("aux", 1e-9, {"closs": 1.0}),
        ("aux", None, BOTH),
        ("aux", math.nan, BOTH),
        ("aux", math.inf, BOTH),
    ],
)
def test_what_has_no_weight_or_no_finite_value_is_no_small_part(
    name: str, value: float | None, weights: Mapping[str, float] | None
) -> None:
    assert not flat(closs=99.0, aux=0.01).minor(name, value, weights)


def test_the_total_follows_the_losses_by_a_twentieth_a_batch() -> None:
    components = flat(closs=10.0, aux=0.001)
    for _ in range(20):
        components.observe({"closs": 0.1, "aux": 0.001}, BOTH)
    total = 0.1 + 9.9 * 0.95**20
    edge = 0.01 * total / 0.99 / 2.0
    assert components.minor("aux", 0.999 * edge, BOTH)
    assert not components.minor("aux", 1.001 * edge, BOTH)


def test_a_batch_that_alarms_does_not_count_towards_the_total() -> None:
    components = flat(closs=99.0, aux=0.01)
    assert components.observe({"closs": 1e6, "aux": 0.01}, BOTH).level == "explode"
    assert not components.minor("aux", 0.501, BOTH)


def test_a_batch_without_a_component_leaves_its_level_as_it_was() -> None:
    components = flat(closs=99.0, aux=0.01)
    for _ in range(30):
        components.observe({"aux": 0.01}, BOTH)
    assert not components.minor("aux", 0.501, BOTH)
    assert components.minor("aux", 0.499, BOTH)


def test_a_small_part_of_the_total_warns_and_a_larger_one_explodes() -> None:
    small = flat(closs=99.0, aux=0.01).observe({"closs": 99.0, "aux": 0.49}, BOTH)
    assert (small.level, small.metric) == ("warn", "aux")
    assert small.verdict.reason == "49× the median in one batch (below 1 % of the total)"
    assert small.verdicts["closs"].level == "ok"
    large = flat(closs=99.0, aux=0.01).observe({"closs": 99.0, "aux": 0.51}, BOTH)
    assert (large.level, large.metric) == ("explode", "aux")


# ---- grad_norm ----


def test_a_warning_that_grad_norm_agrees_with_explodes_above_the_ratio_of_a_pair() -> None:
    quiet = {"closs": 4.0, "grad_norm": 1.0}
    for closs, norm, level in (
        (4.0 * 5.5, 1.0, "warn"),
        (4.0 * 5.5, 3.0, "explode"),
        (4.0 * 4.5, 3.0, "warn"),
        (4.0, 3.0, "warn"),
    ):
        judgement = flat(weights={"closs": 1.0}, **quiet).observe(
            {"closs": closs, "grad_norm": norm}, {"closs": 1.0}
        )
        assert judgement.level == level
    agreed = flat(weights={"closs": 1.0}, **quiet).observe(
        {"closs": 22.0, "grad_norm": 3.0}, {"closs": 1.0}
    )
    assert agreed.verdict.reason == "5.5× the median; grad_norm also high"


def test_what_grad_norm_agrees_with_must_be_more_than_a_small_part() -> None:
    calm = {"closs": 99.0, "aux": 0.01, "grad_norm": 1.0}
    judgement = flat(**calm).observe({**calm, "aux": 0.055, "grad_norm": 3.0}, BOTH)
    assert judgement.level == "warn"


def test_grad_norm_alone_warns_however_high_and_explodes_where_it_is_not_finite() -> None:
    calm = {"closs": 4.0, "grad_norm": 1.0}
    for norm, level in ((1e5, "warn"), (math.inf, "explode"), (math.nan, "explode")):
        judgement = flat(weights=None, **calm).observe({**calm, "grad_norm": norm})
        assert (judgement.level, judgement.metric) == (level, "grad_norm")


# ---- which verdict counts ----


def test_the_worst_level_counts_and_among_equals_the_higher_z() -> None:
    calm = {"closs": 4.0, "train_loss": 4.0}
    for values, metric in (
        ({"closs": 12.0, "train_loss": 400.0}, "train_loss"),
        ({"closs": 400.0, "train_loss": 12.0}, "closs"),
        ({"closs": 500.0, "train_loss": 400.0}, "closs"),
        ({"closs": 400.0, "train_loss": 500.0}, "train_loss"),
    ):
        assert flat(weights=None, **calm).observe(values).metric == metric


def test_a_batch_in_which_nothing_stands_out_has_no_metric() -> None:
    judgement = flat(closs=4.0, aux=1.0).observe({"closs": 4.0, "aux": 1.0}, BOTH)
    assert (judgement.level, judgement.metric) == ("ok", "")
    assert Judgement().level == "ok"
    assert Judgement({"closs": Verdict("warn", 9.0, 3.0)}, "closs").level == "warn"


# ---- which metrics are judged ----


@pytest.mark.parametrize(
    ("name", "judged"),
    [
        ("closs", True), ("total", True), ("nll", True), ("ce", True), ("mse", True),
        ("train/loss", True), ("policy/ce", True), ("ce/policy", False), ("action_loss", True),
        ("acc_loss", False), ("val_loss", False), ("l1_loss", False), ("lr", False),
        ("time_loss", False), ("data_loss", False), ("sample_loss", False),
        ("ranks_closs_max", False), ("reward", False),
    ],
)  # fmt: skip
def test_what_is_a_loss_by_its_name(name: str, judged: bool) -> None:
    assert is_loss(name) is judged
    assert ComponentDetectors().watches(name) is judged


def test_names_come_before_weights_and_weights_before_what_a_name_sounds_like() -> None:
    named, free = ComponentDetectors(["reward"]), ComponentDetectors()
    assert named.watches("reward", {"closs": 1.0})
    assert not named.watches("closs", {"closs": 1.0})
    assert free.watches("reward", {"reward": 1.0})
    assert not free.watches("closs", {"reward": 1.0})
    assert free.watches("closs", {})
    assert named.watches("grad_norm")
    assert free.watches("grad_norm", {"reward": 1.0})


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("policy", True), ("lr", False), ("learning_rate", False), ("acc", False),
        ("accuracy/top1", False), ("time_per_step", False), ("step", False), ("epoch", False),
        ("ranks_closs", True), ("ranks_gpu", False), ("lr_loss", True), ("grad_norm", False),
    ],
)  # fmt: skip
def test_what_a_script_hands_over_as_a_loss_may_be_one(name: str, taken: bool) -> None:
    components = ComponentDetectors()
    components.take_on([name])
    assert (name in components.detectors) is taken
    named = ComponentDetectors(["closs"])
    named.take_on([name])
    assert named.detectors == {}


def test_a_loss_that_is_taken_on_twice_keeps_what_is_known_of_it() -> None:
    components = ComponentDetectors()
    for _ in range(60):
        components.take_on(["policy"])
        components.observe({"policy": 2.0}, {"closs": 1.0})
    assert components.observe({"policy": 200.0}, {"closs": 1.0}).level == "explode"


def test_a_value_that_is_missing_from_the_start_makes_no_detector() -> None:
    components = ComponentDetectors()
    judgement = components.observe({"closs": None, "reward": 1.0, "total": 2.0})
    assert set(components.detectors) == set(judgement.verdicts) == {"total"}


def test_rules_of_one_component_are_its_own_wherever_its_detector_comes_from() -> None:
    early = SpikeRules(one_ratio=3.0, early_after=8)
    for make in ("observed", "taken on", "loaded"):
        components = ComponentDetectors(rules_by_name={"closs": early})
        if make == "taken on":
            components.take_on(["closs"])
        for _ in range(12):
            components.observe({"closs": 2.0, "total": 2.0})
        if make == "loaded":
            saved = json.loads(json.dumps(components.state_dict()))
            components = ComponentDetectors(rules_by_name={"closs": early})
            components.load_state_dict(saved)
        judgement = components.observe({"closs": 8.0, "total": 8.0})
        assert {name: v.level for name, v in judgement.verdicts.items()} == {
            "closs": "explode",
            "total": "ok",
        }


def test_the_latency_is_that_of_the_slowest_component() -> None:
    slow = SpikeRules(slow_block=32)
    components = ComponentDetectors(rules_by_name={"total": slow})
    assert (components.latency, components.slow_latency) == (64, 288)
    components.observe({"closs": 1.0, "total": 1.0})
    assert (components.latency, components.slow_latency) == (128, 576)
    assert ComponentDetectors(rules=SpikeRules(slow_block=0)).latency == 12


# ---- going on after a resume ----


def test_a_resume_knows_the_shares_and_what_rose_together() -> None:
    components = flat(closs=99.0, aux=0.01)
    rise = {"closs": 99.0 * 1.9, "aux": 0.019}
    for _ in range(3):
        assert components.observe(rise, BOTH).level != "explode"
    saved = json.loads(json.dumps(components.state_dict()))
    restored = ComponentDetectors()
    restored.load_state_dict(saved)
    assert restored.minor("aux", 0.499, BOTH)
    assert not restored.minor("aux", 0.501, BOTH)
    judgement = restored.observe(rise, BOTH)
    assert (judgement.level, judgement.metric) == ("explode", "closs")
    assert judgement.verdict.reason == "×1.9, together with other components"
    assert judgement.verdict.age == 3
    components.reset()
    assert components.observe(rise, BOTH).level == "ok", "all is forgotten"


def test_rows_of_a_block_are_judged_in_their_order_with_what_each_has() -> None:
    values = np.array([4.0] * 60 + [400.0] + [4.0] * 9)
    present = np.ones(70, np.bool_)
    present[61] = False
    columns = {"closs": Column(values, present), "reward": Column(values)}
    block = BatchBlock(0, 0, np.arange(70), np.zeros(70), np.zeros(70), columns)
    judged = dict(ComponentDetectors().observe_rows(block))
    assert list(judged) == list(range(70))
    assert [row for row, each in judged.items() if each.level == "explode"] == [60]
    assert all(set(each.verdicts) == {"closs"} for row, each in judged.items() if row != 61)
    assert judged[61].verdicts["closs"].ratio != judged[61].verdicts["closs"].ratio
    part = dict(ComponentDetectors().observe_rows(block, None, 10, 62))
    assert list(part) == list(range(10, 62))
    assert [row for row, each in part.items() if each.level == "explode"] == [60]

"""Settings that a training printed into its log are used, and told apart from rows and defaults."""

from __future__ import annotations

import pytest

from vlamon.analysis.printed_settings import PrintedSetting, printed_settings


@pytest.mark.parametrize(
    "text",
    [
        "Namespace(batch_size=8, clip_grad=25.0, loss_ct_weights=3, z_loss_weight=1e-05)",
        "{'clip_grad': 25.0, 'loss_ct_weights': 3, 'z_loss_weight': 1e-05}",
        "clip_grad: 25.0\nloss_ct_weights: 3\nz_loss_weight: 0.00001",
    ],
)
def test_a_namespace_a_dump_and_plain_lines_are_read(text: str) -> None:
    found = printed_settings(text.split("\n"), "output.log")
    assert [(one.setting, one.metric, one.value) for one in found] == [
        ("clip", "", 25.0),
        ("weight", "loss_ct", 3.0),
        ("weight", "z_loss", 1e-5),
    ]


def test_a_setting_names_its_place() -> None:
    assert printed_settings(["", "args: clip_grad=25.0"], "output.log") == [
        PrintedSetting("clip", "", 25.0, "output.log:2, clip_grad=25.0")
    ]


@pytest.mark.parametrize(
    "text", ["clip_grad=None", "max_grad_norm=0", "loss_scale: 8", "my.clip_grad_x=3", "loss: 2.5"]
)
def test_what_sets_nothing_is_left(text: str) -> None:
    assert printed_settings([text], "a.log") == []


def test_the_first_mention_counts() -> None:
    (one,) = printed_settings(["vocab_size: 16640", "vocab_size: 512"], "a.log")
    assert one.value == 16640

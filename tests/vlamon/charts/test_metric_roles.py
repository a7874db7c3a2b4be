"""One colour per metric, wherever it is shown, and distinct ones for the lines of a chart."""

from __future__ import annotations

import pytest

from vlamon.charts.metric_roles import SERIES, role_of_metric, roles_of_lines


def test_the_trained_losses_have_colours_of_their_own() -> None:
    assert [role_of_metric(name) for name in ("closs", "loss_ct", "z_loss")] == [
        "closs", "loss_ct", "z_loss",
    ]  # fmt: skip
    assert role_of_metric("train_closs") == "closs"
    assert role_of_metric("l1_loss_action") == "l1"


def test_no_other_metric_has_a_colour_that_looks_like_theirs() -> None:
    for name in ("lr", "grad_norm", "total", "wobble", "my/own", "val_ind_closs", "time"):
        assert role_of_metric(name) in SERIES[3:]


def test_a_slot_and_a_rank_have_the_colour_of_their_number_in_each_family() -> None:
    assert role_of_metric("l1_loss_action_7") == role_of_metric("acc_action_7")
    assert role_of_metric("closs_rank3") == role_of_metric("loss_ct_rank3")


def test_a_pull_has_the_colour_of_its_term() -> None:
    assert role_of_metric("pull_loss_ct") == "loss_ct"


@pytest.mark.parametrize(
    "names",
    [
        [f"closs_rank{rank}" for rank in range(8)],
        [f"l1_loss_action_{slot}" for slot in (1, 9, 17)],
        ["pull_closs", "pull_loss_ct", "pull_z_loss"],
        ["val_ind_closs", "val_ood_closs"],
        ["val_ind_wobble", "val_ood_wobble", "val_wobble"],
    ],
)
def test_the_lines_of_a_chart_are_distinct(names: list[str]) -> None:
    assert len(set(roles_of_lines(names))) == len(names)


def test_a_line_keeps_its_metrics_colour_where_no_other_has_it() -> None:
    names = [f"l1_loss_action_{slot}" for slot in range(5, 10)]
    assert list(roles_of_lines(names)) == [role_of_metric(name) for name in names]

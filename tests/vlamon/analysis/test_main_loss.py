"""One rule says which names are losses, and which of them is the main one."""

from __future__ import annotations

import pytest

from vlamon.analysis.main_loss import is_loss, is_trained_loss, main_loss


@pytest.mark.parametrize(
    "name",
    ["closs", "loss", "Loss", "lm loss", "train/box_loss", "loss_ct", "z_loss", "actor/pg_loss"],
)
def test_a_loss_is_known_by_its_name(name: str) -> None:
    assert is_trained_loss(name)


@pytest.mark.parametrize(
    "name",
    [
        "initial_loss_scale",
        "loss_scale",
        "loss_weight",
        "loss_ct_weights",
        "router_aux_loss_coef",
        "actor_rollout_ref.actor.kl_loss_coef",
        "loss_time",
        "lr",
        "grad_norm",
        "tokens_per_second",
        "memory",
        "glossary",
    ],
)
def test_a_setting_a_timing_or_a_counter_is_no_loss(name: str) -> None:
    assert not is_loss(name)
    assert main_loss([name]) is None


def test_a_held_out_loss_stands_in_only_where_there_is_no_other() -> None:
    assert is_loss("val_loss")
    assert not is_trained_loss("val_loss")
    assert main_loss(["val_loss", "aux_loss"]) == "aux_loss"
    assert main_loss(["lr", "val_loss"]) == "val_loss"


def test_a_nested_loss_goes_before_a_loss_of_a_part() -> None:
    assert main_loss(["train/box_loss", "train/loss"]) == "train/loss"

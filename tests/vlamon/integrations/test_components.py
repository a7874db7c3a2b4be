"""Losses out of whatever a model returns."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from vlamon.integrations.components import components
from vlamon.integrations.micro_batches import MicroBatches


@dataclass
class Output:
    loss: torch.Tensor
    action_loss: torch.Tensor
    logits: torch.Tensor


def test_scalars_of_dicts_dataclasses_and_tuples_are_found() -> None:
    loss, logits = torch.tensor(1.5), torch.zeros(4, 3)
    assert components({"loss": loss, "parts": {"kl": 0.5}, "logits": logits}) == {
        "loss": 1.5,
        "parts/kl": 0.5,
    }
    assert components(Output(loss, torch.tensor([2.0]), logits)) == {
        "loss": 1.5,
        "action_loss": 2.0,
    }
    named = namedtuple("named", ("loss", "logits"))
    assert components(named(loss, logits)) == {"loss": 1.5}
    assert components((loss, {"l1_loss": 0.25})) == {"loss": 1.5, "l1_loss": 0.25}
    assert components(loss) == {"loss": 1.5}
    assert components("nothing") == {}


def test_a_list_is_kept_where_it_is_a_loss_per_dimension() -> None:
    output = {"loss_per_dim": torch.tensor([1.0, 2.0]), "tokens": torch.tensor([1.0, 2.0])}
    assert components(output) == {"loss_per_dim": [1.0, 2.0]}


def test_a_loss_scaled_in_place_afterwards_keeps_its_value() -> None:
    loss = torch.tensor(3.0)
    found = components({"loss": loss})
    loss /= 3
    assert found == {"loss": 3.0}


def test_means_count_only_the_micro_batches_that_have_the_value() -> None:
    micro = MicroBatches()
    micro.add({"closs": 1.0, "dims": [1.0, 3.0]})
    micro.add({"closs": 3.0, "loss_ct": 0.5, "dims": [3.0, 5.0]})
    micro.add({"total": 0.25}, shares=True)
    micro.add({"total": 0.5}, shares=True)
    row = micro.take()
    assert row == {"closs": 2.0, "loss_ct": 0.5, "dims": [2.0, 4.0], "total": 0.75}
    assert micro.take() == {}


@pytest.mark.parametrize("value", [True, "text", None, torch.tensor(1 + 2j)])
def test_what_is_not_a_number_is_not_a_component(value: object) -> None:
    assert components({"loss": value}) == {}

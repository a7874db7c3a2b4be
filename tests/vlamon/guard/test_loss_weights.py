"""Which weights are in force, and which of them an operator may change."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlamon.guard.toy import Emitter, Order
from vlamon.guard import Guard
from vlamon.guard.loss_weights import LossWeights


class Told(Emitter):
    def set_weights(self, weights: Any) -> None:
        self.weights = dict(weights)


def test_a_weight_in_a_mutable_mapping_is_set_by_its_name() -> None:
    weights = {"closs": 1.0, "loss_ct": 10.0}
    model, emitter = nn.Linear(2, 1), Told()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer, emitter=emitter, weights=weights)  # type: ignore[arg-type]
    guard.start()
    order = Order("set", {"name": "loss_ct", "value": 5.0})
    emitter.orders.append(order)
    guard.after_step(0, closs=1.0)
    assert order.result == {"name": "loss_ct", "before": 10.0, "value": 5.0}
    assert weights == {"closs": 1.0, "loss_ct": 5.0}
    assert emitter.weights == weights


def test_a_setter_of_the_script_comes_before_the_mapping() -> None:
    heard: list[float] = []
    model, emitter = nn.Linear(2, 1), Told()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    weights = {"closs": 1.0}
    guard = Guard(
        model, optimizer, emitter=emitter, weights=weights, settable={"closs": heard.append}  # type: ignore[arg-type]
    )  # fmt: skip
    guard.start()
    emitter.orders.append(Order("set", {"name": "closs", "value": 2.0}))
    guard.after_step(0, closs=1.0)
    assert heard == [2.0]
    assert weights == {"closs": 1.0}


@pytest.mark.parametrize("given", [None, MappingProxyType({"closs": 1.0}), lambda: {"closs": 1.0}])
def test_weights_that_a_script_does_not_read_back_are_not_offered(given: Any) -> None:
    emitter = Told()
    emitter.weights = {"closs": 1.0}
    assert LossWeights(given, emitter).settable() == {}  # type: ignore[arg-type]
    assert LossWeights(given, emitter)() == {"closs": 1.0}  # type: ignore[arg-type]

"""The reduction by name, without a second process."""

from __future__ import annotations

import pytest
import torch

from trainer import distributed
from trainer.distributed import Ranks, Reducer


def test_one_rank_reports_its_values_as_they_are() -> None:
    values = {"closs": torch.tensor(2.0), "loss_ct": torch.tensor(0.1)}
    alone = Ranks(0, 1, torch.device("cpu"))
    assert Reducer(alone, ["closs"])(values) == values


def test_metrics_are_reduced_by_name_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 1's first batch has no action: in order of insertion its closs would meet loss_ct."""
    packed: list[torch.Tensor] = []
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor: packed.append(tensor))
    names = ["loss_ct", "acc_image_9", "closs"]
    cpu = torch.device("cpu")
    zero = Reducer(Ranks(0, 2, cpu), names)
    one = Reducer(Ranks(1, 2, cpu), names)
    zero({"loss_ct": torch.tensor(0.4), "closs": torch.tensor(9.0)})
    one({"acc_image_9": torch.tensor(0.5), "closs": torch.tensor(7.0)})
    total = packed[0] + packed[1]
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor: tensor.copy_(total))
    reduced = zero({"loss_ct": torch.tensor(0.4), "closs": torch.tensor(9.0)})
    assert {name: round(float(v), 6) for name, v in reduced.items()} == {
        "loss_ct": 0.4,
        "closs": 8.0,
        "acc_image_9": 0.5,
        "closs_rank1": 7.0,
    }


def test_a_mean_counts_micro_batches_and_a_rank_without_closs_sends_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed: list[torch.Tensor] = []
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor: packed.append(tensor))
    cpu, names = torch.device("cpu"), ["loss_ct", "closs"]
    zero, one = (Reducer(Ranks(rank, 2, cpu), names) for rank in range(2))
    mine = {"loss_ct": torch.tensor(0.4)}
    zero.pool(mine, {"loss_ct": 2}, 2)
    one.pool({"loss_ct": torch.tensor(0.1)}, {"loss_ct": 1}, 2)
    total = packed[0] + packed[1]
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor: tensor.copy_(total))
    found = zero.pool(mine, {"loss_ct": 2}, 2)
    assert {name: round(float(v), 6) for name, v in found.values.items()} == {"loss_ct": 0.3}
    assert found.shares == {"loss_ct": 0.75}


def test_a_metric_that_was_not_announced_is_an_error_not_a_wrong_sum() -> None:
    with pytest.raises(KeyError, match="surprise"):
        Reducer(Ranks(0, 2, torch.device("cpu")), ["closs"])({"surprise": torch.tensor(1.0)})

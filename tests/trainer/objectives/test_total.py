"""The total is Σ weight · loss over what the batch has."""

import pytest
import torch

from tests.trainer.rows import mixed_batch
from trainer.model.config import SIZES
from trainer.model.vla import VLA
from trainer.objectives import ObjectiveError, Objectives


@pytest.fixture(scope="module")
def model() -> VLA:
    torch.manual_seed(0)
    return VLA(SIZES["micro"])


def test_the_total_follows_the_formula(model: VLA) -> None:
    losses = Objectives()(model(mixed_batch()))
    by_hand = losses.values["closs"] + 10 * losses.values["loss_ct"]
    by_hand = by_hand + 1e-5 * losses.values["z_loss"]
    torch.testing.assert_close(losses.total, by_hand)


def test_a_batch_without_actions_has_no_loss_ct(model: VLA) -> None:
    losses = Objectives()(model(mixed_batch(policy=0, world=2)))
    assert set(losses.values) == {"closs", "z_loss"}


def test_z_loss_is_absent_at_weight_zero(model: VLA) -> None:
    losses = Objectives({"z_loss": 0.0})(model(mixed_batch()))
    assert "z_loss" not in losses.values
    assert "z_loss" not in losses.weights


def test_a_weight_can_be_set_by_either_name() -> None:
    objectives = Objectives()
    assert objectives.set("loss_ct_weight", "5") == 10.0
    objectives.set("loss_ct", 4)
    assert objectives.weights["loss_ct"] == 4.0


@pytest.mark.parametrize(("name", "value"), [("los_ct_weight", 5), ("loss_ct_weight", "nan")])
def test_a_wrong_name_or_value_is_refused_with_a_sentence(name: str, value: object) -> None:
    with pytest.raises(ObjectiveError, match=r"no weight is called|must be a finite number"):
        Objectives().set(name, value)


def test_what_differs_from_the_terms_own_weights_is_written_as_a_person_would() -> None:
    assert Objectives().differing() == {}
    stated = {"loss_ct": 5.0, "z_loss": "0:0.5,100:1", "closs": 1.0}
    assert Objectives(stated).differing() == {"loss_ct": 5.0, "z_loss": "0:0.5,100:1.0"}


@pytest.mark.parametrize(("weighting", "reads"), [("fixed", 0), ("running_scale", 1)])
def test_values_are_read_back_only_where_the_weighting_needs_them(
    weighting: str, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []
    objectives = Objectives(weighting=weighting)

    def item(value: torch.Tensor) -> float:
        read.append(2.0)
        return 2.0

    monkeypatch.setattr(torch.Tensor, "item", item)
    objectives.advance({"closs": torch.tensor(2.0)})
    assert len(read) == reads

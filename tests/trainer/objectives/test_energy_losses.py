"""The energy models and their losses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from trainer.model.energy import EnergyConfig, ReferenceEnergyModel, SimpleEnergyModel
from trainer.objectives.energy_losses import (
    EnergyInputs,
    layer_hinge,
    reference_hinge,
    swap_infonce,
)


def model() -> SimpleEnergyModel:
    torch.manual_seed(0)
    return SimpleEnergyModel(24, EnergyConfig(width=16, heads=2))


def inputs(rows: int = 4, layers: int = 3) -> EnergyInputs:
    torch.manual_seed(1)
    return EnergyInputs(
        states=torch.randn(rows, 9, 24),
        lengths=torch.tensor([9, 7, 5, 3][:rows]),
        actions=torch.rand(rows, 5, 7) * 2 - 1,
        valid=torch.ones(rows, 5, dtype=torch.bool),
        negatives=torch.rand(rows, layers, 5, 7) * 2 - 1,
    )


def energies(energy: nn.Module, given: EnergyInputs) -> Tensor:
    chunks = given.actions.unsqueeze(0).expand(len(given.actions), -1, -1, -1)
    valid = given.valid.unsqueeze(0).expand(len(given.actions), -1, -1)
    result: Tensor = energy(given.states, given.lengths, chunks, valid)
    return result


def test_an_energy_lies_between_a_tenth_and_two_point_one() -> None:
    given = inputs()
    result = energies(model(), replace(given, states=given.states * 1e3))
    assert ((result >= 0.1) & (result <= 2.1)).all()


def test_padding_of_the_states_and_absent_steps_do_not_count() -> None:
    energy, given = model(), inputs()
    spoiled = given.states.clone()
    spoiled[1, 7:] = 50.0
    torch.testing.assert_close(
        energies(energy, replace(given, states=spoiled)), energies(energy, given)
    )
    valid = given.valid.clone()
    valid[:, 3:] = False
    short = replace(given, valid=valid)
    actions = given.actions.clone()
    actions[:, 3:] = 9.0
    torch.testing.assert_close(
        energies(energy, replace(short, actions=actions)), energies(energy, short)
    )


def test_swap_is_cross_entropy_over_all_pairs() -> None:
    energy, given = model(), inputs()
    pairs = energies(energy, given)
    expected = torch.nn.functional.cross_entropy(-pairs / 0.5, torch.arange(4))
    found = swap_infonce(energy, given)
    assert found is not None
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.positive, pairs.diagonal().mean())
    off = pairs[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(found.negative, off.mean())


def test_collapse_reads_ln_b_with_equal_energies() -> None:
    energy, given = model(), inputs()
    torch.nn.init.zeros_(energy.step_head[-1].weight)  # type: ignore[arg-type]
    found = swap_infonce(energy, given)
    assert found is not None
    assert float(found.loss.detach()) == pytest.approx(math.log(4))
    assert float(found.positive) == pytest.approx(float(found.negative))
    assert float(found.accuracy) == 0.0


def test_hinge_follows_its_formula() -> None:
    energy, given = model(), inputs()
    assert given.negatives is not None
    found = layer_hinge(energy, given)
    assert found is not None
    total = 0.0
    for row in range(4):
        for layer in range(3):
            pair = torch.stack((given.actions[row], given.negatives[row, layer]))[None]
            valid = torch.ones(1, 2, 5, dtype=torch.bool)
            both = energy(given.states[row : row + 1], given.lengths[row : row + 1], pair, valid)
            apart = (given.negatives[row, layer] - given.actions[row]).norm(dim=-1).mean()
            total += float(torch.relu(1 + 0.6 * apart + both[0, 0] - both[0, 1]).detach())
    assert float(found.loss.detach()) == pytest.approx(total / 12, rel=1e-5)


def reference(dropout: float = 0.2) -> ReferenceEnergyModel:
    torch.manual_seed(0)
    return ReferenceEnergyModel(24, EnergyConfig(width=16, heads=2, dropout=dropout))


def test_the_reference_s_energy_model_has_2_94_million_parameters() -> None:
    found = ReferenceEnergyModel(64, EnergyConfig())
    assert round(sum(p.numel() for p in found.parameters()) / 1e6, 2) == 2.94


def test_the_reference_s_energy_knows_the_order_of_the_steps_and_the_simple_one_does_not() -> None:
    given = inputs()
    turned = replace(given, actions=given.actions.flip(1))
    for energy, knows in ((reference().eval(), True), (model(), False)):
        one, other = (energies(energy, each).diagonal() for each in (given, turned))
        assert torch.allclose(one, other, atol=1e-6) is not knows


def test_the_reference_s_energy_is_its_parts_written_out() -> None:
    energy, given = reference().eval(), inputs(rows=1)
    position = torch.arange(5.0)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
    encoding = torch.zeros(5, 16)
    encoding[:, 0::2], encoding[:, 1::2] = position.sin(), position.cos()
    context = energy.state_linear(given.states)
    query = energy.action_linear(given.actions) + encoding
    mixed, _ = energy.cross(query, context, context)
    per_step = 2 * torch.sigmoid(0.5 * energy.prediction_head(mixed)) + 0.1
    torch.testing.assert_close(energies(energy, given)[0, 0], per_step.mean())


def test_padding_of_the_reference_s_states_does_not_count() -> None:
    energy, given = reference().eval(), inputs()
    spoiled = given.states.clone()
    spoiled[1, 7:] = 50.0
    torch.testing.assert_close(
        energies(energy, replace(given, states=spoiled)), energies(energy, given)
    )


def test_the_reference_s_hinge_follows_its_formula() -> None:
    energy, given = reference(dropout=0.0), inputs()
    assert given.negatives is not None
    found = reference_hinge(energy, given)
    assert found is not None
    hinge, held = 0.0, 0.0
    for row in range(4):
        one = slice(row, row + 1)
        state, length = given.states[one], given.lengths[one]
        whole = torch.ones(1, 1, 5, dtype=torch.bool)
        positive = float(energy(state, length, given.actions[one, None], whole).detach())
        held += 0.02 * (positive - 1) ** 2 / 4
        for layer in range(3):
            chunk = given.negatives[row, layer]
            negative = float(energy(state, length, chunk[None, None], whole).detach())
            apart = float((chunk - given.actions[row]).square().sum().sqrt())  # the whole chunk
            hinge += max(0.0, 1 + 0.6 * apart + positive - negative) / 12
    assert float(found.loss.detach()) == pytest.approx(hinge + held, rel=1e-5)


def test_the_reference_s_hinge_trains_the_positive_energy_by_its_own_term_alone() -> None:
    energy, given = reference(dropout=0.0), inputs()
    positives: list[Tensor] = []
    hook = energy.register_forward_hook(lambda _, args, out: positives.append(out))
    found = reference_hinge(energy, given)
    hook.remove()
    assert found is not None
    (slope,) = torch.autograd.grad(found.loss, positives[0])
    torch.testing.assert_close(slope, 0.02 * 2 * (positives[0].detach() - 1) / 4)


def test_the_reference_s_negatives_see_no_dropout_and_modes_come_back() -> None:
    energy, given = reference(dropout=0.9), inputs()
    assert given.negatives is not None
    seen: list[Tensor] = []
    hook = energy.register_forward_hook(lambda _, args, out: seen.append(out.detach()))
    for _ in range(2):
        reference_hinge(energy, given)
    hook.remove()
    first, again = seen[:2], seen[2:]
    assert not torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert all(part.training for part in energy.modules())


def test_what_cannot_be_compared_gives_no_loss() -> None:
    assert swap_infonce(model(), inputs(rows=1)) is None
    assert layer_hinge(model(), replace(inputs(), negatives=None)) is None
    assert reference_hinge(reference(), replace(inputs(), negatives=None)) is None


@pytest.mark.parametrize("loss", [swap_infonce, layer_hinge])
def test_both_losses_pass_a_numeric_gradient_check(loss: object) -> None:
    energy, given = model().double(), inputs()
    given = replace(
        given,
        states=given.states.double(),
        actions=given.actions.double(),
        negatives=None if given.negatives is None else given.negatives.double(),
    )
    parameter = energy.state_mlp[0].weight
    assert isinstance(parameter, Tensor)

    def value(weight: Tensor) -> Tensor:
        with torch.no_grad():
            parameter.copy_(weight)
        found = loss(energy, given)  # type: ignore[operator]
        result: Tensor = found.loss
        return result

    start = parameter.detach().clone()
    (slope,) = torch.autograd.grad(value(start), parameter)
    direction = torch.randn_like(start)
    numeric = (value(start + 1e-6 * direction) - value(start - 1e-6 * direction)) / 2e-6
    assert float((slope * direction).sum()) == pytest.approx(float(numeric.detach()), rel=5e-3)


def test_training_separates_true_pairs_from_swapped_ones() -> None:
    energy, given = model(), inputs()
    optimizer = torch.optim.Adam(energy.parameters(), 3e-3)
    for _ in range(120):
        found = swap_infonce(energy, given)
        assert found is not None
        optimizer.zero_grad()
        found.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(found.accuracy) > 0.9
    assert float(found.positive) < float(found.negative) - 0.3


class Table(nn.Module):
    """Energies as a test says, whatever the states and chunks."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.energies = torch.tensor(rows)

    def forward(self, *given: Tensor) -> Tensor:
        return self.energies


def test_swapped_chunks_are_told_apart_by_their_energies() -> None:
    table = Table([1.0, 2.0, 0.5], [3.0, 1.5, 4.0], [0.0, 2.5, 2.0])
    found = swap_infonce(table, inputs(rows=3))
    assert found is not None
    assert float(found.positive) == pytest.approx(4.5 / 3)
    assert float(found.negative) == pytest.approx(12.0 / 6)
    assert float(found.accuracy) == pytest.approx(4 / 6)
    chances = (-table.energies / 0.5).log_softmax(-1).diagonal()
    assert float(found.loss) == pytest.approx(float(-chances.mean()))


def test_two_rows_can_be_swapped_and_one_cannot() -> None:
    assert swap_infonce(Table([1.0, 2.0], [2.0, 1.0]), inputs(rows=2)) is not None
    assert swap_infonce(Table([1.0]), inputs(rows=1)) is None

"""The sliced projection gives what full logits give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.model import label_projection
from trainer.model.label_projection import project_labels


def naive(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logits = hidden @ weight.t()
    return logits.logsumexp(-1), logits.gather(1, targets[:, None])[:, 0], logits.argmax(-1)


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor, Tensor]:
    monkeypatch.setattr(label_projection, "SLICE_ELEMENTS", 1)  # 128 wide: several slices
    torch.manual_seed(0)
    hidden = torch.randn(17, 24, requires_grad=True)
    weight = torch.randn(700, 24, requires_grad=True)
    return hidden, weight, torch.randint(0, 700, (17,))


def test_values_and_gradients_equal_the_naive_form(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, weight, targets = inputs
    sliced = project_labels(hidden, weight, targets)
    plain = naive(hidden, weight, targets)
    torch.testing.assert_close(sliced.logsumexp, plain[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sliced.target_logit, plain[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(sliced.argmax, plain[2])

    upstream = torch.randn(2, 17)
    ours = torch.autograd.grad(
        (upstream[0] * sliced.logsumexp + upstream[1] * sliced.target_logit).sum(),
        (hidden, weight),
    )
    theirs = torch.autograd.grad(
        (upstream[0] * plain[0] + upstream[1] * plain[1]).sum(), (hidden, weight)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_the_gradient_passes_a_numeric_check(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, weight, targets = inputs
    direction = torch.randn_like(hidden)

    def value(scale: float) -> Tensor:
        statistics = project_labels(hidden + scale * direction, weight, targets)
        return (statistics.logsumexp.square() - statistics.target_logit).double().sum()

    (slope,) = torch.autograd.grad(value(0.0), hidden)
    numeric = (value(1e-2) - value(-1e-2)) / 2e-2
    assert (slope * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-3)


def test_no_position_gives_empty_statistics() -> None:
    empty = project_labels(torch.zeros(0, 4), torch.zeros(10, 4), torch.zeros(0, dtype=torch.long))
    assert empty.logsumexp.shape == (0,)


def test_an_infinite_hidden_state_is_not_hidden() -> None:
    hidden = torch.tensor([[torch.inf, 1.0], [1.0, 1.0]])
    statistics = project_labels(hidden, torch.randn(300, 2), torch.tensor([0, 1]))
    assert not torch.isfinite(statistics.logsumexp[0])
    assert torch.isfinite(statistics.logsumexp[1])

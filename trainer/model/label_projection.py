"""From hidden states to what the losses need of the logits, without ever holding the logits.

Cross-entropy, z-loss and token accuracy need three numbers a position: the logsumexp over the
vocabulary, the logit of the target, and the argmax. One pass over slices of the vocabulary gives
all three; the backward pass recomputes each slice. Peak memory is one slice, whatever N · V is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SLICE_ELEMENTS = 1 << 19
"""Logits held at once: 2 MiB in fp32, which stays in a CPU's cache between matmul and exp."""
SLICE_ELEMENTS_CUDA = 1 << 26


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """Per label-valid position, in row order."""

    logsumexp: Tensor
    """[N] log-normaliser, fp32."""
    target_logit: Tensor
    """[N] logit of the target, fp32."""
    argmax: Tensor
    """[N] most likely token; the lowest id among equals."""
    targets: Tensor
    """[N] the labels."""


@torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
def project_labels(hidden: Tensor, weight: Tensor, targets: Tensor) -> TokenStatistics:
    """Statistics of `hidden @ weight.T` [N, V] at the targets [N].

    Left out of torch.compile: it would unroll the slices and recompile for every N.
    """
    apply: Any = _LabelProjection.apply
    logsumexp, target_logit, argmax = apply(hidden, weight, targets)
    return TokenStatistics(logsumexp, target_logit, argmax, targets)


def _slices(rows: int, vocab: int, device: torch.device) -> list[tuple[int, int]]:
    budget = SLICE_ELEMENTS if device.type == "cpu" else SLICE_ELEMENTS_CUDA
    width = max(128, budget // max(rows, 1))
    return [(start, min(start + width, vocab)) for start in range(0, vocab, width)]


class _LabelProjection(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, vocab = hidden.shape[0], weight.shape[0]
        if torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        summed = torch.zeros(rows, dtype=torch.float32, device=hidden.device)
        largest = torch.full_like(summed, -torch.inf)
        target_logit = torch.zeros_like(summed)
        argmax = torch.zeros_like(targets)
        for start, stop in _slices(rows, vocab, hidden.device):
            logits = (hidden @ weight[start:stop].to(hidden.dtype).t()).float()
            best, where = logits.max(dim=1)
            argmax = torch.where(best > largest, where + start, argmax)
            inside = (targets >= start) & (targets < stop)
            local = (targets - start).clamp(0, stop - start - 1)
            picked = logits.gather(1, local.unsqueeze(1)).squeeze(1)
            target_logit = torch.where(inside, picked, target_logit)
            higher = torch.maximum(largest, best)
            # An infinite maximum has to give an infinite or NaN loss, as the naive form does.
            logits.sub_(higher.unsqueeze(1)).exp_()
            summed = summed * torch.exp(largest - higher) + logits.sum(dim=1)
            largest = higher
        logsumexp = largest + torch.log(summed)
        ctx.save_for_backward(hidden, weight, targets, logsumexp)
        ctx.mark_non_differentiable(argmax)
        return logsumexp, target_logit, argmax

    @staticmethod
    def backward(
        ctx: Any, grad_logsumexp: Tensor, grad_target: Tensor, _: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets, logsumexp = ctx.saved_tensors
        rows, vocab = hidden.shape[0], weight.shape[0]
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
        grad_weight = torch.empty_like(weight) if wants_weight else None
        rows_of = torch.arange(rows, device=hidden.device)
        for start, stop in _slices(rows, vocab, hidden.device):
            piece = weight[start:stop].to(hidden.dtype)
            grad = (hidden @ piece.t()).float()
            grad.sub_(logsumexp.unsqueeze(1)).exp_().mul_(grad_logsumexp.unsqueeze(1))
            inside = (targets >= start) & (targets < stop)
            local = (targets - start).clamp(0, stop - start - 1)
            grad.index_put_(
                (rows_of, local), torch.where(inside, grad_target, 0.0), accumulate=True
            )
            grad = grad.to(hidden.dtype)
            if wants_hidden:
                grad_hidden += grad @ piece
            if grad_weight is not None:
                grad_weight[start:stop] = grad.t() @ hidden
        return grad_hidden.to(hidden.dtype) if wants_hidden else None, grad_weight, None

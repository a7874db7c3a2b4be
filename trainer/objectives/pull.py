"""What really moves the shared trunk: the gradient of each weighted term on one shared weight.

The weight is the last layer's down_proj. Its input and the stream that its output is added to are
kept by the forward pass, so everything after it (final norm and heads) is redone from detached
tensors, and no gradient runs through the trunk a second time. Not at the hidden state: there closs
sits on label positions and loss_ct on prompt positions, and their cosine is 0 by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.model.chameleon import DecoderLayer
from trainer.model.vla import VLA, Outputs
from trainer.objectives.total import Objectives

DEFAULT_EVERY = 100
"""Steps between two measurements: under 1 % of the training's time (docs/objectives.md)."""


@dataclass(frozen=True, slots=True)
class Pull:
    """Gradients of the weighted terms, compared."""

    norms: Mapping[str, Tensor]
    """‖∂(λᵢLᵢ)/∂W‖ by term."""
    shares: Mapping[str, Tensor]
    """Each norm over the sum of all."""
    cosines: Mapping[tuple[str, str], Tensor]
    """Cosine between the gradients of two terms; negative where they undo each other."""
    weights: Mapping[str, float]
    """The λᵢ that were in force."""

    def metrics(self) -> dict[str, Tensor]:
        """For the wire: `pull_<term>` and `conflict_<term>_<term>`."""
        return {
            **{f"pull_{name}": share for name, share in self.shares.items()},
            **{f"conflict_{a}_{b}": cosine for (a, b), cosine in self.cosines.items()},
        }

    def unweighted_norms(self) -> dict[str, float]:
        """‖∂Lᵢ/∂W‖, what GradNorm steers by; reads the device."""
        return {name: float(norm) / self.weights[name] for name, norm in self.norms.items()}


def measure_pull(
    model: VLA,
    outputs: Outputs,
    objectives: Objectives,
    weights: Mapping[str, float] | None = None,
) -> Pull:
    """The pull of each term on a batch whose forward ran with `trace=True`.

    Draws nothing: the heads' dropout repeats the forward's, and the generators are left as found.
    """
    gradients: dict[str, Tensor] = {}
    weights = objectives.weights if weights is None else weights
    last = outputs.decoded.last_mlp
    last_layer = cast(DecoderLayer, model.model.layers[-1])
    weight = last_layer.mlp.down_proj.weight.detach().requires_grad_()
    with torch.enable_grad(), _repeated(outputs.head_rng, outputs.hidden.device):
        added = F.linear(last.activation.detach(), weight)
        if last.keep is not None:
            added = added * last.keep
        hidden = model.model.norm(last.residual.detach() + added)
        again = model.heads(outputs.batch, outputs.decoded, hidden, frozen=True)
        for name in weights:
            value = objectives.terms[name].loss(again)
            if value is None or not value.requires_grad:
                continue
            (gradient,) = torch.autograd.grad(
                weights[name] * value, weight, retain_graph=True, allow_unused=True
            )
            if gradient is not None:
                gradients[name] = gradient.detach().float()
    norms = {name: gradient.norm() for name, gradient in gradients.items()}
    if not norms:
        return Pull({}, {}, {}, weights)
    summed = torch.stack(list(norms.values())).sum().clamp(min=1e-30)
    cosines = {
        (a, b): (gradients[a] * gradients[b]).sum() / (norms[a] * norms[b]).clamp(min=1e-30)
        for a, b in combinations(gradients, 2)
    }
    return Pull(norms, {name: norm / summed for name, norm in norms.items()}, cosines, weights)


@contextmanager
def _repeated(state: Tensor | None, device: torch.device) -> Iterator[None]:
    """The random numbers of the heads once more; afterwards the generator is as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if state is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        elif state is not None:
            torch.set_rng_state(state)
        yield

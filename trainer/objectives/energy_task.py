"""Training of the energy model beside a policy: inputs, loss, its own optimizer and clipping.

The loop calls it at three places of a step, under any coupling:

    if energy.policy_turn(step):
        outputs = model(batch, keep_layers=energy.keep_layers)
        outputs = energy.before_update(outputs, step)   # what `joint` trains on is taken here
        ...                                         # objectives, backward, clip, optimizer.step
        energy.policy_updated()
    metrics = energy.update(batch, step)            # energy, energy_positive, energy_negative, ...

But for `entangled`, no gradient ever leaves the energy model: all its inputs are detached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.evaluation_mode import evaluating
from trainer.model.batch import Batch
from trainer.model.energy import EnergyConfig, ReferenceEnergyModel, SimpleEnergyModel
from trainer.model.vla import VLA, Outputs
from trainer.objectives.coupling import Coupling
from trainer.objectives.energy_losses import (
    EnergyInputs,
    EnergyLoss,
    layer_hinge,
    reference_hinge,
    swap_infonce,
)


@dataclass(frozen=True, slots=True)
class EnergyKind:
    """An energy model and the loss that trains it."""

    model: Callable[[int, EnergyConfig], nn.Module]
    """Builds the model for a width of hidden states."""
    loss: Callable[[nn.Module, EnergyInputs], EnergyLoss | None]
    """What trains it."""
    layer_actions: bool
    """Whether the loss compares with layer actions."""
    chosen_layers: bool = False
    """Whether those are of chosen layers, whose states are taken as they are; else of all layers,
    each normed like the last."""


KINDS: dict[str, EnergyKind] = {
    "reference": EnergyKind(ReferenceEnergyModel, reference_hinge, True, chosen_layers=True),
    "reference_swap": EnergyKind(ReferenceEnergyModel, swap_infonce, False),
    "hinge": EnergyKind(SimpleEnergyModel, layer_hinge, True),
    "swap": EnergyKind(SimpleEnergyModel, swap_infonce, False),
}
"""By the name in `objectives.energy`."""
DEFAULT_LAYERS = (1,)
"""The found code's `layer_actions[1]`."""


class EnergyTask:
    """An energy model in training, coupled to a policy in a named way."""

    def __init__(
        self,
        policy: VLA,
        model: nn.Module,
        coupling: Coupling,
        *,
        kind: str = "hinge",
        layers: Sequence[int] = DEFAULT_LAYERS,
        learning_rate: float = 1e-4,
        weight: Callable[[], float] | None = None,
        clip_grad: float = 1.0,
    ) -> None:
        """`weight` is asked at each step, so that a weight set live is followed; the coupling's
        factor is in it, and is all of it by default. `layers` are those of a kind that chooses."""
        self.policy, self.model, self.coupling = policy, model, coupling
        self.kind = KINDS[kind]
        self.layers = tuple(layers)
        self.weight = weight or (lambda: coupling.weights()[1])
        self.clip_grad = clip_grad
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
        self._pending: EnergyInputs | None = None
        self._entangled: EnergyLoss | None = None
        coupling.prepare(policy)

    @property
    def keep_layers(self) -> bool:
        """Whether the policy's forward has to keep its layers."""
        return self.kind.layer_actions and self.coupling.inputs() == "before"

    def policy_turn(self, step: int) -> bool:
        """Whether the policy is to be updated at this step."""
        return self.coupling.policy_turn(step)

    def factors(self) -> tuple[float, float]:
        """What the coupling multiplies the weights of the policy's and of the energy loss by."""
        return self.coupling.weights()

    def before_update(self, outputs: Outputs, step: int) -> Outputs:
        """Take the inputs from the policy's own forward, where the coupling needs them.

        Returns the outputs for the objectives; a coupling that entangles has put the energy loss
        in, so that it is weighted and summed like any term.
        """
        if self.coupling.inputs() != "before" or not self._trains(step):
            return outputs
        self._pending = self._inputs(outputs, self._head(step))
        if self._pending is None or not self.coupling.entangled():
            return outputs
        layout = outputs.batch.layout
        attached = outputs.hidden[layout.policy_rows, : layout.longest_prefix]
        self.optimizer.zero_grad(set_to_none=True)
        self._entangled = self._loss(replace(self._pending, states=attached))
        return outputs if self._entangled is None else replace(outputs, energy=self._entangled.loss)

    def policy_updated(self) -> None:
        """To be called after each update of the policy."""
        self.coupling.policy_updated(self.policy)

    def update(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One update of the energy model, where it is its turn; its metrics."""
        pending, self._pending = self._pending, None
        if not self._trains(step):
            return {}
        return self._step(pending if pending is not None else self._fresh_inputs(batch, step))

    def observe(self, policy: float | None, energy: float | None) -> None:
        """Take the losses of a step, reduced over the ranks, so that all ranks weigh alike."""
        self.coupling.observe(policy, energy)

    def _trains(self, step: int) -> bool:
        """Whether the energy model is updated: at its turns, and not while its weight is 0."""
        return self.coupling.energy_turn(step) and self.weight() > 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact resume of the energy side needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "coupling": self.coupling.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # the configuration's, as the policy's rate is
            group["lr"] = self.learning_rate
        self.coupling.load_state_dict(state["coupling"])

    def _loss(self, inputs: EnergyInputs) -> EnergyLoss | None:
        return self.kind.loss(self.model, inputs)

    def _scaled(self, result: EnergyLoss) -> Tensor:
        return self.weight() * result.loss

    def _step(self, inputs: EnergyInputs | None) -> dict[str, Tensor]:
        result, self._entangled = self._entangled, None
        if result is None:  # else the policy's backward has left the gradients here
            self.optimizer.zero_grad(set_to_none=True)
            result = None if inputs is None else self._loss(inputs)
            if result is not None:
                torch.autograd.backward(self._scaled(result))
        if not average_gradients(self.model, has_loss=result is not None):
            return {}
        limit = self.clip_grad or math.inf  # 0 is no clipping; the norm is logged all the same
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if torch.isfinite(norm):
            self.optimizer.step()
        metrics = {"energy_grad_norm": norm.detach()}
        if result is not None:
            metrics["energy"] = result.loss.detach()
            metrics["energy_positive"] = result.positive
            metrics["energy_negative"] = result.negative
            metrics["energy_gap"] = result.negative - result.positive
            metrics["energy_acc"] = result.accuracy
        return metrics

    @torch.no_grad()
    def _fresh_inputs(self, batch: Batch, step: int) -> EnergyInputs | None:
        head = self._head(step)
        if not batch.layout.longest_prefix:
            return None
        with evaluating(*([self.policy] if self.coupling.quiet() else [])):
            outputs = self.policy(batch, keep_layers=self.kind.layer_actions, project=False)
        return self._inputs(outputs, head)

    @torch.no_grad()
    def _inputs(self, outputs: Outputs, head: nn.Module) -> EnergyInputs | None:
        layout = outputs.batch.layout
        if not layout.longest_prefix or not layout.actions.shape[1]:
            return None
        horizon = self.policy.config.head.horizon
        actions = _to_horizon(layout.actions, horizon)
        valid = _to_horizon(layout.action_valid.all(-1), horizon)
        negatives = None
        if self.kind.layer_actions:
            negatives = self.layer_actions(outputs, head)
        return EnergyInputs(
            states=outputs.hidden.detach()[layout.policy_rows, : layout.longest_prefix],
            lengths=layout.prefix_length,
            actions=actions,
            valid=valid,
            negatives=negatives,
        )

    def _head(self, step: int) -> nn.Module:
        """Head that makes the layer actions; called on every rank, even one without policy rows."""
        return self.coupling.cached(step, self.coupling.head(self.policy.action_head))

    def layer_actions(self, outputs: Outputs, head: nn.Module) -> Tensor:
        """[P, layers, horizon, 7]: the head on the hidden states of each layer that is compared."""
        layout = outputs.batch.layout
        found: list[Tensor] = []
        with evaluating(head):
            for states in self._compared_states(outputs):
                prefix = states.detach()[layout.policy_rows, : layout.longest_prefix]
                found.append(head(prefix, layout.prefix_length))
        return torch.stack(found, dim=1)

    def _compared_states(self, outputs: Outputs) -> list[Tensor]:
        layers = outputs.decoded.layers
        if not self.kind.chosen_layers:
            return [self.policy.model.norm(layer) for layer in layers]
        # As transformers counts: 0 is the embedding, and the last has been normed.
        states = (outputs.decoded.embedded, *layers[:-1], outputs.hidden)
        return [states[layer] for layer in self.layers]


def average_gradients(model: nn.Module, *, has_loss: bool) -> bool:
    """Averages gradients over the ranks that had a loss; False if none had.

    DistributedDataParallel would wait for ever on a rank whose batch has no policy row, and would
    divide by ranks that contributed nothing.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return has_loss
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads] + [grads[0].new_full((1,), has_loss)])
    dist.all_reduce(flat)
    contributed = flat[-1].item()
    if not contributed:
        return False
    flat /= contributed
    offset = 0
    for grad in grads:
        grad.copy_(flat[offset : offset + grad.numel()].view_as(grad))
        offset += grad.numel()
    return True


def _to_horizon(steps: Tensor, horizon: int) -> Tensor:
    """[P, horizon, …] with absent steps as zeros."""
    steps = steps[:, :horizon]
    if steps.shape[1] == horizon:
        return steps
    padded = steps.new_zeros((steps.shape[0], horizon, *steps.shape[2:]))
    padded[:, : steps.shape[1]] = steps
    return padded

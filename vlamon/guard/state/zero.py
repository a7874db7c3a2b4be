"""DeepSpeed's ZeRO: what this rank owns of a training that an engine has cut up.

Each rank steps its piece of every parameter group, flat and in fp32; the weights that the model
computes with are made of these pieces behind each step. So a snapshot holds the pieces and their
moments, not the weights, and a return makes the weights again as the engine itself does. What is
read here is where DeepSpeed 0.19 keeps it; an engine that lacks it is refused with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard import collectives
from vlamon.guard.state.owned import LiveTensors
from vlamon.guard.state.tree import ATOMS

_OF_ALL = ("averaged_gradients", "loss_scaler", "_update_scale", "optimizer")
_CUT_GRADIENTS = ("single_partition_of_fp32_groups", "bit16_groups", "update_lp_params")
_CUT_PARAMETERS = (
    "fp32_partitioned_groups_flat",
    "fp16_partitioned_groups_flat",
    "fp16_groups",
    "sub_group_to_group_id",
    "persistent_parameters",
    "_unflatten_partitioned_parameters",
    "_partition_all_parameters",
)
_COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")
_SCALER = ".scaler"


def is_engines(optimizer: object) -> bool:
    """Whether an optimizer is DeepSpeed's own, and none of torch's that it ships (FusedAdam)."""
    ours = type(optimizer).__module__.startswith("deepspeed.")
    return ours and not isinstance(optimizer, Optimizer)


def why_not(optimizer: Any) -> str:
    """Why the state of an engine's optimizer cannot be copied; empty where it can be."""
    cut = _CUT_PARAMETERS if hasattr(optimizer, _CUT_PARAMETERS[0]) else _CUT_GRADIENTS
    lacks = [name for name in (*_OF_ALL, *cut) if not hasattr(optimizer, name)]
    if lacks:
        return f"it has no {lacks[0]}, as ZeRO of DeepSpeed 0.19 has"
    for name in ("swap_optimizer", "params_in_nvme_and_cpu", "zenflow"):
        if getattr(optimizer, name, False):
            return f"a part of it lies elsewhere ({name})"
    return ""


class ZeroOptimizer(Optimizer):
    """The optimizer of a ZeRO engine as if it were torch's: its groups hold this rank's pieces."""

    def __init__(self, zero: Any, *, steps_in_backward: bool = False) -> None:
        """`steps_in_backward`: Accelerate's `backward` has made the update when it returns."""
        # Not Optimizer's: there is nothing to hook or to initialise.
        self.zero = zero
        self.steps_in_backward = steps_in_backward

    @property
    def optimizer(self) -> Optimizer:
        """The one inside, which steps the pieces."""
        inside: Optimizer = self.zero.optimizer
        return inside

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The moments by piece."""
        return self.optimizer.state

    @property
    def defaults(self) -> Any:  # type: ignore[override]
        """What groups begin with."""
        return self.optimizer.defaults

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        """The groups with their pieces; between two steps of stage 3 the live ones have none."""
        return [
            _Group(group, self.pieces(index))
            for index, group in enumerate(self.optimizer.param_groups)
        ]

    @property
    def cuts_parameters(self) -> bool:
        """Whether the parameters are in pieces too (stage 3)."""
        return hasattr(self.zero, _CUT_PARAMETERS[0])

    def pieces(self, group: int | None = None) -> list[torch.Tensor]:
        """The fp32 pieces that this rank steps, of one group or of all."""
        if not self.cuts_parameters:
            pieces = list(self.zero.single_partition_of_fp32_groups)
            return pieces if group is None else [pieces[group]]
        pieces, of = list(self.zero.fp32_partitioned_groups_flat), self.zero.sub_group_to_group_id
        return [piece for i, piece in enumerate(pieces) if group is None or of[i] == group]

    def state_dict(self) -> dict[str, Any]:
        """As torch's, over the pieces."""
        index = {id(piece): number for number, piece in enumerate(self.pieces())}
        return {
            "state": {index[id(p)]: dict(self.state[p]) for p in self.pieces() if p in self.state},
            "param_groups": [
                {**group, "params": [index[id(piece)] for piece in group["params"]]}
                for group in self.param_groups
            ],
        }

    def gradients(self) -> list[torch.Tensor]:
        """The gradients of this rank's pieces, once `backward` has reduced them."""
        averaged = [each for each in self.zero.averaged_gradients.values() if each is not None]
        if averaged:
            return [grad for group in averaged for grad in group if grad is not None]
        return [piece.grad for piece in self.pieces() if piece.grad is not None]  # offloaded

    def norm(self) -> torch.Tensor:
        """Norm over the gradients of all ranks, a collective; without the loss scale."""
        gradients, home = self.gradients(), self.pieces()[0].device
        total = torch.zeros((), device=home)
        if gradients:
            total = torch.nn.utils.get_total_norm(gradients).float().to(home)
        return collectives.summed(total.square()).sqrt() / float(self.zero.loss_scale)

    def pass_over(self, update: bool) -> None:
        """Whether the engine's next step leaves the weights alone, as after an overflow."""
        vars(self.zero).pop("_update_scale", None)  # the method that was hidden
        if not update or self.steps_in_backward:
            return
        zero = self.zero

        def overflown(has_overflow: bool = False) -> None:
            # Asked right before the engine looks at `overflow`. The scale is lowered for what
            # overflowed alone.
            vars(zero).pop("_update_scale", None)
            zero.overflow = True
            if has_overflow:
                zero._update_scale(True)

        zero._update_scale = overflown

    def renew_weights(self) -> None:
        """Make the weights from the pieces; called by all ranks."""
        zero = self.zero
        with torch.no_grad():
            if not self.cuts_parameters:
                zero.update_lp_params()
                zero._hp_optimizer_states_linked = False  # its moments may be other tensors
                return
            for index, piece in enumerate(zero.fp32_partitioned_groups_flat):
                zero.fp16_partitioned_groups_flat[index].data.copy_(piece.data)
                zero._unflatten_partitioned_parameters(index)
            zero._partition_all_parameters()
            if kept_whole := list(zero.persistent_parameters):
                kept_whole[0].all_gather(kept_whole)
            if hasattr(zero, "invalidate_secondary_tensor"):
                zero.invalidate_secondary_tensor()

    def misfit(self, saved: Mapping[str, Any]) -> str:
        """Why the saved parts are none of this engine's; empty where nothing speaks against it."""
        scalers = [part for name, part in saved.items() if name.endswith(_SCALER)]
        ranks, here = scalers[0]["ranks"] if scalers else None, collectives.world()
        if ranks is None or ranks == here:
            return ""
        return (
            f"ZeRO's pieces were cut for {ranks} ranks, and here are {here}: checkpoints of the "
            "engine's own save_checkpoint can be cut again"
        )

    def parts(self, name: str, model: nn.Module) -> dict[str, Any]:
        """What a snapshot holds of a training under this engine, besides what others add."""
        module = getattr(model, "module", model)
        untrained, scaler = UntrainedTensors(module, self), Scaler(self.zero)
        found = {"model": untrained, name: self, f"{name}{_SCALER}": scaler}
        if all(hasattr(model, counter) for counter in _COUNTERS):
            found["scheduler.engine"] = Counters(model)
        return found


class _Group(MutableMapping[str, Any]):
    """A parameter group that shows its pieces; everything else is the live group's."""

    def __init__(self, live: dict[str, Any], pieces: list[torch.Tensor]) -> None:
        self._live, self._pieces = live, pieces

    def __getitem__(self, key: str) -> Any:
        return self._pieces if key == "params" else self._live[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._live[key] = value

    def __delitem__(self, key: str) -> None:
        del self._live[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)


@dataclass(frozen=True, slots=True)
class UntrainedTensors(LiveTensors):
    """What of a model is not made from the pieces: buffers, and parameters that are not trained."""

    module: nn.Module
    optimizer: ZeroOptimizer

    def tensors(self) -> dict[str, torch.Tensor]:
        """Live tensors by name; of a parameter that is cut up this rank's piece."""
        zero = self.optimizer.zero
        groups = zero.fp16_groups if self.optimizer.cuts_parameters else zero.bit16_groups
        trained = {id(parameter) for group in groups for parameter in group}
        found: dict[str, torch.Tensor] = {
            name: getattr(parameter, "ds_tensor", parameter)
            for name, parameter in self.module.named_parameters()
            if id(parameter) not in trained
        }
        return {**found, **dict(self.module.named_buffers())}


@dataclass(frozen=True, slots=True)
class Scaler:
    """The loss scale, and for how many ranks the pieces were cut."""

    zero: Any

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        scaler = {k: v for k, v in vars(self.zero.loss_scaler).items() if isinstance(v, ATOMS)}
        return {"ranks": collectives.world(), "scaler": scaler}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        for name, value in state["scaler"].items():
            setattr(self.zero.loss_scaler, name, value)


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine counts, and the schedule that it steps."""

    engine: Any

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        scheduler = getattr(self.engine, "lr_scheduler", None)
        return {
            "counters": {name: int(getattr(self.engine, name)) for name in _COUNTERS},
            "scheduler": None if scheduler is None else scheduler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        for name, value in state["counters"].items():
            setattr(self.engine, name, value)
        if state["scheduler"] is not None:
            self.engine.lr_scheduler.load_state_dict(state["scheduler"])

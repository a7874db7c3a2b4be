"""The total loss: Σ weight · loss over the terms in force, with weights that can change live."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.term import Term
from trainer.objectives.terms import shipped


class ObjectiveError(ValueError):
    """A name or value that the objectives do not know; the sentence is for the user."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one batch."""

    total: Tensor
    """What is differentiated."""
    values: Mapping[str, Tensor]
    """Unweighted losses by name; a term that the batch has nothing for is absent."""
    weights: Mapping[str, float]
    """Weights in force for this batch."""


class Objectives:
    """Which terms are trained, and with what weights."""

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        terms: Iterable[Term] | None = None,
    ) -> None:
        known = shipped() if terms is None else {term.name: term for term in terms}
        self.terms = known
        self._weights = {name: _start(term) for name, term in known.items()}
        for name, value in (weights or {}).items():
            self.set(name, value)

    @property
    def weights(self) -> dict[str, float]:
        """Weights now in force, of the terms that are computed."""
        return {name: weight for name, weight in self._weights.items() if weight}

    def set(self, name: str, value: object) -> float:
        """Sets a term's weight by `<term>` or `<term>_weight`; returns the weight before."""
        term = name.removesuffix("_weight")
        if term not in self._weights:
            known = ", ".join(f"{known}_weight" for known in self._weights)
            raise ObjectiveError(f"no weight is called {name!r}; there are {known}")
        try:
            weight = float(str(value))
        except ValueError:
            raise ObjectiveError(f"{name} must be a number, not {value!r}") from None
        if not math.isfinite(weight) or weight < 0:
            raise ObjectiveError(f"{name} must be a finite number of at least 0, not {value!r}")
        before = self._weights[term]
        self._weights[term] = weight
        return before

    def __call__(self, outputs: Outputs) -> Losses:
        """Losses of a batch, and their weighted sum."""
        values: dict[str, Tensor] = {}
        for name in self.weights:
            value = self.terms[name].loss(outputs)
            if value is not None:
                values[name] = value
        weights = self.weights
        total = torch.zeros((), device=outputs.hidden.device)
        for name, value in values.items():
            total = total + weights[name] * value
        return Losses(total=total, values=values, weights=weights)

    def state_dict(self) -> dict[str, Any]:
        """Weights, as they were set."""
        return {"weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the weights of `state_dict`."""
        self._weights.update(state["weights"])


def _start(term: Term) -> float:
    return term.weight if isinstance(term.weight, float | int) else term.weight[0][1]

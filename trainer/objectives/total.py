"""The total loss: Σ weight · loss over the terms in force, with weights that can change live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.model.batch import Batch
from trainer.model.vla import Outputs
from trainer.objectives.term import Schedule, Term, parse_weight, weight_at
from trainer.objectives.terms import shipped
from trainer.objectives.weighting import WEIGHTINGS, Weighting


class ObjectiveError(ValueError):
    """An unknown name or a value out of range; the sentence is for the user."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one batch."""

    total: Tensor
    """What is differentiated."""
    values: Mapping[str, Tensor]
    """Unweighted losses by name; a term that the batch has nothing for is absent."""
    weights: Mapping[str, float]
    """Weights in force for this batch."""
    whole: frozenset[str] = frozenset()
    """Terms that one micro-batch has for the whole step, and weighs accordingly in its total."""


class Objectives:
    """Which terms are trained, and with what weights.

    A loop calls three things: `prepare` on each batch, the objectives themselves on the outputs,
    and `advance` once an optimizer step with the losses that were logged.
    """

    def __init__(
        self,
        weights: Mapping[str, float | str] | None = None,
        terms: Iterable[Term] | None = None,
        weighting: str | Weighting = "fixed",
    ) -> None:
        self.terms = dict(shipped()) if terms is None else {term.name: term for term in terms}
        self.step = 0
        self._stated: dict[str, float | Schedule] = {n: t.weight for n, t in self.terms.items()}
        self.weighting = named_weighting(weighting) if isinstance(weighting, str) else weighting
        for name, value in (weights or {}).items():
            self.set(name, value)

    @property
    def stated(self) -> dict[str, float]:
        """Weights as they are stated for this step, before the strategy; zeros included."""
        return {name: weight_at(weight, self.step) for name, weight in self._stated.items()}

    @property
    def weights(self) -> dict[str, float]:
        """Weights now in force, of the terms that are computed."""
        return self.weighting.weights(self.stated)

    def set(self, name: str, value: object) -> float:
        """States a term's weight by `<term>` or `<term>_weight`; returns what was stated before.

        `value` is a number of at least 0, or a schedule such as `0:10,2000:1`.
        """
        term = name if name in self._stated else name.removesuffix("_weight")
        if term not in self._stated:
            known = ", ".join(f"{known}_weight" for known in self._stated)
            raise ObjectiveError(f"no weight is called {name!r}; there are {known}")
        try:
            weight = parse_weight(value)
        except ValueError:
            raise ObjectiveError(
                f"{name} must be a finite number of at least 0 or a schedule such as 0:10,2000:1,"
                f" not {value!r}"
            ) from None
        before = self.stated[term]
        self._stated[term] = weight
        return before

    def prepare(self, batch: Batch) -> Batch:
        """The batch as the terms in force need it; call it on the host, before the forward."""
        for name in self.weights:
            change = self.terms[name].prepare
            if change is not None:
                batch = change(batch, self.step)
        return batch

    def ever(self, name: str) -> bool:
        """Whether a term has a weight above 0 now or later in its schedule."""
        weight = self._stated[name]
        return bool(weight) if isinstance(weight, float) else any(value for _, value in weight)

    def differing(self) -> dict[str, float | str]:
        """What is stated other than by the terms themselves, written as a person would."""
        return {
            name: weight
            if isinstance(weight, float)
            else ",".join(f"{step}:{value!r}" for step, value in weight)
            for name, weight in self._stated.items()
            if weight != self.terms[name].weight
        }

    def __call__(self, outputs: Outputs, weights: Mapping[str, float] | None = None) -> Losses:
        """Losses of a batch, and their weighted sum; with other `weights` than those in force."""
        weights = self.weights if weights is None else weights
        values: dict[str, Tensor] = {}
        total = torch.zeros((), device=outputs.hidden.device)
        for name in weights:
            value = self.terms[name].loss(outputs)
            if value is None:
                continue
            values[name] = value
            if self.terms[name].kind == "trained":
                total = total + weights[name] * value
        return Losses(total=total, values=values, weights=weights)

    def advance(
        self,
        values: Mapping[str, Tensor | float] | None = None,
        norms: Mapping[str, float] | None = None,
    ) -> None:
        """Ends an optimizer step: schedules move on, and the strategy learns.

        `values` are the step's losses, reduced over the ranks; `norms` the unweighted gradient
        norms of `Pull`, at the steps that measured them.
        """
        seen: dict[str, float] = {}
        if self.weighting.needs != "nothing":  # reading values back costs a GPU its lead
            seen = {n: _number(v) for n, v in (values or {}).items() if n in self.terms}
        self.weighting.advance(self.stated, seen, norms or {})
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next weights."""
        return {
            "step": self.step,
            "stated": dict(self._stated),
            "strategy": self.weighting.name,
            "weighting": self.weighting.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up `state_dict`; a state of another strategy leaves this one at its start."""
        self.step = int(state["step"])
        self._stated.update({n: _plain(w) for n, w in state["stated"].items() if n in self.terms})
        if state["strategy"] == self.weighting.name:
            self.weighting.load_state_dict(state["weighting"])


def named_weighting(name: str) -> Weighting:
    """A strategy by its name."""
    if name not in WEIGHTINGS:
        raise ObjectiveError(f"no weighting is called {name!r}; there are {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name]()


def _number(value: Tensor | float) -> float:
    return value.item() if isinstance(value, Tensor) else value


def _plain(weight: Any) -> float | Schedule:
    """A stated weight as it was saved; a checkpoint may have turned tuples into lists."""
    if isinstance(weight, float | int):
        return float(weight)
    return tuple((int(step), float(value)) for step, value in weight)

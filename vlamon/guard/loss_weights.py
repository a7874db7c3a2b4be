"""The weights of the losses in force: which of them are trained, and how `set` changes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING

from vlamon.guard import collectives

if TYPE_CHECKING:
    from vlamon import Emitter

Weights = Mapping[str, float]


class LossWeights:
    """Those that the guard was given, else the emitter's.

    A rank without weights takes rank 0's: a component that is too small to send the training back
    must be so on every rank.
    """

    def __init__(
        self, given: Weights | Callable[[], Weights] | None, emitter: Emitter | None
    ) -> None:
        self._given = given
        self._emitter = emitter
        self._of_rank_zero: Weights = {}

    def __call__(self) -> Weights:
        if callable(self._given):
            return self._given()
        if self._given is not None:
            return self._given
        if self._emitter is not None:
            return self._emitter.weights or self._of_rank_zero
        return self._of_rank_zero

    def share(self) -> None:
        """Once, by all ranks, before the first step."""
        if self._given is None:
            self._of_rank_zero = collectives.everyone(dict(self()))[0]

    def settable(self) -> dict[str, Callable[[float], float]]:
        """What `set` may change: every weight of a mapping that the script reads at each step."""
        given = self._given
        if not isinstance(given, MutableMapping):
            return {}
        return {name: partial(self._set, given, name) for name in given}

    def _set(self, weights: MutableMapping[str, float], name: str, value: float) -> float:
        """Change a weight on this rank, tell the monitors, and return what it was."""
        before, weights[name] = weights[name], value
        if self._emitter is not None:
            self._emitter.set_weights(weights)
        return before

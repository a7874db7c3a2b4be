"""Orders metrics where not all have room: what is trained, then the rest, epochs last."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from vlamon.analysis.contributions import assumed_weights
from vlamon.catalogue import entry, in_order

if TYPE_CHECKING:
    from vlamon.store import RunStore


def leading_first(store: RunStore, names: Sequence[str], named: Sequence[str] = ()) -> list[str]:
    """Sort metrics: those an event names, the trained terms, then as panels show them; averages of
    an epoch or of a validation split, which are no batch's values, come last."""
    return list(_sorted(tuple(names), trained_terms(store), tuple(named)))


def trained_terms(store: RunStore) -> tuple[str, ...]:
    """Return the terms of the weighted total that the run has."""
    weights = store.weights_at() or assumed_weights(store.metrics)
    return tuple(name for name in weights if name in store.metrics)


@lru_cache(maxsize=32)
def _sorted(
    names: tuple[str, ...], trained: tuple[str, ...], named: tuple[str, ...]
) -> tuple[str, ...]:
    def place(name: str) -> tuple[bool, bool, bool]:
        return name not in named, name not in trained, bool(entry(name).split)

    return tuple(sorted(in_order(names), key=place))

"""Computes what each trained term adds to the weighted total, and its pull where that is known.

A share by value is not a pull: at closs 8.5 and loss_ct 0.13 × 10 the values say 87 % and 13 %,
while the gradients on the shared trunk may say the opposite. Both are given side by side.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vlamon.catalogue import entry

PULL = "pull_"
"""Prefix of a metric that carries a term's share of the gradient on the shared trunk, 0 to 1."""
COSINE = "conflict_"
"""Prefix of a metric that carries the cosine between two terms' gradients, `conflict_<a>_<b>`."""

REFERENCE_WEIGHTS: Mapping[str, float] = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}
"""Weights of the reference run; assumed where a log of that family brings none."""


def assumed_weights(names: Collection[str]) -> dict[str, float]:
    """Give the reference run's weights to a run of its family that sends none."""
    if "closs" not in names and "loss_ct" not in names:
        return {}
    return {name: weight for name, weight in REFERENCE_WEIGHTS.items() if name in names}


@dataclass(frozen=True, slots=True)
class Term:
    """One trained term of the total."""

    name: str
    """Metric name."""
    weight: float
    """Weight in force."""
    value: float | None
    """Value as logged; None where the batch had no such rows."""
    share: float | None
    """|weight · value| over the sum of those of all terms; NaN for a non-finite value."""
    pull: float | None
    """Share of the gradient on the shared trunk, where the run sends it."""
    apart: bool = False
    """Whether it trains another model on detached inputs: it is trained, and has no share."""

    @property
    def weighted(self) -> float | None:
        """What it adds to the total."""
        return None if self.value is None else self.weight * self.value


@dataclass(frozen=True, slots=True)
class Contributions:
    """All trained terms of one batch, in the order of the run."""

    terms: tuple[Term, ...]
    """One a trained metric."""
    total: float | None
    """Weighted sum of what the batch logged; NaN or inf if a term is; None without any term."""
    cosines: tuple[tuple[str, str, float], ...] = ()
    """Pairs of terms with the cosine between their gradients."""


def contributions(
    values: Mapping[str, float | None], weights: Mapping[str, float], order: Sequence[str] = ()
) -> Contributions:
    """Weigh the values of one batch; `values` may hold watched metrics too, pulls among them.

    The energy model's loss stands apart because its inputs are usually detached; where the run logs
    its `total`, that tells whether it does.
    """
    names = [name for name in order if name in weights]
    names += [name for name in weights if name not in names]
    weighted = {
        name: weights[name] * value for name in names if (value := values.get(name)) is not None
    }
    apart = {name for name in weighted if entry(name).apart}
    if _counted(apart, weighted, values.get("total")):
        apart = set()
    weighted = {name: part for name, part in weighted.items() if name not in apart}
    size = sum(abs(part) for part in weighted.values() if math.isfinite(part))
    terms = tuple(
        Term(
            name,
            weights[name],
            values.get(name),
            _share(weighted.get(name), size),
            values.get(PULL + name),
            name in apart,
        )
        for name in names
    )
    total = sum(weighted.values()) if weighted else None
    return Contributions(terms, total, _cosines(values, names))


def _counted(apart: Collection[str], weighted: Mapping[str, float], total: float | None) -> bool:
    """Say whether the total that the run logs is nearer to the sum with these terms."""
    if total is None or not apart:
        return False
    every = sum(weighted.values())
    others = sum(part for name, part in weighted.items() if name not in apart)
    return abs(total - every) < abs(total - others)


def _share(part: float | None, size: float) -> float | None:
    if part is None:
        return None
    if not math.isfinite(part):
        return math.nan
    return abs(part) / size if size else 0.0


def _cosines(
    values: Mapping[str, float | None], names: Sequence[str]
) -> tuple[tuple[str, str, float], ...]:
    found = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            for key in (f"{COSINE}{one}_{other}", f"{COSINE}{other}_{one}"):
                value = values.get(key)
                if value is not None:
                    found.append((one, other, value))
    return tuple(found)

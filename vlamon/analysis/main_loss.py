"""Which metric names are losses, and which loss matters most: one rule for every reader of a log.

A name is read word by word, so that `initial_loss_scale`, `kl_loss_coef` and `loss_time` are no
losses though each contains the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAIN_LOSSES = ("closs", "loss", "total_loss", "train_loss", "train_loss_step", "total", "Loss")
"""Names under which a log may hold the main loss, best first."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_LOSS = frozenset({"loss", "losses", "closs", "nll"})
_NO_LOSS = frozenset(
    (
        "scale",
        "scaler",
        "scaling",
        "weight",
        "weights",
        "coef",
        "coeff",
        "coefficient",
        "lambda",
        "factor",
        "lr",
        "rate",
        "time",
        "seconds",
        "ranks",
        "sec",
        "ms",
        "count",
        "counter",
        "num",
        "number",
        "tokens",
        "throughput",
        "memory",
        "mem",
        "ratio",
        "frac",
        "fraction",
        "clip",
        "type",
        "fn",
        "function",
        "name",
        "std",
        "var",
        "variance",
        "target",
        "threshold",
        "reduction",
        "spike",
        "spikes",
        "interval",
    )
)
"""Words that make a setting, a timing or a counter of a name with a loss in it."""
_HELD_OUT = frozenset(["val", "valid", "validation", "eval", "evaluation", "test", "dev"])


def is_loss(name: str) -> bool:
    """Whether a metric of this name is a loss, of the training or of held-out data."""
    words = _words(name)
    return bool(words & _LOSS) and not words & _NO_LOSS


def is_trained_loss(name: str) -> bool:
    """Whether a metric of this name is a loss that the training minimizes."""
    return is_loss(name) and not _words(name) & _HELD_OUT


def main_loss(names: Iterable[str]) -> str | None:
    """The first of MAIN_LOSSES, then one that ends in such a name, then any trained loss.

    A held-out loss stands in where a log holds no other.
    """
    present = list(names)
    for name in MAIN_LOSSES:
        if name in present:
            return name
    losses = [name for name in present if is_loss(name)]
    trained = [name for name in losses if is_trained_loss(name)]
    nested = [name for name in trained if re.split(r"[/.]", name)[-1] in MAIN_LOSSES]
    return next(iter([*nested, *trained, *losses]), None)


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))

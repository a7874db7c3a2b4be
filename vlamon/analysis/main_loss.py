"""Decides which metric names are losses, and which loss matters most, for every reader of a log.

A name is read word by word, so that `initial_loss_scale`, `kl_loss_coef` and `loss_time` are no
losses though each contains the word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

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
_REWARDS = frozenset(("reward", "rewards", "rew", "return", "returns", "奖励"))
_PREFERENCES = frozenset(("chosen", "rejected", "margin", "margins", "accuracy", "accuracies"))
"""Rewards of a preference loss, such as DPO's, are no returns of an episode."""
_POLICIES = frozenset(
    (
        *("actor", "advantage", "advantages", "completion", "completions", "critic", "entropy"),
        *("ep", "episode", "episodes", "kl", "policy", "q", "qf", "rollout", "surrogate", "td"),
        *("value", "vf"),
    )
)
_GENERATORS = frozenset(("g", "gen", "generator"))
_CRITICS = frozenset(("d", "disc", "discriminator"))
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


def is_reward(name: str) -> bool:
    """Whether a metric of this name is what a policy earned in training."""
    words = _words(name)
    return bool(words & _REWARDS) and not words & (_LOSS | _NO_LOSS | _PREFERENCES | _HELD_OUT)


def has_moving_target(names: Collection[str]) -> bool:
    """Whether a run's losses are measured against what moves by itself: returns, an opponent.

    Such a loss leaves its level in a healthy run too, when the policy finds a reward.
    """
    words = [_words(name) for name in names]
    if any(said & _POLICIES for said in words) and any(map(is_reward, names)):
        return True
    losses = [said for said in words if said & _LOSS]
    return all(any(said & side for said in losses) for side in (_GENERATORS, _CRITICS))


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))

"""The weights, the clip and the vocabulary of a run, and where each comes from.

What the user gives goes first, then what the run sent, then what its log prints, then the reference
run's own, for logs of that family.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vlamon.analysis.contributions import assumed_weights
from vlamon.analysis.printed_settings import PrintedSetting
from vlamon.detect.rules import SpikeRules

REFERENCE_CLIP = 4.0
"""Gradient clipping of the reference run."""
REFERENCE_VOCAB = 65536
"""Vocabulary of the full model."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user gives about the run because its logs do not."""

    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of the terms; they go before what a log says."""
    vocab: int | None = None
    """Vocabulary that closs is measured against; None to take the run's, or the full model's."""
    rules: SpikeRules = SpikeRules()  # noqa: RUF009 - frozen
    """Thresholds of what explodes."""
    clip: float | None = None
    """Gradient clipping; None to assume the reference's for its own logs."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the run sent about itself."""

    weights: Mapping[str, float]
    """Weights of its terms."""
    vocab: int | None
    """Its vocabulary."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings in force."""

    weights: Mapping[str, float]
    """Weights of the total."""
    assumed: bool
    """Whether all of them are the reference's."""
    clip: float | None
    """Gradient clipping, None where unknown."""
    vocab: int
    """Vocabulary that closs is measured against."""
    origins: Mapping[str, str]
    """`clip 25` → `output.log:3, clip_grad=25`, of all that were found in a log."""


def choose(
    names: Collection[str], settings: Settings, sent: RunSettings, printed: Sequence[PrintedSetting]
) -> Chosen:
    """Take each setting from the first source that has it."""
    reference = "loss_ct" in names or "closs" in names
    weights = dict(sent.weights) or assumed_weights(names)
    origins: dict[str, str] = {}
    clip, vocab = settings.clip, settings.vocab or sent.vocab
    taken = {name for name in weights if name in settings.weights or name in sent.weights}
    for one in printed:
        if one.setting == "clip" and clip is None:
            clip = one.value
            origins[f"clip {clip:g}"] = one.where
        elif one.setting == "vocab" and vocab is None:
            vocab = int(one.value)
            origins[f"vocabulary {vocab}"] = one.where
        elif one.setting == "weight" and one.metric in names and one.metric not in taken:
            taken.add(one.metric)
            weights[one.metric] = one.value
            origins[f"weight of {one.metric} {one.value:g}"] = one.where
    assumed = reference and not sent.weights and not settings.weights
    assumed = assumed and not any(name.startswith("weight") for name in origins)
    weights.update({name: w for name, w in settings.weights.items() if name in names})
    if clip is None and reference:
        clip = REFERENCE_CLIP
    return Chosen(weights, assumed, clip, vocab or REFERENCE_VOCAB, origins)

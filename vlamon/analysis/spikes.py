"""The detector's public face: which batch broke, per component and over all of them."""

from vlamon.analysis.components import ComponentDetectors, Judgement, is_loss
from vlamon.analysis.detector import Level, SpikeDetector, SpikeRules, Verdict

__all__ = [
    "ComponentDetectors",
    "Judgement",
    "Level",
    "SpikeDetector",
    "SpikeRules",
    "Verdict",
    "is_loss",
]

"""The detector's public face: which batch broke, per component and over all of them."""

from vlamon.analysis.components import ComponentDetectors, Judgement, is_loss
from vlamon.analysis.detector import Level, SpikeDetector, Verdict
from vlamon.analysis.rules import SpikeRules

__all__ = [
    "ComponentDetectors",
    "Judgement",
    "Level",
    "SpikeDetector",
    "SpikeRules",
    "Verdict",
    "is_loss",
]

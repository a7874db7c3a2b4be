"""The detector's public face: which batch broke, per component and over all of them."""

from vlamon.detect.components import ComponentDetectors, Judgement, is_loss
from vlamon.detect.detector import Level, SpikeDetector, Verdict
from vlamon.detect.rules import SpikeRules

__all__ = [
    "ComponentDetectors",
    "Judgement",
    "Level",
    "SpikeDetector",
    "SpikeRules",
    "Verdict",
    "is_loss",
]

"""The detector's public face: which batch broke, per component and over all of them."""

from vlamon.detect.components import ComponentDetectors, Judgement
from vlamon.detect.detector import SpikeDetector, Verdict
from vlamon.detect.rules import SpikeRules

__all__ = [
    "ComponentDetectors",
    "Judgement",
    "SpikeDetector",
    "SpikeRules",
    "Verdict",
]

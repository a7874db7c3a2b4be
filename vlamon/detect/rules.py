"""The thresholds of the detector, for single batches and for means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class SpikeRules:
    """Thresholds of the detector. A rule needs its ratio *and* its z."""

    window: int = 128
    """Accepted points that make the baseline."""
    short_window: int = 32
    """Accepted points of the short median, which follows a steep fall."""
    active_after: int = 32
    """Accepted points from which on all rules speak."""
    early_after: int = 8
    """Accepted points from which on a ×20 jump is an explosion already."""
    scale_floor: float = 0.02
    """Least scale in log units: a loss that is flat to 2 % is not spiking at 3 %."""
    warn_z: float = 6.0
    warn_ratio: float = 2.5
    one_ratio: float = 20.0
    """One batch above this explodes."""
    one_z: float = 6.0
    sure_ratio: float = 8.0
    """One batch above this explodes where the loss is otherwise quiet (closs 95 after 8.5)."""
    sure_z: float = 25.0
    pair_ratio: float = 5.0
    """2 of the last 3 above this explode."""
    pair_z: float = 6.0
    triple_ratio: float = 2.0
    """3 of the last 3 above this explode."""
    triple_z: float = 10.0
    crowd_ratio: float = 2.5
    """8 of the last 12 above this explode."""
    crowd_z: float = 4.0
    stay_ratio: float = 2.2
    """11 of the last 12 above this explode, though each alone is within the noise."""
    stay_z: float = 2.0
    slow_block: int = 16
    """Points in one mean of the slow rule; 0 switches that rule off."""
    slow_history: int = 64
    """Means that the slow rule remembers."""
    slow_ratio: float = 1.8
    """A level this far above the lowest remembered one, still rising, explodes."""
    slow_z: float = 8.0
    """Rise of the slow rule, in standard deviations of a mean."""
    mean_ratio: float = 2.5
    """A mean over an epoch, an interval or the steps between two lines explodes at this times its
    level: averaging has divided a spike by the length."""
    readmit_after: int = 64
    """So many alarms below `readmit_ratio`, with no such calm between them, are the new normal."""
    readmit_ratio: float = 2.0
    settle_after: int = 256
    """So many alarms, few calm points among them, are the new normal however high they are."""

    @property
    def least_ratio(self) -> float:
        """Ratio below which no single batch belongs to an explosion."""
        ratios = (self.one_ratio, self.sure_ratio, self.pair_ratio, self.triple_ratio)
        return min(*ratios, self.crowd_ratio, self.stay_ratio)


THRESHOLDS: tuple[str, ...] = tuple(
    item.name
    for item in fields(SpikeRules)
    if item.name.endswith(("_ratio", "_z")) and item.name != "readmit_ratio"
)
"""What a user may set: how far above its level a loss warns or explodes."""


def rules_with(thresholds: Mapping[str, float]) -> SpikeRules:
    """The shipped rules with these thresholds instead; ValueError names one that cannot be."""
    for name, value in thresholds.items():
        if name not in THRESHOLDS:
            raise ValueError(f"{name} is not a threshold; there are {', '.join(THRESHOLDS)}")
        least = 1.0 if name.endswith("_ratio") else 0.0
        if not least < value < float("inf"):
            raise ValueError(f"{name} must be above {least:g}, not {value:g}")
    changes: dict[str, Any] = dict(thresholds)
    return replace(SpikeRules(), **changes)

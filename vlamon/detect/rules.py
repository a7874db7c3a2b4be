"""The thresholds of the detector: for single batches, for intervals, for epochs."""

from __future__ import annotations

from dataclasses import dataclass


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
    readmit_after: int = 64
    """So many alarms below `readmit_ratio`, with no such calm between them, are the new normal."""
    readmit_ratio: float = 2.0
    settle_after: int = 256
    """So many alarms, few calm points among them, are the new normal however high they are."""

    @classmethod
    def for_epochs(cls) -> SpikeRules:
        """Rules for one value an epoch: few points, and each is an average already."""
        return cls(
            window=32,
            short_window=16,
            active_after=4,
            early_after=4,
            one_ratio=2.5,
            slow_block=0,
            readmit_after=8,
            settle_after=32,
        )

    @classmethod
    def for_intervals(cls) -> SpikeRules:
        """Rules for means over the batches between two log lines.

        Averaging has divided a spike by the length of the interval, so ×2.5 is an explosion.
        """
        return cls(window=64, active_after=8, early_after=8, one_ratio=2.5, slow_block=8)

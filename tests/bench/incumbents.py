"""The spike rules of other trainers, written from their documentation and source.

Each takes one loss at a time and says whether it alarms. Their surroundings (what they do then) are
left out.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from vlamon.detect.spikes import SpikeDetector


class Rule(Protocol):
    """One rule with its state."""

    def alarms(self, loss: float) -> bool: ...


class Ours:
    """vlamon's detector: an alarm is `explode`."""

    def __init__(self) -> None:
        self.detector = SpikeDetector()

    def alarms(self, loss: float) -> bool:
        return self.detector.observe(loss).level == "explode"


class Lightning:
    """SpikeDetection: at least 2 × the mean of the last 10 away from it; spikes do not enter it."""

    def __init__(self) -> None:
        self.window: deque[float] = deque(maxlen=10)

    def alarms(self, loss: float) -> bool:
        if not self.window:
            if math.isfinite(loss):
                self.window.append(loss)
            return False
        mean = sum(self.window) / len(self.window)
        alarm = not math.isfinite(loss) or (loss > mean and abs(loss - mean) >= 2 * abs(mean))
        if not alarm:
            self.window.append(loss)
        return alarm


class Olmo:
    """Skip-step of OLMo-core and Levanter: above mean + 6 σ of the last 128, everything enters."""

    def __init__(self) -> None:
        self.window: deque[float] = deque(maxlen=128)

    def alarms(self, loss: float) -> bool:
        alarm = False
        if len(self.window) >= 64:
            count = len(self.window)
            mean = sum(self.window) / count
            variance = sum((value - mean) ** 2 for value in self.window) / (count - 1)
            # A NaN makes both NaN, and every comparison false, until it has left the window.
            alarm = loss - mean > 6 * math.sqrt(variance) if variance >= 0 else False
        self.window.append(loss)
        return alarm


class Foundry:
    """KillLossSpike of llm-foundry: at least 2 × the mean of 100, more than 4 times running."""

    def __init__(self) -> None:
        self.window: deque[float] = deque(maxlen=100)
        self.outliers = 0

    def alarms(self, loss: float) -> bool:
        if len(self.window) < 100:
            self.window.append(loss)
            return False
        mean = sum(self.window) / 100
        if loss >= 2 * mean:
            self.outliers += 1
        else:
            self.outliers = 0
            self.window.append(loss)
        return self.outliers > 4


class Megatron:
    """Rerun of Megatron-LM: above 10 × the largest of the first 100, or not finite."""

    def __init__(self) -> None:
        self.seen = 0
        self.largest = 0.0

    def alarms(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        if self.seen < 100:
            self.seen += 1
            self.largest = max(self.largest, loss)
            return False
        return loss > 10 * self.largest


RULES: dict[str, type[Rule]] = {
    "vlamon": Ours,
    "llm-foundry": Foundry,
    "OLMo, Levanter": Olmo,
    "Lightning": Lightning,
    "Megatron": Megatron,
}

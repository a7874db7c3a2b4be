"""An explosion that the training goes on with: reported once, and again only when it gets worse.

In watch mode, after an operator's resume, or without a state to return to, the next batches explode
as well, and a report of each would bury the news. But one report must not hide what comes after it.
News is a non-finite value after finite ones, and a rise far beyond what was reported. A level that
stays becomes the usual one, so that detection and snapshots work again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vlamon.detect.spikes import Judgement

FURTHER = 8.0
"""A ratio this many times the worst that was reported is another explosion."""
ACCEPTED_AFTER = 12
"""Steps for which a level must stay after an operator's resume to be the usual one."""
UNANSWERED_AFTER = 500
"""Steps after which it is the usual one even without an operator's resume."""


@dataclass(slots=True)
class Episode:
    """What is known of the explosion that goes on."""

    began: int
    """Step at which it was reported, or at which its level was looked at last."""
    last: int
    """Last step that exploded on any rank."""
    worst: float
    """Highest ratio that was reported, over all ranks; inf after a non-finite value."""
    onset: int = 0
    """Step of the batch that exploded first."""
    climbed: int = 0
    """Rungs of the ladder that have answered it."""
    lowered_from: float | None = None
    """Factor on the lr before the ladder lowered it."""
    accepted: bool = False
    """Whether an operator has said to go on with it."""
    usual: Mapping[str, float] = field(default_factory=dict)
    """Level of every loss before it began."""

    def is_news(self, judgement: Judgement) -> bool:
        """Whether this explosion is more than what was reported."""
        if self.climbed and not self.accepted:
            return True
        ratio = worst_ratio(judgement)
        if math.isinf(ratio):
            return not math.isinf(self.worst)
        return ratio > FURTHER * self.worst

    def overdue(self, step: int) -> bool:
        """Whether it goes on for so long that a finite level is the usual one."""
        return step - self.began >= (ACCEPTED_AFTER if self.accepted else UNANSWERED_AFTER)


def alarming(judgement: Judgement) -> list[str]:
    """Components that warn or explode."""
    return [name for name, verdict in judgement.verdicts.items() if verdict.level != "ok"]


def worst_ratio(judgement: Judgement) -> float:
    """How far above their usual level the exploding components are; inf for a non-finite value."""
    ratios = (v.ratio for v in judgement.verdicts.values() if v.level == "explode")
    return max((1.0 if math.isnan(ratio) else ratio for ratio in ratios), default=1.0)

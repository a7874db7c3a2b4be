"""Which batch broke: a two-level detector that one spike cannot blind to the next.

A loss is judged in y = log(value) against the median and the MAD of the last accepted points.
Points that warn or explode never enter that baseline, so a spike cannot inflate the scale that the
next one is measured with. Four fast rules look at the last 1, 3 and 12 points; a slow one compares
means of 16 points over the last thousand, because a divergence that doubles every 200 batches pulls
any short baseline along.

Pure and incremental: no clock, no I/O, no NumPy; an observation costs about 2 µs. Guard, dashboard,
`tail` and `analyze` all use this one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from vlamon.analysis.ranked import MAD_TO_SIGMA, RankedWindow

Level = Literal["ok", "warn", "explode"]

TINY = 1e-12
"""Values are measured in log space from here up."""


class Verdict(NamedTuple):
    """What one value is, seen from the values before it."""

    level: Level
    """`ok`, `warn` (worth a look) or `explode` (go back)."""
    z: float
    """Distance from the median in robust standard deviations; NaN without a baseline."""
    ratio: float
    """Value over the median; inf for a non-finite value, NaN without a baseline."""
    reason: str = ""
    """The rule that spoke, in words; empty when ok."""


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
        )

    @classmethod
    def for_intervals(cls) -> SpikeRules:
        """Rules for means over the batches between two log lines.

        Averaging has divided a spike by the length of the interval, so ×2.5 is an explosion.
        """
        return cls(window=64, active_after=8, early_after=8, one_ratio=2.5, slow_block=8)


class SpikeDetector:
    """Judges one metric's values, one at a time."""

    def __init__(self, rules: SpikeRules | None = None) -> None:
        self.rules = rules or SpikeRules()
        rule = self.rules
        self._warn = math.log(rule.warn_ratio)
        self._one = math.log(rule.one_ratio)
        self._sure = math.log(rule.sure_ratio)
        self._pair = math.log(rule.pair_ratio)
        self._triple = math.log(rule.triple_ratio)
        self._crowd = math.log(rule.crowd_ratio)
        self._stay = math.log(rule.stay_ratio)
        self._slow = math.log(rule.slow_ratio)
        self._readmit = math.log(rule.readmit_ratio)
        self.reset()

    def reset(self) -> None:
        """Forget everything: after a restart, a change of the lr's phase or of the weights."""
        self._linear = False
        self._clear()

    def _clear(self) -> None:
        self._long = RankedWindow(self.rules.window)
        self._short = RankedWindow(self.rules.short_window)
        self._distances = RankedWindow(self.rules.window)
        self._median = math.nan
        self._scale = math.nan
        self._pairs = self._triples = self._crowds = self._stays = 0
        """Shift registers, the newest point in the lowest bit."""
        self._held: list[float] = []
        self._calm = 0
        """Accepted points since the last one held back."""
        self._among = 0
        """Accepted points since the first one held back."""
        self._mixed = 0
        """Points for which batches are known to be of two kinds."""
        self._slow_sum = 0.0
        self._slow_count = 0
        self._means: deque[float] = deque(maxlen=max(1, self.rules.slow_history))
        self._diverging = 0

    @property
    def active(self) -> bool:
        """Whether the baseline is long enough for every rule to speak."""
        return len(self._long.order) >= self.rules.active_after

    @property
    def latency(self) -> int:
        """Batches that a slow divergence may stay unseen; what a snapshot must outlive."""
        rule = self.rules
        return max(12, 4 * rule.slow_block)

    def band(self) -> tuple[float, float, float] | None:
        """Median, and the values from which on one batch warns and explodes; None if too early."""
        if len(self._long.order) < self.rules.early_after:
            return None
        rule, middle, scale = self.rules, self._median, self._scale
        warn = min(self._warn, rule.warn_z * scale)
        explode = min(max(self._one, rule.one_z * scale), max(self._sure, rule.sure_z * scale))
        if self._linear:
            ref = max(abs(middle), 6 * scale, TINY)
            lift = min(math.expm1(self._warn) * ref, rule.warn_z * scale)
            return (
                middle,
                middle + lift,
                middle + max(math.expm1(self._sure) * ref, rule.sure_z * scale),
            )
        return math.exp(middle), math.exp(middle + warn), math.exp(min(700.0, middle + explode))

    def reference(self) -> tuple[float, float]:
        """The level that an explosion stands out from, and what multiples of it are counted in.

        While the slow rule speaks, that is the lowest level it remembers: the median has gone up
        with the loss. NaN without a baseline.
        """
        if len(self._long.order) < self.rules.early_after:
            return math.nan, math.nan
        if self._linear:
            return self._median, max(abs(self._median), 6 * self._scale, TINY)
        level = math.exp(self._floor() if self._diverging >= 2 else self._median)
        return level, level

    def observe(self, value: float | None) -> Verdict:
        """Judge the next value. None and an exact 0 mean that the batch had no such rows."""
        if value is None or value == 0.0:
            return Verdict("ok", math.nan, math.nan)
        if not math.isfinite(value):
            self._pairs = (self._pairs << 1 | 1) & 0b111
            self._triples = (self._triples << 1 | 1) & 0b111
            self._crowds = (self._crowds << 1 | 1) & 0xFFF
            self._stays = (self._stays << 1 | 1) & 0xFFF
            return Verdict("explode", math.inf, math.inf, f"{value} is not finite")
        if value < 0.0 and not self._linear:
            self._clear()  # a loss that may be negative has no logarithm: measure it as it is
            self._linear = True
        y = value if self._linear else math.log(value if value > TINY else TINY)
        known = len(self._long.order)
        rule = self.rules
        if known < rule.early_after:
            self._accept(y)
            return Verdict("ok", math.nan, math.nan)
        middle, scale = self._median, self._scale
        if self._linear:
            lift = (y - middle) / max(abs(middle), 6 * scale, TINY)
            rise = math.log1p(lift) if lift > -0.5 else -math.log(2)
            z = (y - middle) / scale
            ratio = 1.0 + lift
        else:
            rise = y - middle
            z = rise / scale
            ratio = math.exp(rise) if rise < 700.0 else math.inf
        level, reason = self._judge(rise, z, known >= rule.active_after)
        if rule.slow_block:
            self._slow_sum += y
            self._slow_count += 1
            if self._slow_count == rule.slow_block:
                self._close_mean()
            if self._diverging >= 2 and known >= rule.active_after:
                level, reason = "explode", self._slow_reason()
        if level == "ok":
            self._accept(y)
            if self._mixed:
                self._mixed -= 1
            if self._held:
                self._calm += 1
                self._among += 1
                if self._calm >= rule.readmit_after:
                    self._forget_held()
        elif rise < self._readmit or (level == "warn" and rise < self._pair):
            self._hold(y)
        return Verdict(level, z, ratio, reason)

    def _judge(self, rise: float, z: float, active: bool) -> tuple[Level, str]:
        rule = self.rules
        self._pairs = (self._pairs << 1 | (rise > self._pair and z > rule.pair_z)) & 0b111
        self._triples = (self._triples << 1 | (rise > self._triple and z > rule.triple_z)) & 0b111
        self._crowds = (self._crowds << 1 | (rise > self._crowd and z > rule.crowd_z)) & 0xFFF
        self._stays = (self._stays << 1 | (rise > self._stay and z > rule.stay_z)) & 0xFFF
        if rise <= self._warn and z <= rule.warn_z and not self._crowds and not self._stays & 1:
            return "ok", ""
        if rise > self._one and z > rule.one_z:
            return "explode", f"×{_short(rise)} in one batch"
        if active:
            if rise > self._sure and z > rule.sure_z:
                return "explode", f"×{_short(rise)} in one batch"
            if self._pairs & 1 and self._pairs.bit_count() >= 2:
                return "explode", f"2 of 3 batches above ×{rule.pair_ratio:g}"
            if self._triples == 0b111:
                return "explode", f"3 batches running above ×{rule.triple_ratio:g}"
            if self._crowds & 1 and self._crowds.bit_count() >= 8:
                return "explode", f"8 of 12 batches above ×{rule.crowd_ratio:g}"
            if self._stays & 1 and self._stays.bit_count() >= 11:
                return "explode", f"11 of 12 batches above ×{rule.stay_ratio:g}"
            if rise > self._warn:
                return "warn", f"×{_short(rise)} above the median"
            if z > rule.warn_z:
                return "warn", f"z {z:.1f} above the median"
        return "ok", ""

    def _close_mean(self) -> None:
        """The slow rule, once a block: is the level far above the lowest one, and still there?"""
        rule = self.rules
        means = self._means
        mean = self._slow_sum / rule.slow_block
        self._slow_sum, self._slow_count = 0.0, 0
        means.append(mean)
        self._diverging = self._diverging + 1 if self._rises(mean) else 0
        if self._diverging > rule.readmit_after // rule.slow_block + 4:
            # Said long enough: where it is now is where it is, and only a further rise is news.
            self._diverging = 0
            while len(means) > 4:
                means.popleft()

    def _rises(self, mean: float) -> bool:
        rule, means = self.rules, list(self._means)
        if self._linear or len(means) < 6:
            return False
        rise = mean - self._floor()
        if rise <= self._slow:
            return False
        steps = sorted(abs(b - a) for a, b in pairwise(means))
        noise = max(
            MAD_TO_SIGMA * steps[len(steps) // 2] / math.sqrt(2),
            self._scale / math.sqrt(rule.slow_block),
        )
        return rise > rule.slow_z * noise and mean >= means[-2] - noise

    def _floor(self) -> float:
        """The lowest level of the slow rule's memory, but for its newest means."""
        means = list(self._means)
        return min((means[i] + means[i + 1] + means[i + 2]) / 3 for i in range(len(means) - 4))

    def _slow_reason(self) -> str:
        span = len(self._means) * self.rules.slow_block
        return f"level rose above ×{self.rules.slow_ratio:g} within {span} batches"

    def _hold(self, y: float) -> None:
        """Keep an alarming point back; what goes on for long is the new normal, not an alarm.

        Alarms with as many calm points among them mean batches of two kinds: from then on they
        count at once, until two windows passed without one.
        """
        if self._mixed > 0:
            self._mixed = 2 * self.rules.window
            self._accept(y)
            return
        self._held.append(y)
        self._calm = 0
        if len(self._held) >= self.rules.readmit_after:
            if self._among >= self.rules.readmit_after:
                self._mixed = 2 * self.rules.window
            held = self._held
            self._forget_held()
            for point in held:
                self._accept(point)

    def _forget_held(self) -> None:
        self._held = []
        self._calm = self._among = 0

    def _accept(self, y: float) -> None:
        """Into the baseline: the long median, or the short one where the loss falls steeply.

        The scale is that of the distances from it, so a fall does not pass for noise.
        """
        known = len(self._long.order)
        distance = y - self._median if known else 0.0
        self._long.push(y)
        self._short.push(y)
        self._distances.push(distance)
        self._measure()

    def _measure(self) -> None:
        if not self._long.order:
            return
        middle, recent = self._long.median(), self._short.ranked
        if recent[(3 * len(recent)) >> 2] < middle:  # three quarters of them: it really fell
            middle = self._short.median()
        self._median = middle
        centre = self._distances.median()
        floor = self.rules.scale_floor
        if self._linear:
            floor *= max(abs(middle), TINY)
        scale = self._distances.spread(centre)
        self._scale = scale if scale > floor else floor

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact resume needs, as plain JSON values."""
        return {
            "linear": self._linear,
            "order": list(self._long.order),
            "distances": list(self._distances.order),
            "held": list(self._held),
            "counts": [self._calm, self._among, self._mixed],
            "registers": [self._pairs, self._triples, self._crowds, self._stays],
            "slow": [self._slow_sum, self._slow_count, self._diverging],
            "means": list(self._means),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Versions before `distances` wrote three registers: the distances are then those that the
        accepted points had when they were let in once more, and the last register starts empty.
        """
        self.reset()
        self._linear = bool(state["linear"])
        for y in state["order"]:
            self._accept(float(y))
        if "distances" in state:
            self._distances = RankedWindow(self.rules.window)
            for distance in state["distances"]:
                self._distances.push(float(distance))
            self._measure()
        self._held = [float(y) for y in state["held"]]
        self._calm, self._among, self._mixed = (int(count) for count in state["counts"])
        registers = [int(bits) for bits in state["registers"]]
        self._pairs, self._triples, self._crowds, self._stays = (*registers, 0)[:4]
        total, count, diverging = state["slow"]
        self._slow_sum, self._slow_count = float(total), int(count)
        self._diverging = int(diverging)
        self._means.extend(float(mean) for mean in state["means"])


def _short(rise: float) -> str:
    return f"{math.exp(rise):.3g}" if rise < 700.0 else "inf"

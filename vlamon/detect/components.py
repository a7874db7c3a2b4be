"""The detectors of all loss components by name, and what their verdicts mean together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlamon.detect.detector import SpikeDetector, Verdict, number
from vlamon.detect.rules import SpikeRules
from vlamon.records import BatchBlock

GRAD_NORM = "grad_norm"
MINOR_SHARE = 0.01
"""A component below this share of the weighted total may warn and never explodes."""
TOGETHER_RATIO, TOGETHER_Z, TOGETHER_SUM = 1.5, 2.0, 6.0
"""Two components that rise at once, with z that add up: 4 of 5 such batches explode."""
OK = Verdict("ok", math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one batch is, over all components."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """Verdict of every component that this batch had."""
    metric: str = ""
    """The component that decided; empty when all are ok."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all."""
        return self.verdicts.get(self.metric, OK)

    @property
    def level(self) -> str:
        """`ok`, `warn` or `explode`."""
        return self.verdict.level


class ComponentDetectors:
    """One `SpikeDetector` a loss component.

    Without `names` it watches the terms that have a weight, or, where no weights are known, every
    metric that is a loss by its name; `grad_norm` always. `grad_norm` alone never explodes while it
    is finite, but when it agrees with a component that warns as high as two batches running would
    need, that batch is enough.
    """

    def __init__(
        self,
        names: Iterable[str] | None = None,
        rules: SpikeRules | None = None,
        rules_by_name: Mapping[str, SpikeRules] | None = None,
    ) -> None:
        self.names = None if names is None else frozenset(names)
        self.rules = rules or SpikeRules()
        self.rules_by_name = dict(rules_by_name or {})
        self.detectors: dict[str, SpikeDetector] = {}
        self._together_bits = 0
        """Batches in which several components rose, the newest in the lowest bit."""
        self._levels: dict[str, float] = {}
        """Smoothed weighted size of every trained component, for its share of the total."""

    @property
    def latency(self) -> int:
        """Batches for which a jump or a ramp may stay unseen."""
        return max(detector.latency for detector in self._any())

    @property
    def slow_latency(self) -> int:
        """Batches that nine of ten slow divergences are old when they are seen."""
        return max(detector.slow_latency for detector in self._any())

    def _any(self) -> list[SpikeDetector]:
        return list(self.detectors.values()) or [SpikeDetector(self.rules)]

    def watches(self, name: str, weights: Mapping[str, float] | None = None) -> bool:
        """Whether a metric of this name is judged."""
        if name == GRAD_NORM:
            return True
        if self.names is not None:
            return name in self.names
        if weights:
            return name in weights
        return is_loss(name)

    def take_on(self, names: Iterable[str]) -> None:
        """Judge these losses too, whatever they are called, unless `names` says which to judge."""
        if self.names is not None:
            return
        for name in names:
            if name not in self.detectors and _may_be_loss(name):
                self.detectors[name] = SpikeDetector(self.rules_by_name.get(name, self.rules))

    def observe(
        self, values: Mapping[str, float | None], weights: Mapping[str, float] | None = None
    ) -> Judgement:
        """Judge one batch. `weights` tell which terms are trained, and how much each counts."""
        values = {name: None if v is None else number(v) for name, v in values.items()}
        verdicts: dict[str, Verdict] = {}
        for name, value in values.items():
            detector = self.detectors.get(name)
            if detector is None:
                if value is None or not self.watches(name, weights):
                    continue
                detector = SpikeDetector(self.rules_by_name.get(name, self.rules))
                self.detectors[name] = detector
            verdicts[name] = detector.observe(value)
        for name in self.detectors.keys() - values.keys():
            self.detectors[name].observe(None)  # its clock counts batches, whatever they hold
        if self._rise_together(verdicts):
            for name, verdict in verdicts.items():
                if _risen(name, verdict):
                    reason = f"×{verdict.ratio:.3g}, together with other components"
                    age = self._together_bits.bit_length() - 1
                    verdicts[name] = Verdict("explode", verdict.z, verdict.ratio, reason, age)
        if all(verdict.level == "ok" for verdict in verdicts.values()):
            if weights:
                self._weigh(values, weights)
            return Judgement(verdicts)
        return self._together(verdicts, values, weights)

    def observe_rows(
        self,
        block: BatchBlock,
        weights: Mapping[str, float] | None = None,
        first: int = 0,
        end: int | None = None,
    ) -> Iterator[tuple[int, Judgement]]:
        """Judge batches of a block in turn; gives the row of each with its judgement."""
        end = block.rows if end is None else end
        watched = [
            (name, column.values[first:end].tolist(), column.present)
            for name, column in block.columns.items()
            if self.watches(name, weights)
        ]
        for row in range(first, end):
            values: dict[str, float | None] = {
                name: cells[row - first] if present is None or present[row] else None
                for name, cells, present in watched
            }
            yield row, self.observe(values, weights)

    def _rise_together(self, verdicts: Mapping[str, Verdict]) -> bool:
        """Whether several components have risen at once for a while, each within its own noise."""
        if sum(name != GRAD_NORM for name in verdicts) < 2:
            return False  # a step's values may come in several calls; one alone says nothing
        risen = sorted(verdict.z for name, verdict in verdicts.items() if _risen(name, verdict))
        now = len(risen) >= 2 and risen[-1] + risen[-2] > TOGETHER_SUM
        self._together_bits = (self._together_bits << 1 | now) & 0b11111
        return now and self._together_bits.bit_count() >= 4

    def band(self, name: str) -> tuple[float, float, float] | None:
        """Median and the values that warn and explode, for a chart."""
        detector = self.detectors.get(name)
        return detector.band() if detector else None

    def reset(self, names: Iterable[str] | None = None) -> None:
        """Forget the baselines of these components, or of all."""
        self._together_bits = 0
        for name in list(self.detectors) if names is None else names:
            if name in self.detectors:
                self.detectors[name].reset()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact resume needs, as plain JSON values."""
        return {
            "detectors": {name: d.state_dict() for name, d in self.detectors.items()},
            "levels": dict(self._levels),
            "together": self._together_bits,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; what an older version did not write starts empty."""
        self.detectors = {}
        for name, inner in state["detectors"].items():
            detector = SpikeDetector(self.rules_by_name.get(name, self.rules))
            detector.load_state_dict(inner)
            self.detectors[name] = detector
        self._levels = {name: float(level) for name, level in state.get("levels", {}).items()}
        self._together_bits = int(state.get("together", 0))

    def _weigh(self, values: Mapping[str, float | None], weights: Mapping[str, float]) -> None:
        levels = self._levels
        for name, weight in weights.items():
            value = values.get(name)
            if value is not None:
                size = abs(weight * value)
                levels[name] = size if name not in levels else 0.95 * levels[name] + 0.05 * size

    def minor(self, name: str, value: float | None, weights: Mapping[str, float] | None) -> bool:
        """Whether a component is too small a part of the total to send the training back."""
        if not weights or name not in weights or value is None or not math.isfinite(value):
            return False
        total = sum(self._levels.values()) - self._levels.get(name, 0.0)
        size = abs(weights[name] * value)
        return size < MINOR_SHARE * (total + size)

    def _together(
        self,
        verdicts: dict[str, Verdict],
        values: Mapping[str, float | None],
        weights: Mapping[str, float] | None,
    ) -> Judgement:
        norm = verdicts.get(GRAD_NORM, OK)
        for name, verdict in verdicts.items():
            if name == GRAD_NORM:
                if verdict.level == "explode" and math.isfinite(verdict.ratio):
                    verdicts[name] = verdict._replace(level="warn")
            elif verdict.level == "explode" and self.minor(name, values.get(name), weights):
                verdicts[name] = verdict._replace(
                    level="warn", reason=f"{verdict.reason} (below 1 % of the total)"
                )
            elif verdict.level == "warn" and norm.level != "ok":
                rules = self.detectors[name].rules
                high = verdict.ratio > rules.pair_ratio and verdict.z > rules.pair_z
                if high and not self.minor(name, values.get(name), weights):
                    verdicts[name] = verdict._replace(
                        level="explode", reason=f"{verdict.reason}; grad_norm also high"
                    )
        return Judgement(verdicts, max(verdicts, key=lambda name: _rank(verdicts[name])))


def _risen(name: str, verdict: Verdict) -> bool:
    return name != GRAD_NORM and verdict.ratio > TOGETHER_RATIO and verdict.z > TOGETHER_Z


def _rank(verdict: Verdict) -> tuple[int, float]:
    z = verdict.z if verdict.z == verdict.z else 0.0
    return ("ok", "warn", "explode").index(verdict.level), z


def _may_be_loss(name: str) -> bool:
    """Whether something that a script calls a loss may be one: no rate, no score, no time."""
    first = name.replace("/", "_").split("_")[0]
    other = first in {"lr", "learning", "acc", "accuracy", "time", "step", "epoch", "ranks"}
    return name != GRAD_NORM and ("loss" in name or not other)


def is_loss(name: str) -> bool:
    """Whether a metric of unknown kind is a loss by its name: high is bad, and it is trained."""
    if name.startswith(("acc", "val_", "l1_", "lr", "time", "data", "sample", "ranks")):
        return False
    last = name.rsplit("/", 1)[-1]
    return last in {"closs", "total", "nll", "ce", "mse"} or "loss" in last

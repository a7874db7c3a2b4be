"""Finds why a training exploded: the batch, the path of its weights, or a fault that happened once.

Runs between restoring the snapshot and going on. First the batch that exploded is measured on the
snapshot's weights, without an update: high there too means the *data* did it. Else the stretch from
the snapshot to the spike is trained once more with the same random numbers and samples: if it
explodes again, *dynamics* drove the weights there; if it does not, the fault was *transient*: a
flipped bit, a race, numerics that differ from run to run.

Probe and replay are a user's: what they raise on one rank is sent to all, which give up together. A
rank that left alone would leave the others waiting for it.
"""

from __future__ import annotations

import math
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from vlamon.detect.spikes import ComponentDetectors, Judgement
from vlamon.guard import collectives
from vlamon.guard.values import Prevented

Cause = Literal["data", "dynamics", "transient", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a training's own probe function says about one batch, measured without an update."""

    values: Mapping[str, float]
    """Losses of the batch by name; with `grad_norm` if it is cheap to have."""
    per_sample: Sequence[float] = ()
    """The exploded loss of every sample, in the order of the batch."""
    samples: Sequence[Mapping[str, Any]] = ()
    """Who they are: `id`, `source` and what else helps to find them."""
    non_finite: Sequence[str] = ()
    """Modules whose activations were not finite."""


Probe = Callable[[Any], ProbeResult]
"""Measures a batch on the weights as they are."""
Replay = Callable[[int], Mapping[str, float]]
"""Trains one whole step (draw, forward, backward, update) and gives its losses; emits nothing."""


@dataclass(frozen=True, slots=True)
class Explosion:
    """What is to be explained."""

    step: int
    """Step that was judged."""
    judgement: Judgement
    """What this rank's detectors said; ok where another rank exploded."""
    values: Mapping[str, float | None]
    """Losses of that step on this rank."""
    batch: Any = None
    """Its batch on this rank."""
    samples: Any = None
    """Ids of its samples."""
    history: Sequence[tuple[int, Mapping[str, float | None]]] = ()
    """The steps before it, for the evidence."""
    age: int = 0
    """Steps since the trouble began, as the rank that knows most of it tells; 0 for one batch."""
    metric: str = ""
    """The component that exploded most, on any rank."""
    value: float | None = None
    """Its value there."""
    ratio: float = 1.0
    """That over its usual level."""
    prevented: Prevented = ""
    """What the ladder did about its update."""

    @property
    def onset(self) -> int:
        """The first step of the trouble."""
        return self.step - self.age

    @property
    def before(self) -> int | None:
        """The last step before a trouble that was seen late; None where the batch itself broke."""
        return self.step - self.age if self.age else None


@dataclass(frozen=True, slots=True)
class AutopsyResult:
    """The verdict and what it rests on."""

    cause: Cause
    text: str
    """One sentence for a person."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()
    """Samples to blame, with their loss; of all ranks."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that an autopsy needs from the guard."""

    explosion: Explosion
    slot_step: int
    detectors: ComponentDetectors
    """As they were at the snapshot; the autopsy works on copies."""
    weights: Mapping[str, float]
    restore: Callable[[], None]
    """Puts the whole snapshot back, sampler included."""
    probe: Probe | None
    replay: Replay | None
    longest: int
    """Steps that a replay may take."""


def examine(case: Case) -> AutopsyResult:
    """The verdict. The snapshot is in force when this is called, and again when it returns."""
    explosion = case.explosion
    measured = _measured(case)
    shared = collectives.everyone(measured)
    evidence: dict[str, Any] = {
        "probe": [part.values for part in shared if part.values],
        **measured.history,
    }
    failed = [part.failure for part in shared if part.failure]
    if failed:
        return AutopsyResult("unknown", f"the autopsy failed: {'; '.join(failed)}", evidence)
    guilty = [part for part in shared if part.high]
    if guilty:
        samples = tuple(sample for part in guilty for sample in part.blamed)
        named = f": samples {_names(samples)}" if samples else ""
        place = f"on the weights of step {case.slot_step}"
        text = f"data: the batch scores {guilty[0].score} {place} too{named}"
        return AutopsyResult("data", text, evidence, samples)
    if case.replay is None:
        return AutopsyResult(
            "unknown", "not replayed: the guard was given no replay function", evidence
        )
    length = explosion.step - case.slot_step
    if length > case.longest:
        text = f"not replayed: {length} steps are more than autopsy_steps = {case.longest}"
        return AutopsyResult("unknown", text, evidence)
    case.restore()
    try:
        exploded, value = _repeat(case)
    except ReplayFailed as failure:
        return AutopsyResult("unknown", f"the autopsy failed: {failure}", evidence)
    finally:
        case.restore()
    evidence["replay"] = {"exploded_at": exploded, "value": value, "steps": length}
    normal = f"the batch is normal on the weights of step {case.slot_step}"
    if not case.probe:
        normal = "the batch was not probed"
    if exploded is not None:
        first = evidence.get("first_to_leave")
        led = f"; {first} deviated first" if first else ""
        text = f"dynamics: {normal}, and the replay explodes again at step {exploded}{led}"
        return AutopsyResult("dynamics", text, evidence)
    where = f"rank {collectives.rank()} on {socket.gethostname()}"
    seen = [w for w in collectives.everyone(where if _own(explosion) else None) if w]
    evidence["seen_on"] = seen
    text = (
        f"transient: {normal}, and {length} replayed steps do not explode; seen on "
        f"{', '.join(seen) or where}"
    )
    return AutopsyResult("transient", text, evidence)


@dataclass(frozen=True, slots=True)
class _Measured:
    high: bool = False
    score: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    blamed: tuple[Mapping[str, Any], ...] = ()
    history: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    """What went wrong on this rank."""


class ReplayFailed(Exception):
    """The replay raised on some rank."""


def _measured(case: Case) -> _Measured:
    """What this rank finds, in a form that travels; never an exception."""
    try:
        measured = _measure(case)
        history = _history(case.explosion.history, case.weights)
        measured = replace(measured, history=history)
        pickle.dumps(measured)  # as it is about to be: samples are whatever a user's probe gave
        return measured
    except Exception as error:
        return _Measured(failure=_error_text(error))


def _error_text(error: Exception) -> str:
    place = f" on rank {collectives.rank()}" if collectives.world() > 1 else ""
    return f"{type(error).__name__}: {error}{place}"


def _measure(case: Case) -> _Measured:
    explosion = case.explosion
    if case.probe is None or explosion.batch is None:
        return _Measured()
    probed = case.probe(explosion.batch)
    detectors = _copy(case.detectors)
    verdicts = detectors.observe(probed.values, case.weights).verdicts
    for metric, then in explosion.judgement.verdicts.items():
        now = verdicts.get(metric)
        if now is None or then.level == "ok":
            continue
        if not math.isfinite(probed.values.get(metric, 0.0)):
            return _Measured(True, f"{metric} {probed.values[metric]}", probed.values)
        # Half of the way that the explosion went, in log space, and out of the ordinary.
        far = math.isfinite(then.ratio) and now.ratio > 1 and then.ratio > 1
        if now.level == "explode" or (
            now.level == "warn" and far and 2 * math.log(now.ratio) >= math.log(then.ratio)
        ):
            score = f"{metric} {probed.values[metric]:.4g} (×{now.ratio:.3g})"
            return _Measured(True, score, probed.values, _blamed(probed, detectors.band(metric)))
    return _Measured(values=probed.values)


def _blamed(
    probed: ProbeResult, band: tuple[float, float, float] | None
) -> tuple[Mapping[str, Any], ...]:
    """The samples that are high themselves; all of them where that is not known."""
    if not probed.per_sample or band is None:
        return tuple(dict(sample) for sample in probed.samples)
    usual, worst = band[0], max(probed.per_sample)
    limit = math.sqrt(usual * worst) if 0 < usual < worst < math.inf else usual
    return tuple(
        {**sample, "loss": loss}
        for sample, loss in zip(probed.samples, probed.per_sample, strict=False)
        if not loss < limit
    )


def _repeat(case: Case) -> tuple[int | None, float | None]:
    """Train slot → spike again; the first step at which any rank explodes, and its value here."""
    assert case.replay is not None
    detectors = _copy(case.detectors)
    for step in range(case.slot_step + 1, case.explosion.step + 1):
        value, failure, exploded = None, "", False
        try:
            values = case.replay(step)
            judgement = detectors.observe(values, case.weights)
            value, exploded = values.get(judgement.metric), judgement.level == "explode"
        except Exception as error:
            failure = _error_text(error)
        flags = torch.tensor([exploded, bool(failure)], dtype=torch.float64)
        any_exploded, any_failed = collectives.reduced(flags).tolist()
        if any_failed:
            raise ReplayFailed("; ".join(said for said in collectives.everyone(failure) if said))
        if any_exploded:
            return step, value
    return None, None


def _copy(detectors: ComponentDetectors) -> ComponentDetectors:
    twin = ComponentDetectors(detectors.names, detectors.rules, detectors.rules_by_name)
    twin.load_state_dict(detectors.state_dict())
    return twin


def _own(explosion: Explosion) -> bool:
    return explosion.judgement.level == "explode"


def _history(
    history: Sequence[tuple[int, Mapping[str, float | None]]], weights: Mapping[str, float]
) -> dict[str, Any]:
    """grad_norm and lr before the spike, and which term left its usual range first."""
    found: dict[str, Any] = {}
    for name in ("grad_norm", "lr"):
        line = [[step, values[name]] for step, values in history if values.get(name) is not None]
        if line:
            found[name] = line[-32:]
    clips = [bool(values["clipped"]) for _, values in history if values.get("clipped") is not None]
    if clips:
        found["clipped_share"] = sum(clips) / len(clips)
    first = _first_to_leave(history, set(weights) | {"grad_norm"})
    if first:
        found["first_to_leave"] = first
    return found


def _first_to_leave(
    history: Sequence[tuple[int, Mapping[str, float | None]]], names: set[str]
) -> str:
    """The metric that first doubled against its median over the older half of the history."""
    half = len(history) // 2
    usual: dict[str, float] = {}
    for name in names:
        old = [v for _, values in history[:half] if (v := values.get(name)) and math.isfinite(v)]
        if len(old) >= 4:
            usual[name] = sorted(old)[len(old) // 2]
    for _, values in history[half:]:
        over = {
            name: value / level
            for name, level in usual.items()
            if (value := values.get(name)) is not None and not value <= 2 * level
        }
        if over:
            return max(over, key=lambda name: over[name])
    return ""


def _names(samples: Sequence[Mapping[str, Any]]) -> str:
    ids = [str(sample.get("id", "?")) for sample in samples]
    return ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")

"""The verdict over an explosion, from its probe, its replay and the steps before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from vlamon.detect.spikes import ComponentDetectors, Judgement, Verdict
from vlamon.guard.autopsy import AutopsyResult, Case, Explosion, Probe, ProbeResult, Replay, examine

WEIGHTS = {"closs": 1.0}
SLOT, STEP = 9, 15


def detectors() -> ComponentDetectors:
    """As they were at the snapshot: closs has always been 1."""
    found = ComponentDetectors()
    for _ in range(60):
        found.observe({"closs": 1.0}, WEIGHTS)
    return found


class Scene:
    """An explosion of step 15 with a snapshot of step 9, and what probe and replay were asked."""

    def __init__(
        self,
        probed: Mapping[str, float] | Callable[[], ProbeResult] | None = None,
        replayed: Callable[[int], float] | None = None,
        *,
        ratio: float = 16.0,
        level: str = "explode",
        longest: int = 400,
        history: Sequence[tuple[int, Mapping[str, float | None]]] = (),
        batch: Any = "batch",
    ) -> None:
        self.restored = 0
        self.replayed: list[int] = []
        self.probed = probed
        self._value = replayed
        verdict = Verdict(level, 50.0, ratio, "x")  # type: ignore[arg-type]
        explosion = Explosion(
            STEP,
            Judgement({"closs": verdict}, "closs"),
            {"closs": ratio},
            batch,
            history=history,
        )
        probe: Probe | None = None if probed is None else self._probe
        replay: Replay | None = None if replayed is None else self._replay
        self.case = Case(
            explosion, SLOT, detectors(), WEIGHTS, self._restore, probe, replay, longest
        )

    def examine(self) -> AutopsyResult:
        return examine(self.case)

    def _restore(self) -> None:
        self.restored += 1

    def _probe(self, batch: Any) -> ProbeResult:
        assert batch == "batch"
        if callable(self.probed):
            return self.probed()
        return ProbeResult(values=self.probed or {})

    def _replay(self, step: int) -> Mapping[str, float]:
        self.replayed.append(step)
        assert self._value is not None
        return {"closs": self._value(step)}


# ---- the batch on the weights of the snapshot ----


@pytest.mark.parametrize(
    ("measured", "ratio", "cause"),
    [
        (30.0, 1000.0, "data"),  # an explosion by itself
        (4.1, 16.0, "data"),  # ×4 is half of the way to ×16
        (3.9, 16.0, "transient"),
        (1.5, 2.0, "data"),
        (1.3, 1.6, "data"),
        (1.25, 1.6, "transient"),
        (4.1, math.inf, "transient"),  # no way that half could be gone
        (4.1, 1.0, "transient"),
        (1.0, 16.0, "transient"),
    ],
)
def test_a_batch_that_scores_half_of_the_rise_without_the_path_is_to_blame(
    measured: float, ratio: float, cause: str
) -> None:
    found = Scene({"closs": measured}, lambda step: 1.0, ratio=ratio).examine()
    assert found.cause == cause


def test_a_batch_that_is_to_blame_is_told_with_its_value_and_the_step_of_the_weights() -> None:
    scene = Scene({"closs": 30.0}, lambda step: 1.0)
    found = scene.examine()
    text = "data: the batch scores closs 30 (×30) on the weights of step 9 too"
    assert (found.cause, found.text, found.samples) == ("data", text, ())
    assert found.evidence["probe"] == [{"closs": 30.0}]
    assert (scene.replayed, scene.restored) == ([], 0)


def test_a_batch_that_is_not_finite_there_either_is_to_blame() -> None:
    found = Scene({"closs": math.nan}).examine()
    assert (found.cause, found.text[:36]) == ("data", "data: the batch scores closs nan on ")


def test_a_metric_that_did_not_explode_blames_no_batch() -> None:
    found = Scene({"closs": 30.0}, lambda step: 1.0, level="ok").examine()
    assert found.cause == "transient"
    other = Scene({"total": 30.0}, lambda step: 1.0).examine()
    assert other.cause == "transient"


def sampled(losses: Sequence[float], ids: Sequence[int] | None = None) -> ProbeResult:
    names = range(len(losses)) if ids is None else ids
    return ProbeResult(
        values={"closs": 30.0}, per_sample=losses, samples=[{"id": name} for name in names]
    )


@pytest.mark.parametrize(
    ("losses", "blamed"),
    [
        ([1.0, 9.9, 10.1, 100.0], [2, 3]),  # the middle of 1 and 100, as ratios go
        ([0.9, 1.0, 1.1, math.inf], [1, 2, 3]),  # no middle: what is not below the usual level
        ([0.5, math.nan, 100.0], [1, 2]),
        ([0.5, 1.0, 1.0], [1, 2]),
        ([], [0, 1]),
    ],
)
def test_the_samples_to_blame_are_those_that_are_high_themselves(
    losses: list[float], blamed: list[int]
) -> None:
    found = Scene(lambda: sampled(losses, range(len(losses) or 2))).examine()
    assert [sample["id"] for sample in found.samples] == blamed
    assert found.text.endswith(f" too: samples {', '.join(map(str, blamed))}")
    assert all(("loss" in sample) is bool(losses) for sample in found.samples)


@pytest.mark.parametrize(
    ("count", "said"), [(8, "0, 1, 2, 3, 4, 5, 6, 7"), (9, "0, 1, 2, 3, 4, 5, 6, 7 and 1 more")]
)
def test_eight_samples_are_named(count: int, said: str) -> None:
    found = Scene(lambda: sampled([50.0] * count)).examine()
    assert found.text.endswith(f" too: samples {said}")
    assert len(found.samples) == count


def test_a_probe_that_fails_is_told_and_nothing_is_replayed() -> None:
    def broken() -> ProbeResult:
        raise ValueError("no such file")

    scene = Scene(broken, lambda step: 1.0)
    found = scene.examine()
    assert (found.cause, found.text) == (
        "unknown", "the autopsy failed: ValueError: no such file",
    )  # fmt: skip
    assert scene.replayed == []


# ---- the stretch once more ----


def test_the_replay_begins_behind_the_snapshot_and_ends_with_the_step_that_exploded() -> None:
    scene = Scene({"closs": 1.0}, lambda step: 1.0)
    found = scene.examine()
    assert scene.replayed == [10, 11, 12, 13, 14, 15]
    assert scene.restored == 2, "before the replay and behind it"
    assert found.cause == "transient"
    assert found.text.startswith(
        "transient: the batch is normal on the weights of step 9, and 6 replayed steps do not "
        "explode; seen on rank 0 on "
    )
    assert found.evidence["replay"] == {"exploded_at": None, "value": None, "steps": 6}
    assert len(found.evidence["seen_on"]) == 1


@pytest.mark.parametrize("at", [10, 15])
def test_a_replay_that_explodes_ends_there_and_is_dynamics(at: int) -> None:
    scene = Scene({"closs": 1.0}, lambda step: 50.0 if step >= at else 1.0)
    found = scene.examine()
    assert scene.replayed == list(range(10, at + 1))
    assert scene.restored == 2
    assert found.cause == "dynamics"
    assert found.text == (
        "dynamics: the batch is normal on the weights of step 9, and the replay explodes again "
        f"at step {at}"
    )
    assert found.evidence["replay"] == {"exploded_at": at, "value": 50.0, "steps": 6}


def test_a_warning_in_the_replay_is_no_explosion() -> None:
    found = Scene({"closs": 1.0}, lambda step: 4.0 if step == 12 else 1.0).examine()
    assert found.cause == "transient"


@pytest.mark.parametrize("without", ["probe", "batch"])
def test_what_was_not_probed_is_not_said_to_be_normal(without: str) -> None:
    probed = None if without == "probe" else {"closs": 30.0}
    batch = None if without == "batch" else "batch"
    found = Scene(probed, lambda step: 1.0, batch=batch).examine()
    assert found.cause == "transient"
    if without == "probe":
        assert found.text.startswith("transient: the batch was not probed, and 6 replayed")
        assert found.evidence["probe"] == []


@pytest.mark.parametrize(("longest", "replays"), [(6, True), (5, False)])
def test_a_stretch_that_is_too_long_is_not_replayed(longest: int, replays: bool) -> None:
    scene = Scene({"closs": 1.0}, lambda step: 1.0, longest=longest)
    found = scene.examine()
    assert bool(scene.replayed) is replays
    if not replays:
        assert (found.cause, found.text) == (
            "unknown", "not replayed: 6 steps are more than autopsy_steps = 5",
        )  # fmt: skip
        assert scene.restored == 0


def test_a_guard_without_a_replay_says_so() -> None:
    found = Scene({"closs": 1.0}).examine()
    assert (found.cause, found.text) == (
        "unknown", "not replayed: the guard was given no replay function",
    )  # fmt: skip


def test_a_replay_that_fails_is_told_with_the_snapshot_back_in_force() -> None:
    def broken(step: int) -> float:
        if step == 12:
            raise RuntimeError("the loader is gone")
        return 1.0

    scene = Scene({"closs": 1.0}, broken)
    found = scene.examine()
    assert (found.cause, found.text) == (
        "unknown", "the autopsy failed: RuntimeError: the loader is gone",
    )  # fmt: skip
    assert scene.replayed == [10, 11, 12]
    assert scene.restored == 2


def test_probe_and_replay_leave_the_detectors_as_they_were() -> None:
    scene = Scene({"closs": 3.0}, lambda step: 50.0)
    before = scene.case.detectors.state_dict()
    scene.examine()
    assert scene.case.detectors.state_dict() == before


def test_an_explosion_of_another_rank_is_not_said_to_be_seen_here() -> None:
    found = Scene({"closs": 1.0}, lambda step: 1.0, level="ok").examine()
    assert found.evidence["seen_on"] == []
    assert "; seen on rank 0 on " in found.text, "where this rank is, for want of another"


# ---- the steps before it ----


def test_the_evidence_has_the_last_steps_and_what_left_its_band_first() -> None:
    history = [
        (
            step,
            {
                "closs": 2.0 if step >= 33 else 1.0,  # twice its level, and no more
                "grad_norm": 9.0 if step >= 35 else 1.0,
                "lr": None if step == 39 else step / 1000,
                "clipped": float(step % 4 == 0) if step < 20 else None,
                "reward": 99.0 if step >= 30 else 1.0,
            },
        )
        for step in range(40)
    ]
    found = Scene({"closs": 1.0}, lambda step: 50.0, history=history).examine()
    assert found.evidence["grad_norm"] == [[s, 9.0 if s >= 35 else 1.0] for s in range(8, 40)]
    assert found.evidence["lr"] == [[step, step / 1000] for step in range(7, 39)]
    assert found.evidence["clipped_share"] == 0.25
    assert found.evidence["first_to_leave"] == "grad_norm", (
        "a metric without a weight is not a term"
    )
    assert found.text.endswith("explodes again at step 10; grad_norm deviated first")


def test_a_short_history_has_no_band_to_leave() -> None:
    def history(count: int) -> list[tuple[int, Mapping[str, float | None]]]:
        return [(step, {"closs": 1.0}) for step in range(count)] + [(count, {"closs": 9.0})]

    assert "first_to_leave" not in Scene({"closs": 1.0}, history=history(6)).examine().evidence
    found = Scene({"closs": 1.0}, history=history(7)).examine()
    assert found.evidence["first_to_leave"] == "closs"


def test_an_explosion_that_was_seen_late_began_before_its_step() -> None:
    late = Explosion(300, Judgement(), {}, age=40)
    once = Explosion(300, Judgement(), {})
    assert (late.onset, late.before) == (260, 260)
    assert (once.onset, once.before) == (300, None)

"""Explains an explosion while a rollback is under way, by an autopsy on the state put back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from vlamon.guard.autopsy import AutopsyResult, Case, Explosion, Probe, Replay, examine
from vlamon.guard.detection import Detection
from vlamon.guard.reporting import Reporter
from vlamon.guard.settings import GuardSettings
from vlamon.guard.skips import Skips
from vlamon.guard.snapshots import ReturnPoint, Snapshots


class Explainer:
    """Runs autopsies with the functions that the script gave for them."""

    def __init__(
        self,
        settings: GuardSettings,
        snapshots: Snapshots,
        detection: Detection,
        skips: Skips,
        reporter: Reporter,
        probe: Probe | None = None,
        replay: Replay | None = None,
    ) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._detection = detection
        self._skips = skips
        self._reporter = reporter
        self.probe = probe
        """Measures a batch without an update."""
        self.replay = replay
        """Trains one step."""

    @property
    def available(self) -> bool:
        """Whether the script gave anything to explain an explosion with."""
        return self.probe is not None or self.replay is not None

    def explain(self, explosion: Explosion, place: ReturnPoint, contiguous: bool) -> AutopsyResult:
        """Run and report the autopsy. An error of the user's probe or replay is its result.

        `contiguous`: the steps since that state are the ones that its branch has trained, so that
        they can be replayed.
        """
        try:
            finding = examine(
                Case(
                    explosion,
                    place.step,
                    self._detection.detectors,
                    self._detection.weights(),
                    partial(self._snapshots.restore, place),
                    self.probe,
                    self._replay_step if self.replay and contiguous else None,
                    self._settings.autopsy_steps,
                )
            )
        except Exception as error:
            text = f"the autopsy failed: {type(error).__name__}: {error}"
            finding = AutopsyResult("unknown", text)
        self._reporter.autopsy(explosion.step, place.step, finding)
        return finding

    def _replay_step(self, step: int) -> Mapping[str, float]:
        """Train a step again, and skip the samples that were skipped the first time."""
        assert self.replay is not None
        values = self.replay(step)
        self._skips.drawn()
        self._skips.pass_over()
        return values

"""Judges a training's losses step by step, remembers them, and reports each episode once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from vlamon.detect.components import GRAD_NORM
from vlamon.detect.spikes import ComponentDetectors, Judgement, Verdict
from vlamon.guard.episode import Episode, alarming, worst_ratio
from vlamon.guard.gate import BLOCKED_IN_A_ROW, Blockage
from vlamon.guard.known_levels import ELEVATED, KnownLevels
from vlamon.guard.ledger import Ledger
from vlamon.guard.proof import GoodBatch
from vlamon.guard.reporting import QUIET_STEPS, Reporter, value_text
from vlamon.guard.values import Gate, StepValues, Value, read
from vlamon.guard.verdicts import JudgedStep, add, severity, worst
from vlamon.guard_modes import mode_detects

Weights = Mapping[str, float]
GOOD = 2
"""Batches that are held to prove a state by."""
HISTORY = 64
"""Steps that are remembered for the evidence of an autopsy."""


class Detection:
    """Judges what `check` and `after_step` are handed."""

    def __init__(
        self,
        detectors: ComponentDetectors,
        weights: Callable[[], Weights],
        ledger: Ledger,
        reporter: Reporter,
    ) -> None:
        self.detectors = detectors
        self.weights = weights
        """Weights of the losses in force; they tell which are trained."""
        self._ledger = ledger
        self._reporter = reporter
        self.history: deque[tuple[int, Mapping[str, float | None]]] = deque(maxlen=HISTORY)
        """The last steps with their values."""
        self.episode: Episode | None = None
        """The explosion that goes on without a rollback."""
        self._readings: deque[StepValues] = deque()
        self._judged: list[JudgedStep] = []
        self._blockage = Blockage()
        self._rungs = {"skip": Blockage(), "clip": Blockage()}
        self._known = KnownLevels(detectors.rules)
        self.good: deque[GoodBatch] = deque(maxlen=GOOD)
        """The last batches whose losses were calm."""
        self._unreadable: set[str] = set()

    @property
    def last_step(self) -> int:
        """The last step that was judged; -1 before the first."""
        return self.history[-1][0] if self.history else -1

    def take_in(self, step: int, values: Mapping[str, Value], gate: Gate | None = None) -> None:
        """Losses of a step, and what the gate says of its update."""
        weights = self.weights()
        if not any(name in weights for name in values):
            self.detectors.take_on(values)
        self.add(step, values, gate)

    def add(self, step: int, values: Mapping[str, Value], gate: Gate | None = None) -> None:
        """More numbers of a step; judged if they are losses by their names."""
        self._readings.append(read(step, values, gate, self._say_unreadable))

    def _say_unreadable(self, why: str) -> None:
        if why not in self._unreadable and len(self._unreadable) < 100:
            self._unreadable.add(why)
            self._reporter.event("note", self.last_step + 1, f"not judged: {why}", "warn")

    def judge_ready(self, step: int) -> list[JudgedStep]:
        """Judge what is on the host: this step on a CPU, the step before on a GPU.

        Returns the explosions that were not reported yet.
        """
        news: list[JudgedStep] = []
        while self._readings:
            reading = self._readings[0]
            if reading.copy is not None and reading.step == step:
                break
            reading.settle()
            self._readings.popleft()
            judgement = self._judge(reading)
            judged = JudgedStep(reading, judgement, self._is_news(reading.step, judgement))
            if judged.news:
                news.append(judged)
            add(self._judged, judged)
            self._remember(reading)
        return news

    def attach(self, step: int, batch: Any, samples: Any) -> None:
        """The batch that the values of a step came from."""
        for reading in [*self._readings, *(judged.reading for judged in self._judged)]:
            if reading.step == step:
                reading.batch, reading.samples = batch, samples

    def level(self) -> str:
        """The worst level since the last step boundary, for the ballot."""
        return max(
            (judged.level for judged in self._judged),
            key=("ok", "warn", "known", "explode").index,
            default="ok",
        )

    def take_judged(self) -> list[JudgedStep]:
        """What was judged since the last step boundary."""
        judged, self._judged = self._judged, []
        for each in judged:
            reading = each.reading
            if each.judgement.level == "ok" and reading.batch is not None:
                self.good.append(GoodBatch(reading.step, reading.batch, dict(reading.values)))
        return judged

    def explosion_continues(self, step: int, judged: Iterable[JudgedStep]) -> bool:
        """Whether the reported explosion goes on at this step, on any rank; it is not news.

        A level that stays becomes the usual one, so that the next explosion is seen.
        """
        if self.episode is None:
            return False
        self.episode.last = step
        self._adopt_new_level(self.episode, worst(judged, step))
        return True

    def begin_episode(self, step: int, ratio: float, onset: int) -> Episode:
        """Begin the episode of a reported explosion.

        While it goes on it is not reported again, unless a rung of the ladder answered it: then
        the next batch that explodes is one more reason to climb.
        """
        before = self.episode
        if before is not None and before.climbed and step - before.last <= QUIET_STEPS:
            before.last, before.worst = step, max(before.worst, ratio)
            return before
        self.episode = Episode(
            step,
            step,
            max(before.worst if before is not None else 1.0, ratio),
            usual=before.usual if before is not None else self._usual_levels(),
            onset=onset,
        )
        return self.episode

    def climbing(self) -> dict[str, Any] | None:
        """The explosion that the ladder answers, for a durable checkpoint: how far it was climbed.

        Any other is reported again after a resume: the mode that let it pass may have changed.
        """
        episode = self.episode
        return None if episode is None or not episode.climbed else asdict(episode)

    def restore_climb(self, saved: Mapping[str, Any] | None) -> None:
        """A resume: the ladder goes on where it was."""
        self.episode = Episode(**saved) if saved else None

    def end_episode(self, step: int) -> None:
        """Say so when the steps have been calm for a while since the explosion.

        Calm at a level far above the usual one is no recovery: the detectors have got used to it.
        """
        episode = self.episode
        if episode is None or step - episode.last <= QUIET_STEPS:
            return
        self.episode = None
        levels = self._recent_levels()
        for name, usual in episode.usual.items():
            if levels.get(name, 0.0) > ELEVATED * usual:
                level = levels[name]
                text = f"{name} stays at {level:.4g}: ×{level / usual:.3g} the level before"
                self._reporter.event("warn", step, text, "error")
                return
        self._reporter.event("recovered", step, f"calm again for {QUIET_STEPS} steps")

    def turn_back(self, to: int, onset: int) -> None:
        """A rollback left this branch: only the levels that it had are remembered."""
        self._known.turn_back(to, onset)
        self._readings.clear()
        self._judged.clear()
        self.history.clear()
        self.good.clear()
        self.episode = None

    def elevated(self) -> tuple[str, float] | None:
        """A loss that is still far above the level known before the last return, and how far."""
        return self._known.elevated(self._recent_levels())

    def confirm_rollback(self) -> None:
        """The return was good: from now on the detectors judge alone."""
        self._known.forget()

    def _usual_levels(self) -> dict[str, float]:
        levels = {n: each.reference()[0] for n, each in self.detectors.detectors.items()}
        return {name: level for name, level in levels.items() if level > 0 and name != GRAD_NORM}

    def _recent_levels(self) -> dict[str, float]:
        """Median of the last steps of every loss."""
        found: dict[str, list[float]] = {}
        for _, values in list(self.history)[-QUIET_STEPS:]:
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    found.setdefault(name, []).append(value)
        return {name: sorted(each)[len(each) // 2] for name, each in found.items()}

    def _judge(self, reading: StepValues) -> Judgement:
        judgement, known = Judgement(), mode_detects(self._ledger.mode)
        if known and reading.values:
            judgement = self.detectors.observe(reading.values, self.weights())
            judgement = self._against_known(reading, judgement)
        sound = all(value is None or math.isfinite(value) for value in reading.values.values())
        blocked = reading.blocked and (sound or not known)
        if self._blockage.note(reading.step, blocked):
            text = "no update: a gradient is not finite; the weights stay as they are"
            self._reporter.event("warn", reading.step, text, "warn")
        if count := self._blockage.ended(reading.step):
            text = f"updates go through again: {count} had a gradient that was not finite"
            self._reporter.event("recovered", reading.step, text)
        self._tell_rungs(reading)
        if known and blocked and self._blockage.running >= BLOCKED_IN_A_ROW:
            reason = f"not finite, and no update for {self._blockage.running} steps"
            verdict = Verdict("explode", math.inf, math.inf, reason)
            return Judgement({**judgement.verdicts, GRAD_NORM: verdict}, GRAD_NORM)
        return judgement

    def _tell_rungs(self, reading: StepValues) -> None:
        """Say what the ladder did to updates: the first of a row, and how many when it is over."""
        said = {
            "skip": "update skipped: loss or gradient norm far above the usual",
            "clip": f"gradients clipped, ×{reading.factor:.3g}: their norm is far above the usual",
        }
        done = {"skip": reading.skipped and not reading.blocked, "clip": reading.factor < 1}
        for rung, row in self._rungs.items():
            if done[rung] and not (row.count and row.last == reading.step):
                self._ledger.prevented(rung)
            if row.note(reading.step, done[rung]):
                self._reporter.event("warn", reading.step, said[rung], "warn", rung=rung)
            if count := row.ended(reading.step):
                text = f"rung {rung}: {count} updates in all"
                self._reporter.event("note", reading.step, text, rung=rung, count=count)

    def _against_known(self, reading: StepValues, judgement: Judgement) -> Judgement:
        """After a return, what is far above the level known before it is an explosion."""
        losses = {n: reading.values.get(n) for n in judgement.verdicts if n != GRAD_NORM}
        if judgement.level == "ok":
            self._known.record(reading.step, losses)
        verdicts = dict(judgement.verdicts)
        for name, value in losses.items():
            ratio = self._known.excess(name, value)
            if not ratio or self.detectors.minor(name, value, self.weights()):
                continue
            if verdicts[name].level != "explode":
                reason = f"×{ratio:.3g} the highest level known before the rollback"
                verdicts[name] = Verdict("explode", math.inf, ratio, reason)
        if verdicts == judgement.verdicts:
            return judgement
        return Judgement(verdicts, max(verdicts, key=lambda name: severity(verdicts[name])))

    def _is_news(self, step: int, judgement: Judgement) -> bool:
        if judgement.level != "explode":
            return False
        episode = self.episode
        return episode is None or step - episode.last > QUIET_STEPS or episode.is_news(judgement)

    def _remember(self, reading: StepValues) -> None:
        """For the evidence: what a step had, in however many calls it came."""
        values: Mapping[str, float | None] = reading.values
        if self.history and self.history[-1][0] == reading.step:
            values = {**self.history.pop()[1], **values}
        if values:
            self.history.append((reading.step, values))

    def _adopt_new_level(self, episode: Episode, judged: JudgedStep) -> None:
        step, judgement = judged.reading.step, judged.judgement
        if not episode.overdue(step) or judgement.level != "explode":
            return
        since, episode.began = step - episode.began, step
        said = f"{judgement.metric} {value_text(judged.reading.values.get(judgement.metric))}"
        if math.isinf(worst_ratio(judgement)):
            text = f"{said} still: it has not been finite for {since} steps"
            self._reporter.event("warn", step, text, "error")
            return
        self.detectors.reset(alarming(judgement))
        episode.worst = 1.0
        text = f"{said} is the usual level from now on: it has stayed for {since} steps"
        self._reporter.event("note", step, text, "warn")

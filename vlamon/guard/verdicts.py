"""Gathers what was judged since the last step boundary, which may take several calls a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vlamon.detect.spikes import Judgement, Verdict
from vlamon.guard.values import StepValues

_LEVELS = ("ok", "warn", "explode")


@dataclass(slots=True)
class JudgedStep:
    """A step's values and what they are."""

    reading: StepValues
    """The values."""
    judgement: Judgement
    """What the detectors said; the worst, where they were asked several times."""
    news: bool = False
    """Whether it is an explosion that was not reported yet."""

    @property
    def level(self) -> str:
        """For the ballot: there is nothing to decide on an explosion that is known of."""
        level = self.judgement.level
        return "known" if level == "explode" and not self.news else level

    def join(self, other: JudgedStep) -> None:
        """Take in more values of the same step."""
        reading = other.reading
        self.reading.batch = reading.batch if self.reading.batch is None else self.reading.batch
        if self.reading.samples is None:
            self.reading.samples = reading.samples
        verdicts = dict(self.judgement.verdicts)
        for name, value in reading.values.items():
            verdict, before = other.judgement.verdicts.get(name), verdicts.get(name)
            if verdict is not None and before is not None and severity(before) > severity(verdict):
                continue  # of two values of a name (micro-batches) the worse one is reported
            self.reading.values[name] = value
            if verdict is not None:
                verdicts[name] = verdict
        for name, verdict in other.judgement.verdicts.items():
            verdicts.setdefault(name, verdict)
        metric = max(verdicts, key=lambda name: severity(verdicts[name]), default="")
        calm = metric == "" or verdicts[metric].level == "ok"
        self.judgement = Judgement(verdicts, "" if calm else metric)
        self.news |= other.news


def add(judged: list[JudgedStep], new: JudgedStep) -> None:
    """Put a judgement to those of the same step."""
    for each in judged:
        if each.reading.step == new.reading.step:
            each.join(new)
            return
    judged.append(new)


def worst(judged: Iterable[JudgedStep], step: int) -> JudgedStep:
    """The judgement that decides; a calm one of this step where there is none."""
    return max(
        judged,
        key=lambda each: (each.news, *severity(each.judgement.verdict)),
        default=JudgedStep(StepValues(step), Judgement()),
    )


def severity(verdict: Verdict) -> tuple[int, float]:
    """For comparing verdicts: level first, then how far from the usual."""
    z = verdict.z if verdict.z == verdict.z else 0.0
    return _LEVELS.index(verdict.level), z

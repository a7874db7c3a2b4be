"""What a rule finds, and how it is put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.evidence import Evidence
from vlamon.records import Severity

LANGUAGES = {"en": "english", "zh": "chinese"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found, in numbers."""

    id: str
    """Id of the rule."""
    severity: Severity
    """`error` for what broke the run, `warn` for what needs attention, `info` for facts."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """The numbers that the words need."""


@dataclass(frozen=True, slots=True)
class DiagnosisText:
    """How one diagnosis reads in one language; `evidence` takes the facts by name."""

    title: str
    """A few words."""
    evidence: str
    """What was seen, with its numbers."""
    advice: str
    """What to do."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding in words."""

    id: str
    """Id of the rule, the same in every language."""
    severity: Severity
    """`error`, `warn` or `info`."""
    title: str
    """A few words."""
    evidence: str
    """What was seen, with its numbers."""
    advice: str
    """What to do."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """The numbers, for scripts."""


Rule = Callable[[Evidence, Sequence[Anomaly]], list[Finding]]


@cache
def words(lang: str) -> Mapping[str, DiagnosisText]:
    """All texts of a language."""
    module = import_module(f"vlamon.analysis.diagnosis.{LANGUAGES[lang]}")
    texts: Mapping[str, DiagnosisText] = module.WORDS
    return texts


def in_words(finding: Finding, lang: str) -> Diagnosis:
    """A finding as a person reads it."""
    text = words(lang).get(finding.id) or words("en")[finding.id]
    facts = {name: fact_text(value) for name, value in finding.facts.items()}
    return Diagnosis(
        id=finding.id,
        severity=finding.severity,
        title=text.title.format(**facts),
        evidence=text.evidence.format(**facts),
        advice=text.advice.format(**facts),
        facts=finding.facts,
    )


def fact_text(value: object) -> str:
    """A fact as it is printed: four significant digits, lists with commas."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(fact_text(item) for item in value)
    return str(value)

"""Diagnoses what is likely wrong with a run, and what to do about it.

One small rule each, grouped by what they look at. A rule reads the evidence and says what it found
in numbers; the words, in English and Chinese, are data in `english.py` and `chinese.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.analysis.anomalies import Anomaly, anomalies
from vlamon.analysis.diagnosis import (
    averaging,
    course,
    energy,
    explosion,
    levels,
    optimisation,
    policy,
    ranks,
    trend,
    weights,
)
from vlamon.analysis.diagnosis.finding import Diagnosis, Finding, Rule, in_words
from vlamon.analysis.evidence import Evidence

RULES: tuple[Rule, ...] = (
    explosion.crashed,
    explosion.non_finite,
    ranks.rank_with_broken_batch,
    ranks.rank_lost,
    ranks.ranks_apart,
    ranks.rank_straggles,
    ranks.rank_throttled,
    explosion.closs_explosion,
    explosion.loss_ct_steady_during_spike,
    averaging.epoch_line_disagrees_with_batches,
    averaging.meter_order_changed,
    averaging.alternating_levels,
    levels.above_random_guess,
    levels.near_random_guess,
    levels.not_emitting_action_tokens,
    levels.two_paths_diverge,
    weights.term_without_weight,
    weights.loss_ct_diluted,
    optimisation.clip_always_active,
    optimisation.constant_lr,
    optimisation.logit_drift,
    optimisation.data_stall,
    course.loss_rises,
    course.never_fell,
    course.falls_without_end,
    course.recurring_single_spikes,
    course.trained_in_rounds,
    policy.entropy_collapse,
    policy.entropy_explosion,
    policy.kl_explosion,
    policy.reward_falls,
    trend.overfitting,
    trend.converged,
    trend.not_converged,
    energy.energy_collapse,
    energy.energy_follows_l1,
    explosion.interleaved_jobs,
    explosion.restart,
)
"""All rules, what matters most first."""


def diagnose(
    evidence: Evidence, found: Sequence[Anomaly] | None = None, lang: str = "en"
) -> list[Diagnosis]:
    """Everything that the rules find, in words, the severest first."""
    known = anomalies(evidence) if found is None else found
    findings = [finding for rule in RULES for finding in rule(evidence, known)]
    order = {"error": 0, "warn": 1, "info": 2}
    findings.sort(key=lambda finding: order[finding.severity])
    return [in_words(finding, lang) for finding in findings]


__all__ = ["RULES", "Diagnosis", "Finding", "diagnose"]

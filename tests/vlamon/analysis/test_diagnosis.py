"""Each diagnosis fires on what it is for and keeps quiet beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from vlamon.analysis import diagnosis as rules
from vlamon.analysis.anomalies import Anomaly, anomalies
from vlamon.analysis.convergence import convergence
from vlamon.analysis.diagnosis import Diagnosis, chinese, diagnose, english
from vlamon.analysis.diagnosis.finding import DiagnosisText, Finding
from vlamon.analysis.evidence import Evidence, KeyOrder, gather
from vlamon.analysis.settings import Settings
from vlamon.records import BatchBlock, Column, EpochBlock, Event, IntervalBlock, Record

Values = Mapping[str, Sequence[float]]

TWELVE_CLOSS = (3.26, 4.06, 2.49, 2.14, 4.04, 2.52, 2.14, 95.19, 4.21, 2.13, 37.74, 4.01)
TWELVE_LOSS_CT = (0.085, 0.612, 0.052, 0.779, 0.616, 0.04, 0.819, 0.069, 0.066, 0.824, 0.063, 0.62)


def epochs(split: str = "train", **metrics: Sequence[float]) -> EpochBlock:
    count = max(len(values) for values in metrics.values())
    columns = {name: Column(np.asarray(values, float)) for name, values in metrics.items()}
    return EpochBlock(split, np.arange(count, dtype=float), columns)


def batches(attempt: int = 0, first: int = 0, **metrics: Sequence[float]) -> BatchBlock:
    count = max(len(values) for values in metrics.values())
    return BatchBlock(
        seq=first,
        attempt=attempt,
        step=np.arange(first, first + count),
        epoch=np.zeros(count),
        time=np.full(count, np.nan),
        columns={name: Column(np.asarray(values, float)) for name, values in metrics.items()},
    )


def intervals(per_epoch: int = 20, **metrics: Sequence[float]) -> IntervalBlock:
    count = max(len(values) for values in metrics.values())
    rows = np.arange(count)
    last = rows % per_epoch * 10
    columns = {name: Column(np.asarray(values, float)) for name, values in metrics.items()}
    averages = {
        name: np.concatenate(
            [
                np.cumsum(part) / np.arange(1, len(part) + 1)
                for part in np.split(np.asarray(values, float), range(per_epoch, count, per_epoch))
            ]
        )
        for name, values in metrics.items()
    }
    return IntervalBlock(
        epoch=rows // per_epoch,
        first=np.where(last == 0, 0, last - 9),
        last=last,
        metrics=columns,
        bound={},
        printed={name: (Column(values), Column(values)) for name, values in averages.items()},
        step=rows // per_epoch * per_epoch * 10 + last,
    )


def evidence(*records: Record, settings: Settings | None = None, orders: object = ()) -> Evidence:
    return gather(records, settings, orders)  # type: ignore[arg-type]


def ids(*records: Record, settings: Settings | None = None, orders: object = ()) -> set[str]:
    return {found.id for found in diagnose(evidence(*records, settings=settings, orders=orders))}


def noisy(level: float, count: int, spread: float = 0.02, seed: int = 1) -> np.ndarray:
    return level * np.random.default_rng(seed).lognormal(0, spread, count)


def found(records: Sequence[Record], name: str) -> Diagnosis:
    return next(d for d in diagnose(evidence(*records)) if d.id == name)


class TestExplosion:
    def test_both_of_twelve_epochs_are_named_as_explosions(self) -> None:
        lines = epochs(closs=TWELVE_CLOSS, loss_ct=TWELVE_LOSS_CT)
        named = [(a.value, a.level) for a in anomalies(evidence(lines)) if a.metric == "closs"]
        assert named == [(95.19, "explode"), (37.74, "explode")]
        said = found([lines], "closs-explosion")
        assert said.severity == "error"
        assert "epoch 7: 95.19" in said.evidence
        assert "epoch 10: 37.74" in said.evidence

    def test_levels_that_swing_below_two_and_a_half_are_no_explosion(self) -> None:
        calm = [v for v in TWELVE_CLOSS if v < 10]
        assert "closs-explosion" not in ids(epochs(closs=calm))

    @pytest.mark.parametrize(("factor", "fires"), [(2.6, True), (2.3, False)])
    def test_an_interval_explodes_at_two_and_a_half_times_its_neighbours(
        self, factor: float, fires: bool
    ) -> None:
        values = noisy(8.5, 60, 0.005)
        values[30] *= factor
        assert ("closs-explosion" in ids(intervals(closs=values))) is fires

    def test_the_steep_begin_of_a_training_is_no_explosion(self) -> None:
        falling = 2 + 11 * np.exp(-np.arange(200) / 4)
        assert "closs-explosion" not in ids(intervals(per_epoch=200, closs=falling))

    def test_a_run_that_jumps_and_stays_up_exploded_where_it_jumped(self) -> None:
        values = noisy(2.5, 80, 0.005)
        values[40:] = 11.0
        (one,) = anomalies(evidence(intervals(per_epoch=80, closs=values)))
        assert one.level == "explode"
        assert one.first <= 391 + 50
        assert one.usual == pytest.approx(2.5, rel=0.05)

    def test_one_batch_among_batches_explodes(self) -> None:
        values = noisy(8.5, 400)
        values[300] = 95.0
        assert "closs-explosion" in ids(batches(closs=values))
        assert "closs-explosion" not in ids(batches(closs=noisy(8.5, 400)))

    def test_a_long_explosion_is_one_anomaly_at_its_worst(self) -> None:
        values = noisy(8.5, 60, 0.005)
        values[30:34] = [40, 90, 60, 30]
        (one,) = anomalies(evidence(intervals(per_epoch=60, closs=values)))
        assert (one.value, one.length, one.first, one.last) == (90.0, 4, 301, 310)

    def test_loss_ct_that_stays_calm_is_reported(self) -> None:
        closs, head = noisy(8.5, 60), noisy(0.13, 60)
        closs[30] = 40
        assert "loss-ct-steady-during-spike" in ids(intervals(closs=closs, loss_ct=head))
        head[30] = 0.6
        assert "loss-ct-steady-during-spike" not in ids(intervals(closs=closs, loss_ct=head))

    @pytest.mark.parametrize("broken", [math.nan, math.inf])
    def test_non_finite_values_are_named_with_their_place(self, broken: float) -> None:
        values = [3.0, 2.9, broken, 2.8]
        assert "epoch 2" in found([epochs(closs=values)], "non-finite").evidence
        assert "non-finite" not in ids(epochs(closs=[3.0, 2.9, 2.8, 2.7]))

    def test_restarts_are_counted(self) -> None:
        first, again = batches(closs=noisy(8, 50)), batches(1, 30, closs=noisy(8, 50))
        assert "restart" in ids(first, again)
        assert "restart" not in ids(first)

    def test_a_rollback_is_no_restart(self) -> None:
        first, back = batches(closs=noisy(8, 50)), batches(1, 30, closs=noisy(8, 50))
        rollback = Event("e1", "rollback", 49, 1, 1.7e9)
        assert "restart" not in ids(first, rollback, back)
        resumed = batches(2, 60, closs=noisy(8, 50))
        assert (
            "Another attempt begins at: step 60"
            in found([first, rollback, back, resumed], "restart").evidence
        )


class TestAveraging:
    def test_epoch_lines_that_are_no_averages_of_the_batches(self) -> None:
        log = intervals(closs=noisy(8.5, 60))
        assert "epoch-line-disagrees-with-batches" in ids(epochs(closs=[3.3, 4.1, 2.5]), log)
        assert "epoch-line-disagrees-with-batches" not in ids(epochs(closs=[8.5, 8.52, 8.48]), log)

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (8.0, "every batch that counts for the epoch"),
            (7.0, "the batches since the rollback, as the reference's meters after a resume"),
        ],
    )
    def test_a_line_of_an_epoch_with_a_rollback_may_leave_out_what_was_trained_again(
        self, line: float, why: str
    ) -> None:
        kept, abandoned = noisy(9, 30), noisy(95, 20)
        before = batches(closs=np.concatenate([kept, abandoned]))
        again = batches(1, 30, closs=noisy(7, 30, seed=2))
        lines = replace(epochs(closs=[line]), attempt=1)
        assert "epoch-line-disagrees-with-batches" not in ids(before, again, lines), why
        lines = replace(epochs(closs=[5.0]), attempt=1)
        assert "epoch-line-disagrees-with-batches" in ids(before, again, lines)

    def test_an_accuracy_above_one_is_a_mixture(self) -> None:
        lines = epochs(closs=[8, 8], acc_action_6=[0.2, 102.1])
        assert "epoch-line-disagrees-with-batches" in ids(lines)
        lines = epochs(closs=[8, 8], acc_action_6=[0.2, 1.0])
        assert "epoch-line-disagrees-with-batches" not in ids(lines)

    def test_meters_in_another_order(self) -> None:
        before = KeyOrder("epoch 0", ("acc", "closs", "z_loss"))
        after = KeyOrder("epoch 1", ("closs", "acc", "z_loss"))
        grown = KeyOrder("epoch 1", ("acc", "new", "closs", "z_loss"))
        lines = epochs(closs=[3.0, 2.9])
        assert "meter-order-changed" in ids(lines, orders=[before, after])
        assert "meter-order-changed" not in ids(lines, orders=[before, grown])

    def test_two_levels_of_loss_ct_are_seen(self) -> None:
        lines = epochs(closs=TWELVE_CLOSS, loss_ct=TWELVE_LOSS_CT)
        assert "1, 3, 4, 6, 9, 11" in found([lines], "alternating-levels").evidence
        falling = epochs(closs=TWELVE_CLOSS, loss_ct=np.geomspace(0.8, 0.04, 12))
        assert "alternating-levels" not in ids(falling)


class TestLevels:
    @pytest.mark.parametrize(
        ("closs", "vocab", "expected"),
        [
            (11.09, 65536, "near-random-guess"),
            (9.01, 8192, "near-random-guess"),
            (13.18, 65536, "above-random-guess"),
            (8.5, 65536, None),
        ],
    )
    def test_closs_is_held_against_a_random_guess(
        self, closs: float, vocab: int, expected: str | None
    ) -> None:
        said = ids(batches(closs=noisy(closs, 50, 0.001)), settings=Settings(vocab=vocab))
        assert said & {"near-random-guess", "above-random-guess"} == ({expected} - {None})

    @pytest.mark.parametrize(("l1", "fires"), [(0.942, True), (0.99, True), (0.55, False)])
    def test_an_l1_near_one_is_no_answer_at_all(self, l1: float, fires: bool) -> None:
        lines = epochs(closs=[9.0, 8.9], l1_loss_action_5=[l1, l1])
        assert ("not-emitting-action-tokens" in ids(lines)) is fires

    def test_two_paths_to_an_action_that_part(self) -> None:
        falling, rising = np.geomspace(0.4, 0.1, 12), np.geomspace(0.3, 0.6, 12)
        closs = noisy(8, 12)
        parted = epochs(closs=closs, loss_ct=falling, l1_loss_action_5=rising)
        assert "two-paths-diverge" in ids(parted)
        together = epochs(closs=closs, loss_ct=falling, l1_loss_action_5=2 * falling)
        assert "two-paths-diverge" not in ids(together)

    def test_a_slot_that_is_always_nan_counts_for_none(self) -> None:
        decoded = np.linspace(0.3, 0.1, 12)
        nothing = np.full(12, math.nan)
        lines = epochs(loss_ct=decoded, l1_loss_action_5=nothing, l1_loss_action_6=decoded)
        assert "two-paths-diverge" not in ids(lines)
        apart = epochs(loss_ct=decoded / 9, l1_loss_action_5=nothing, l1_loss_action_6=decoded)
        assert "two-paths-diverge" in ids(apart)


class TestWeights:
    def test_a_loss_without_a_weight(self) -> None:
        lines = epochs(closs=[3, 3.01], loss_ct=[0.1, 0.1], energy_loss=[2.0, 2.0])
        assert "term-without-weight" in ids(lines)
        told = Settings(weights={"energy_loss": 0.1})
        assert "term-without-weight" not in ids(lines, settings=told)

    def test_an_epoch_s_averages_beside_the_batches_are_no_losses_of_their_own(self) -> None:
        lines = epochs(closs=[3, 3.01], train_closs=[3, 3.01], train_z_loss=[40, 40])
        assert "term-without-weight" not in ids(lines)

    def test_the_copies_of_a_term_by_rank_or_layer_are_no_losses_of_their_own(self) -> None:
        copies = {f"closs_rank{rank}": [3.0, 3.1] for rank in range(2)}
        copies |= {f"loss/layer_{layer}": [1.0, 1.1] for layer in range(2)}
        lines = epochs(closs=[3, 3.01], loss_ct=[0.1, 0.1], **copies)
        assert "term-without-weight" not in ids(lines)

    def test_zeros_of_batches_without_actions(self) -> None:
        head = noisy(0.2, 600)
        head[np.random.default_rng(3).random(600) < 0.45] = 0.0
        means = head.reshape(60, 10).mean(axis=1)
        log = intervals(closs=noisy(8, 60), loss_ct=means)
        assert "loss-ct-diluted" in ids(log)
        assert "loss-ct-diluted" in ids(batches(closs=noisy(8, 600), loss_ct=head))
        clean = intervals(closs=noisy(8, 60), loss_ct=noisy(0.2, 60))
        assert "loss-ct-diluted" not in ids(clean)


class TestOptimisation:
    @pytest.mark.parametrize(("norm", "fires"), [(25.0, True), (1.5, False)])
    def test_clipping_at_every_step(self, norm: float, fires: bool) -> None:
        log = batches(closs=noisy(8, 100), grad_norm=noisy(norm, 100, 0.2))
        assert ("clip-always-active" in ids(log)) is fires

    def test_a_constant_rate_is_a_note_and_a_warning_after_an_explosion(self) -> None:
        calm = epochs(closs=[3, 2.9, 2.8, 2.7], lr=[5e-6] * 4)
        assert found([calm], "constant-lr").severity == "info"
        broke = epochs(closs=[3, 2.9, 95, 2.7], lr=[5e-6] * 4)
        assert found([broke], "constant-lr").severity == "warn"
        decaying = epochs(closs=[3, 2.9, 2.8, 2.7], lr=[5e-6, 4e-6, 3e-6, 2e-6])
        assert "constant-lr" not in ids(decaying)

    def test_a_normaliser_that_drifts(self) -> None:
        drifting = np.concatenate([np.full(60, 50.0), np.geomspace(50, 200, 60)])
        assert "logit-drift" in ids(batches(closs=noisy(8, 120), z_loss=drifting))
        assert "logit-drift" not in ids(batches(closs=noisy(8, 120), z_loss=noisy(50, 120)))

    def test_steps_that_wait_for_data(self) -> None:
        stalled = batches(loss=noisy(1, 40), time=[2.0] * 40, data=[0.8] * 40)
        assert "data-stall" in ids(stalled)
        fed = batches(loss=noisy(1, 40), time=[2.0] * 40, data=[0.05] * 40)
        assert "data-stall" not in ids(fed)

    def test_lerobots_update_time_does_not_hold_the_data_time(self) -> None:
        stalled = batches(loss=noisy(1, 40), updt_s=[0.3] * 40, data_s=[0.2] * 40)
        assert "40%" in found([stalled], "data-stall").evidence


class TestTrend:
    def test_three_small_changes_in_a_row_are_convergence(self) -> None:
        rest = epochs(closs=[13.18, 8.61, 8.56, 8.515, 8.512, 8.511, 8.51])
        assert "converged" in ids(rest)
        assert "not-converged" not in ids(rest)

    def test_one_change_too_many_is_none(self) -> None:
        moving = epochs(closs=[13.18, 8.61, 8.56, 8.515, 8.512, 8.511, 8.45])
        assert "not-converged" in ids(moving)
        assert "converged" not in ids(moving)

    def test_exploded_epochs_do_not_count_as_movement(self) -> None:
        series = evidence(epochs(closs=[8.511, 8.51, 95.0, 8.509, 8.508])).lines["closs"]
        assert convergence(series, frozenset({2.0})).converged
        assert not convergence(series).converged

    def test_validation_that_rises_while_training_falls(self) -> None:
        train = epochs(closs=np.linspace(5, 2, 8))
        rising = epochs("val_ind", closs=[5, 4, 3.5, 3.4, 3.5, 3.6, 3.7, 3.8])
        falling = epochs("val_ind", closs=np.linspace(5.1, 2.5, 8))
        assert "overfitting" in ids(train, rising)
        assert "overfitting" not in ids(train, falling)


class TestEnergy:
    def test_energies_of_right_and_wrong_that_are_alike(self) -> None:
        ln8 = math.log(8)
        flat = batches(
            loss=noisy(1, 50),
            energy=noisy(ln8, 50, 0.001),
            energy_positive=noisy(1.1, 50, 0.001),
            energy_negative=noisy(1.1, 50, 0.001, seed=2),
        )
        assert "energy-collapse" in ids(flat)
        apart = batches(
            loss=noisy(1, 50),
            energy=noisy(0.4, 50),
            energy_positive=noisy(0.2, 50),
            energy_negative=noisy(1.9, 50),
        )
        assert "energy-collapse" not in ids(apart)

    def test_an_energy_loss_that_jumps_behind_the_l1(self) -> None:
        rng = np.random.default_rng(7)
        jolts = rng.normal(0, 0.2, 300)
        head = 0.2 * np.exp(jolts)
        energy = 1.0 * np.exp(np.roll(jolts, 2) + rng.normal(0, 0.03, 300))
        assert "energy-follows-l1" in ids(batches(loss=noisy(1, 300), loss_ct=head, energy=energy))
        alone = np.exp(rng.normal(0, 0.2, 300))
        assert "energy-follows-l1" not in ids(
            batches(loss=noisy(1, 300), loss_ct=head, energy=alone)
        )


def test_a_healthy_run_gets_no_warning() -> None:
    count = 400
    falling = 4 + 7 * np.exp(-np.arange(count) / 60)
    log = batches(
        closs=falling * noisy(1, count, 0.01),
        loss_ct=0.1 + 0.3 * np.exp(-np.arange(count) / 60) * noisy(1, count, 0.01, 2),
        z_loss=noisy(60, count, 0.01, 3),
        grad_norm=noisy(1.2, count, 0.2, 4),
        lr=np.linspace(5e-6, 1e-6, count),
    )
    assert {found.severity for found in diagnose(evidence(log))} <= {"info"}


def test_every_diagnosis_is_worded_in_both_languages_with_the_same_facts() -> None:
    assert set(english.WORDS) == set(chinese.WORDS)
    lines = epochs(closs=TWELVE_CLOSS, loss_ct=TWELVE_LOSS_CT, l1_loss_action_5=[0.94] * 12)
    spoken = {lang: diagnose(evidence(lines), lang=lang) for lang in ("en", "zh")}
    assert [d.id for d in spoken["en"]] == [d.id for d in spoken["zh"]]
    assert "95.19" in spoken["zh"][0].evidence


def test_a_diagnosis_is_added_by_a_rule_and_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
        return [Finding("odd", "warn", {"count": len(evidence.names)})]

    monkeypatch.setattr(rules, "RULES", (*rules.RULES, odd))
    monkeypatch.setitem(english.WORDS, "odd", DiagnosisText("odd", "{count} metrics.", "Look."))
    (said,) = [d for d in diagnose(evidence(epochs(closs=[3, 2]))) if d.id == "odd"]
    assert (said.title, said.evidence, said.advice) == ("odd", "1 metrics.", "Look.")
    (other,) = [d for d in diagnose(evidence(epochs(closs=[3, 2])), lang="zh") if d.id == "odd"]
    assert other == said, "a text without a translation falls back to English"

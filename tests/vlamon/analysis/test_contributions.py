"""Value shares of the weighted total, and pulls where they are sent."""

from __future__ import annotations

import math

import pytest

from vlamon.analysis.contributions import contributions

WEIGHTS = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}


def test_shares_are_of_the_weighted_total() -> None:
    found = contributions({"closs": 8.5, "loss_ct": 0.13, "z_loss": 40.0}, WEIGHTS)
    assert found.total == pytest.approx(9.8004)
    shares = {term.name: term.share for term in found.terms}
    assert shares["closs"] == pytest.approx(0.8673, abs=1e-4)
    assert shares["loss_ct"] == pytest.approx(0.1326, abs=1e-4)
    assert shares["z_loss"] == pytest.approx(0.0000408, abs=1e-6)
    assert sum(share or 0 for share in shares.values()) == pytest.approx(1.0)


def test_a_term_that_the_batch_lacks_has_no_share_and_is_not_a_zero() -> None:
    found = contributions({"closs": 8.5, "loss_ct": None}, WEIGHTS)
    assert [term.share for term in found.terms] == [1.0, None, None]
    assert found.total == 8.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_term_breaks_the_total_and_leaves_the_others_their_shares(bad: float) -> None:
    found = contributions({"closs": bad, "loss_ct": 0.1, "z_loss": 0.0}, WEIGHTS)
    assert found.total is not None
    assert not math.isfinite(found.total)
    assert math.isnan(found.terms[0].share or 0.0)
    assert found.terms[1].share == 1.0


WITH_ENERGY = {**WEIGHTS, "energy": 1.0}


def test_a_detached_energy_model_is_no_part_of_the_total() -> None:
    found = contributions({"closs": 6.0, "loss_ct": 0.2, "energy": 2.0}, WITH_ENERGY)
    assert found.total == 8.0
    assert [term.share for term in found.terms] == [0.75, 0.25, None, None]
    assert [term.apart for term in found.terms] == [False, False, False, True]
    assert found.terms[-1].value == 2.0


@pytest.mark.parametrize(("total", "apart"), [(8.0, True), (10.0, False)])
def test_the_total_that_a_run_logs_tells_whether_energy_is_in_it(total: float, apart: bool) -> None:
    values = {"closs": 6.0, "loss_ct": 0.2, "energy": 2.0, "total": total}
    found = contributions(values, WITH_ENERGY)
    assert found.total == total
    assert found.terms[-1].apart == apart
    assert sum(term.share or 0 for term in found.terms) == pytest.approx(1.0)


def test_negative_terms_count_by_their_size() -> None:
    found = contributions({"a": 3.0, "b": -1.0}, {"a": 1.0, "b": 1.0})
    assert [term.share for term in found.terms] == [0.75, 0.25]
    assert found.total == 2.0


def test_watched_metrics_are_no_terms() -> None:
    found = contributions({"closs": 1.0, "grad_norm": 5.0}, {"closs": 1.0})
    assert [term.name for term in found.terms] == ["closs"]


def test_pulls_and_conflicts_are_found_where_they_are_sent() -> None:
    values = {"closs": 8.5, "loss_ct": 0.1, "pull_closs": 0.46, "conflict_loss_ct_closs": -0.31}
    found = contributions(values, WEIGHTS)
    assert found.terms[0].pull == 0.46
    assert found.terms[1].pull is None
    assert found.cosines == (("closs", "loss_ct", -0.31),)


def test_nothing_logged_is_no_total() -> None:
    assert contributions({}, WEIGHTS).total is None
    assert contributions({}, {}).terms == ()
